"""The checkout and its environment on other people's machines: line endings, locales, folders, settings of tools."""

import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

from genmodels import config

ROOT = config.checkout()
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="expected make")


def run(*command, cwd=ROOT, **environment):
    """Return the standard output of a command in an environment of these variables alone."""
    clean = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, cwd=cwd, env=clean, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def files_of(root):
    names = run("git", "ls-files", "-z", cwd=root).split("\0")[:-1]
    return {name: (root / name).read_bytes() for name in names}


def test_a_clone_with_converted_line_endings_has_the_same_bytes(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("expected a checkout with its history")
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for clone, option in ((mine, "false"), (theirs, "true")):
        run("git", "clone", "--quiet", "--config", f"core.autocrlf={option}", str(ROOT), str(clone))
    assert files_of(theirs) == files_of(mine)
    assert run("git", "status", "--porcelain", cwd=theirs) == ""


HOSTILE = {"PIP_USER": "1", "PYTHONPATH": "/elsewhere", "KERAS_BACKEND": "jax", "CONDA_PREFIX": "/opt/conda"}


@needs_make
def test_make_replaces_the_callers_settings_of_pip_python_and_keras():
    said = run("make", "--eval=probe: ; @env", "probe", **HOSTILE).splitlines()
    assert {f"PYTHONPATH={ROOT / 'src'}", "PIP_USER=0", "KERAS_BACKEND=tensorflow"} <= set(said)


@needs_make
@pytest.mark.parametrize("target", ["report", "study", "figures", "notebooks"])
def test_make_passes_the_number_of_jobs_on(target):
    command = ("make", "--dry-run", "--old-file=.venv/installed", target)
    assert f"-m genmodels {target} --jobs 8\n" in run(*command, "JOBS=8")
    assert "--jobs" not in run(*command)


@needs_make
def test_the_environment_is_made_from_the_lock_alone():
    said = run("make", "--dry-run", "--always-make", ".venv/installed", **HOSTILE)
    (install,) = (line for line in said.splitlines() if " -m pip install " in line)
    assert "--require-hashes --no-deps --requirement requirements.lock" in install


@needs_make
@pytest.mark.parametrize("status", [0, 1])
def test_what_pip_warns_of_is_shown_only_if_it_fails(tmp_path, status):
    pip = tmp_path / "python"
    pip.write_text(f"#!/bin/sh\necho WARNING: an index is slow >&2\nexit {status}\n")
    pip.chmod(0o755)
    command = ["make", "-f", str(ROOT / "Makefile"), f"--eval=probe: ; @$(call INSTALL,{pip},{tmp_path})", "probe"]
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert bool(done.returncode) == bool(status) == ("WARNING: an index is slow" in done.stderr)
    assert (tmp_path / "pip.log").read_text() == "WARNING: an index is slow\n"


@pytest.fixture
def copy(tmp_path):
    """A checkout in a folder with a space and Polish letters, with an environment of its own without libraries."""
    root = tmp_path / "kopia źródeł"
    root.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "notebooks").mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", str(root / ".venv"))
    run("make", '--eval=probe: ; $(PY) -c "$(FIND_SOURCE)"', "probe", cwd=root, LC_ALL="C")
    return root


WHERE = ("-c", "import genmodels; print(ascii(genmodels.__file__))")


@needs_make
@pytest.mark.parametrize("name", ["kopia źródeł", "przeniesiona kopia ą"])
def test_the_environment_of_a_copy_finds_its_own_source_in_the_c_locale_also_once_it_was_renamed(copy, name):
    root = copy.rename(copy.with_name(name))
    python = str(root / ".venv" / "bin" / "python")
    environment = {"LC_ALL": "C", "PYTHONPATH": sysconfig.get_path("purelib")}  # for the libraries
    where = run(python, *WHERE, cwd=root.parent, **environment)
    assert where.strip() == ascii(str(root / "src" / "genmodels" / "__init__.py"))
    said = run(python, "-m", "genmodels", "--help", cwd=root, **environment)
    assert said.startswith("Usage: ")
