"""The examples of docs/ run as they stand."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_examples_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S))
    exec(compile(code, page, "exec"), {})


def blocks(kind):
    page = (DOCS / "cluster.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.M | re.S)


def unknown(given, defaults, name=""):
    """Return the names of settings that the defaults of the library do not have."""
    if not isinstance(given, dict):
        return []
    missing = [f"{name}.{key}" for key in given if key not in defaults]
    shared = [key for key in given if key in defaults]
    return missing + [each for key in shared for each in unknown(given[key], defaults[key], f"{name}.{key}")]


def test_the_settings_of_the_cluster_page_are_settings_of_dask():
    yaml, distributed = pytest.importorskip("yaml"), pytest.importorskip("distributed")
    settings, _ = map(yaml.safe_load, blocks("yaml"))
    defaults = yaml.safe_load((Path(distributed.__file__).parent / "distributed.yaml").read_text(encoding="utf-8"))
    assert unknown(settings, defaults) == []
    assert settings["distributed"]["comm"]["require-encryption"] is True


def test_dask_jobqueue_makes_a_job_of_the_example_for_slurm():
    yaml, jobqueue = pytest.importorskip("yaml"), pytest.importorskip("dask_jobqueue")
    import dask
    from dask_jobqueue.slurm import SLURMJob

    _, settings = map(yaml.safe_load, blocks("yaml"))
    defaults = yaml.safe_load((Path(jobqueue.__file__).parent / "jobqueue.yaml").read_text(encoding="utf-8"))
    assert unknown(settings, defaults) == []
    with dask.config.set({f"jobqueue.slurm.{name}": of for name, of in settings["jobqueue"]["slurm"].items()}):
        script = SLURMJob(scheduler="tls://10.0.0.1:8786", name="one").job_script()
    for part in ("#SBATCH --cpus-per-task=8", "-t 04:00:00", "tls://10.0.0.1:8786", "--nthreads 8", "--lifetime 3h50m"):
        assert part in script
    compile(*blocks("py"), "cluster.md", "exec")


def test_the_readme_stays_a_screen_and_a_half():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    prose = [part for part in re.split(r"\n\s*\n", text) if not part.startswith(("    ", "```", "|"))]
    assert len(text.split()) <= 900
    assert max(len(part.split()) for part in prose) <= 90
