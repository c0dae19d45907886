"""Kills at random moments: the next call finishes what was interrupted, with the same bits, and nothing stays behind.

`make torture` (`python -m benchmarks.torture 120`, so many kills) works on a copy of the checkout, in the quick mode.
Every other kill hits only the process that was called, as the system does when memory runs out, and the processes that
it started have to end by themselves; the rest hit all at once, as when the power fails.
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
from pathlib import Path

import psutil

from genmodels import data

# Every kind of model, small, for several epochs, which the quick mode does not give them.
MODELS = """
import sys
from genmodels import experiments, watch

class Longer(experiments.Run):
    def settings(self):
        return {**super().settings(), "epochs": 3}

watch.EPOCHS = 99
small = {"ae": {"hidden_units": (32,)}, "vae_kl": {"hidden_units": (32,)}, "gan": {"channels": 4}, "judge": {}}
small["cvae_2"] = {"latent_dim": 2, "hidden_units": (32,), "classifier_weight": 80.0}
for name in sys.argv[1:] or small:
    experiments.trained(Longer(**{**vars(experiments.RUNS[name]), "options": small[name]}))
"""


@dataclasses.dataclass(frozen=True)
class Phase:
    """What is killed. command: arguments of Python. fresh: files and folders of the copy that it makes."""

    name: str
    command: tuple
    fresh: tuple


CACHE, DOCUMENTS = ".cache/genmodels", ("draft/generative_models.pdf", "draft/generative_models.html")
REPORT = ("-m", "genmodels", "report")
PHASES = (
    Phase("models", ("-c", MODELS), (CACHE,)),
    Phase("training", ("-m", "genmodels", "train"), (CACHE,)),
    Phase("notebooks", REPORT, ("draft", f"{CACHE}/stamps-draft", f"{CACHE}/notebooks-draft")),
    Phase("documents", REPORT, (*DOCUMENTS, f"{CACHE}/stamps-draft/document.json")),
)


def copy_to(root):
    """Copies of the checkout what a report is made from to `root`."""
    built = shutil.ignore_patterns("__pycache__", "generative_models.pdf", "generative_models.html", ".*")
    for part in ("src", "notebooks", "report", "data"):
        shutil.copytree(data.checkout() / part, root / part, ignore=built)
    shutil.copy(data.checkout() / "pyproject.toml", root)


def start(root, command):
    """Starts Python in a copy of the checkout, in the quick mode."""
    quick = {"GENMODELS_BUDGET": "smoke", "GENMODELS_CACHE": str(root / CACHE), "PYTHONPATH": str(root / "src")}
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, **quick}}
    return subprocess.Popen([sys.executable, *command], cwd=root, **options)


def finish(root, command):
    """Runs Python in a copy of the checkout to its end; returns the seconds. Raises CalledProcessError if it fails."""
    begun = time.monotonic()
    with start(root, command) as process:
        process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[:3])
    return time.monotonic() - begun


def results(root):
    """{what: checksum} of weights, histories, numbers, figures with their data, and documents of a copy."""
    found = {}
    for home in (root / CACHE / "runs").glob("[!.]*"):
        with zipfile.ZipFile(home / "model.keras") as archive:
            found[f"{home.name}, weights"] = archive.read("model.weights.h5")
        history = json.loads((home / "training.json").read_text(encoding="utf-8"))["history"]
        found[f"{home.name}, history"] = json.dumps(history).encode()
    files = (path for path in (root / "draft").glob("[!.]*") if path.is_file())
    found |= {path.name: path.read_bytes() for path in files}
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def left_behind(root):
    """Temporary and half-finished files in a copy, and what was taken for damaged."""
    found = [*root.rglob(".new-*"), *(root / CACHE / "unfinished").glob("*"), *(root / CACHE / "damaged").glob("*")]
    return [str(path.relative_to(root)) for path in found]


def kill(process, *, alone, patience=30):
    """Kills a process, alone or with all that it started; returns how many of those still run after `patience` s."""
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in [] if alone else started:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass
    return len(psutil.wait_procs(started, timeout=patience)[1])


def torture(root, phase, kills, chance, *, within=1.0):
    """Kills a phase so often, beginning anew when it gets to its end; returns a row of the table and its findings.

    within: the share of the undisturbed time after which it is killed at the latest.
    """

    def begin():
        for name in phase.fresh:
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def compare():
        again = results(root)
        wrong = sorted(name for name in {*right, *again} if right.get(name) != again.get(name))
        findings.extend(f"{phase.name}: {name} differs from the undisturbed run" for name in wrong)
        findings.extend(f"{phase.name}: {name} is left behind" for name in left_behind(root))

    begin()
    seconds, right = finish(root, phase.command), results(root)
    done, ends, orphans, findings = 0, 0, 0, []
    begin()
    while done < kills:
        process = start(root, phase.command)
        try:
            process.wait(timeout=chance.uniform(0, within * seconds))
            ends += 1
            compare()
            begin()
        except subprocess.TimeoutExpired:
            orphans += kill(process, alone=bool(done % 2))
            done += 1
    finish(root, phase.command)
    compare()
    if orphans:
        findings.append(f"{phase.name}: {orphans} processes outlived the one that had started them")
    return (phase.name, f"{seconds:.0f}", done, ends + 1, len(right), len(findings)), findings


def main(kills=120, seed=0):
    """Prints the table; returns what was found wrong."""
    chance, rows, findings = random.Random(seed), [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "kopia źródeł"
        copy_to(root)
        for place, phase in enumerate(PHASES):
            share = kills // len(PHASES) + (place < kills % len(PHASES))
            row, found = torture(root, phase, share, chance)
            rows, findings = [*rows, row], [*findings, *found]
            print(f"{phase.name}: {row[2]} kills, {len(found)} findings", file=sys.stderr, flush=True)
    head = ("phase", "s undisturbed", "kills", "finished", "results compared", "findings")
    for row in [head, *rows]:
        print(" | ".join(f"{cell!s:16}" for cell in row))
    print(*findings, sep="\n")
    return findings


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:3]))))
