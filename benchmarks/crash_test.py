"""Crash test: kills at random moments. The next call finishes the work with the same bits, and nothing stays behind.

`make crash-test` (`python -m benchmarks.crash_test 120`, for 120 kills) works on a copy of the checkout, in the quick
mode. Every other kill hits only the called process, as the system does when memory runs out. Its child processes must
then end by themselves. The other kills hit all processes at once, as a power failure does.
"""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from genmodels import config

# One small model of each kind, for several epochs. The quick mode alone would train one epoch.
MODELS = """
import sys
from genmodels import trained, training
from genmodels.experiments import RUNS, Run

class Longer(Run):
    def settings(self):
        return {**super().settings(), "epochs": 3}

training.PATIENCE = 99
small = {"ae": {"hidden_units": (32,)}, "vae_kl": {"hidden_units": (32,)}, "gan": {"channels": 4}, "reference": {}}
small["cvae_2"] = {"latent_dim": 2, "hidden_units": (32,), "prior": "flow"}
for name in sys.argv[1:] or small:
    trained(Longer(**{**vars(RUNS[name]), "options": small[name]}))
"""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A command to kill.

    Attributes:
        name: Name in the table.
        command: Arguments of Python.
        fresh: Files and folders of the copy that the command makes; removed before it begins anew.
    """

    name: str
    command: tuple[str, ...]
    fresh: tuple[str, ...]


CACHE, DOCUMENTS = ".cache/genmodels", ("draft/generative_models.pdf", "draft/generative_models.html")
REPORT = ("-m", "genmodels", "report")
PHASES = (
    Phase("models", ("-c", MODELS), (CACHE,)),
    Phase("training", ("-m", "genmodels", "train"), (CACHE,)),
    Phase("notebooks", REPORT, ("draft", f"{CACHE}/stamps-draft", f"{CACHE}/notebooks-draft")),
    Phase("documents", REPORT, (*DOCUMENTS, f"{CACHE}/stamps-draft/document.json")),
)


def copy_to(root: Path) -> None:
    """Copy the parts of the checkout that a report is made from to `root`."""
    built = shutil.ignore_patterns("__pycache__", "generative_models.pdf", "generative_models.html", ".*")
    for part in ("src", "notebooks", "report", "data"):
        shutil.copytree(config.checkout() / part, root / part, ignore=built)
    shutil.copy(config.checkout() / "pyproject.toml", root)


def start(root: Path, command: Sequence[str]) -> subprocess.Popen:
    """Start Python in a copy of the checkout, in the quick mode."""
    quick = {"GENMODELS_BUDGET": "smoke", "GENMODELS_CACHE": str(root / CACHE), "PYTHONPATH": str(root / "src")}
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, **quick}}
    return subprocess.Popen([sys.executable, *command], cwd=root, **options)


def finish(root: Path, command: Sequence[str]) -> float:
    """Run Python in a copy of the checkout to its end.

    Args:
        root: The copy.
        command: Arguments of Python.

    Returns:
        Duration in seconds.

    Raises:
        subprocess.CalledProcessError: The command fails.
    """
    begun = time.monotonic()
    with start(root, command) as process:
        process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[:3])
    return time.monotonic() - begun


def results(root: Path) -> dict[str, str]:
    """Return {result: checksum} of weights, histories, numbers, figures with their data, and documents of a copy."""
    found = {}
    for home in (root / CACHE / "runs").glob("[!.]*"):
        with zipfile.ZipFile(home / "model.keras") as archive:
            found[f"{home.name}, weights"] = archive.read("model.weights.h5")
        history = json.loads((home / "training.json").read_text(encoding="utf-8"))["history"]
        found[f"{home.name}, history"] = json.dumps(history).encode()
    files = (path for path in (root / "draft").glob("[!.]*") if path.is_file())
    found |= {path.name: path.read_bytes() for path in files}
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def left_behind(root: Path) -> list[str]:
    """Return the temporary and half-finished files of a copy, and the quarantined ones."""
    found = [*root.rglob(".new-*"), *(root / CACHE / "unfinished").glob("*"), *(root / CACHE / "damaged").glob("*")]
    return [str(path.relative_to(root)) for path in found]


def kill(process: subprocess.Popen, *, alone: bool, patience: float = 30) -> int:
    """Kill a process.

    Args:
        process: The process.
        alone: Leave the child processes; otherwise kill them too.
        patience: Seconds that the child processes have to end.

    Returns:
        Number of child processes that still run.
    """
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in [] if alone else started:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass
    return len(psutil.wait_procs(started, timeout=patience)[1])


def crash_test(
    root: Path, phase: Phase, kills: int, rng: random.Random, *, within: float = 1.0
) -> tuple[tuple, list[str]]:
    """Kill a phase many times at random moments; begin anew whenever it reaches its end.

    Args:
        root: A copy of the checkout, see `copy_to`.
        phase: The command to kill.
        kills: Number of kills.
        rng: Source of the moments.
        within: Latest moment, as a share of the undisturbed duration.

    Returns:
        A row of the table, see `main`, and the findings, one text each.
    """

    _begin(root, phase)
    seconds, expected = finish(root, phase.command), results(root)
    done, ends, orphans, findings = 0, 0, 0, []
    _begin(root, phase)
    while done < kills:
        process = start(root, phase.command)
        try:
            process.wait(timeout=rng.uniform(0, within * seconds))
            ends += 1
            findings += _differences(root, phase, expected)
            _begin(root, phase)
        except subprocess.TimeoutExpired:
            orphans += kill(process, alone=bool(done % 2))
            done += 1
    finish(root, phase.command)
    findings += _differences(root, phase, expected)
    if orphans:
        findings.append(f"{phase.name}: {orphans} processes outlived the one that had started them")
    return (phase.name, f"{seconds:.0f}", done, ends + 1, len(expected), len(findings)), findings


def _begin(root, phase):
    """Remove everything that a phase makes."""
    for name in phase.fresh:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _differences(root, phase, expected):
    """Return a text for each result that differs from the undisturbed run, and for each file left behind."""
    found = results(root)
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    differing = [f"{phase.name}: {name} differs from the undisturbed run" for name in wrong]
    return differing + [f"{phase.name}: {name} is left behind" for name in left_behind(root)]


def main(kills: int = 120, seed: int = 0) -> list[str]:
    """Kill all phases, and print a table and the findings.

    Args:
        kills: Number of kills, shared among the phases.
        seed: Seed of the moments.

    Returns:
        The findings.
    """
    rng, rows, findings = random.Random(seed), [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "kopia źródeł"
        copy_to(root)
        for place, phase in enumerate(PHASES):
            share = kills // len(PHASES) + (place < kills % len(PHASES))
            row, found = crash_test(root, phase, share, rng)
            rows, findings = [*rows, row], [*findings, *found]
            print(f"{phase.name}: {row[2]} kills, {len(found)} findings", file=sys.stderr, flush=True)
    head = ("phase", "s undisturbed", "kills", "finished", "results compared", "findings")
    for row in [head, *rows]:
        print(" | ".join(f"{cell!s:16}" for cell in row))
    print(*findings, sep="\n")
    return findings


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:3]))))
