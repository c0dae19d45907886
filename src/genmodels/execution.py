"""Running notebooks, each in a process of its own that ends with the one that started it; progress in one line each."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from genmodels import cache, notebooks, report

# Errors whose message says what to mend; of others a notebook shows where they come from.
PLAIN = ("CacheError", "DataError", "FaultError", "OSError", "PermissionError", "TrainingError")
CELL_SECONDS = 1800  # a cell may train a model


def run(names, jobs):
    """Runs notebooks top to bottom, `jobs` at once, each from a clean kernel in its own folder.

    The executed copies, with all outputs, go to the cache folder. Raises ReportError with the error of a notebook that
    fails.
    """
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(_run, name) for name in names]
        try:
            for future in waiting:
                future.result()
        except BaseException:  # Ctrl-C too
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def executed_path(name):
    """Where the executed copy of a notebook goes."""
    return notebooks.cache_folder("notebooks") / f"{name}.ipynb"


def _run(name):
    start = time.monotonic()
    print(f"{name}: running", file=sys.stderr, flush=True)
    begun, found = notebooks.origin(), notebooks.results(name)
    made_from = {result: (made, notebooks.parts(made)) for result, made in found.items()}
    _execute(name)
    noted = notebooks.provenance(made_from, begun)
    report.put(notebooks.provenance_path(), name, noted)
    cache.write_json(notebooks.stamp_path(name), noted)
    print(f"{name}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


running = set()  # processes that run notebooks
# Such a process, and with it the kernel, ends once its input is closed, as it is when the one that started it dies.
_CHILD = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
import nbformat
from nbclient import NotebookClient
from traitlets.config import Config
source, target, folder, timeout = sys.argv[1:]
# Files instead of TCP, so that it works where there is no network at all.
kernel = {"transport": "ipc", "ip": os.path.join(folder, "kernel")} if os.name == "posix" else {}
notebook, beside = nbformat.read(source, as_version=4), {"metadata": {"path": os.path.dirname(source)}}
NotebookClient(notebook, timeout=int(timeout), resources=beside, config=Config(KernelManager=kernel)).execute()
nbformat.write(notebook, target)
"""


def _execute(name):
    target = executed_path(name)
    with cache.faults(f"notebooks/{name}.ipynb"), tempfile.TemporaryDirectory() as folder:
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", _CHILD, str(notebooks.path(name)), str(target), folder, str(CELL_SECONDS)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        # Jupyter would write to the home directory, which there may not be.
        home = {**os.environ, "JUPYTER_RUNTIME_DIR": folder, "IPYTHONDIR": folder}
        with subprocess.Popen(command, encoding="utf-8", errors="replace", env=home, **pipes) as child:
            running.add(child)
            log = re.sub(r"\x1b\[[0-9;]*m", "", child.stdout.read())  # IPython colours its errors
        running.discard(child)
    if not child.returncode:
        return
    plain = re.findall(rf"^(?:{'|'.join(PLAIN)}): .+", log, re.MULTILINE)
    plain.sort(key=lambda line: line.startswith("FaultError"))  # the last counts, and these say what helps
    if child.returncode < 0 or "DeadKernelError" in log:
        plain.append(cache.KILLED)
    elif "MemoryError: " in log:
        plain.append(cache.MEMORY)
    if plain:
        with cache.faults(f"notebooks/{name}.ipynb"):
            if system := re.match(r"OSError: \[Errno (\d+)\] ([^:]+)", plain[-1]):
                raise OSError(int(system[1]), system[2])
        raise report.ReportError(f"notebooks/{name}.ipynb: {plain[-1]}")
    log = log.rpartition("nbclient.exceptions.")[2].strip()[-3000:]
    raise report.ReportError(f"notebooks/{name}.ipynb failed:\n{log}")


def store_checked_outputs(name):
    """Copies what the checked cells printed from the executed copy into the notebook; clears all other outputs."""
    notebook, executed = cache.read_json(notebooks.path(name)), cache.read_json(executed_path(name))
    for cell, done in zip(notebook["cells"], executed["cells"]):
        if cell["cell_type"] == "code":
            checked = notebooks.CHECKED in cell["metadata"].get("tags", [])
            printed = [output for output in done["outputs"] if output.get("name") == "stdout"]
            cell["outputs"] = printed if checked else []
            cell["execution_count"] = done["execution_count"] if checked else None  # nbval takes no output without it
    with cache.replacing(notebooks.path(name)) as temporary:
        temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
