"""Worker processes for tasks side by side. They stop on SIGINT and SIGTERM, and end with their parent."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tqdm import tqdm

from genmodels import config
from genmodels.pipeline import files, terminal


def run_all(work: Callable[[Any], Any], tasks: Iterable, *, jobs: int | None = None) -> Iterator[Any]:
    """Call work(task) for every task, in worker processes.

    Args:
        work: A function at the top of an importable module. The caller's script does not run again.
        tasks: Values that can be pickled.
        jobs: Number of workers; None for one per core.

    Yields:
        Each task when it is done.

    Raises:
        ResourceError: A worker was killed.
        Exception: Any error of a task. Tasks that had not started are not done.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    bars = {"initializer": _begin, "initargs": (context.RLock(), context.Value("i"))}
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context, **bars) as pool:
        with _without_script():
            waiting = {pool.submit(_do, work, task): task for task in tasks}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        except BrokenProcessPool as error:
            gone = (future for future in waiting if isinstance(future.exception(), BrokenProcessPool))
            left = [str(waiting[future]) for future in gone]
            raise files.ResourceError(f"{' or '.join(left[:jobs])}: {files.KILLED}") from error
        except BaseException:  # Ctrl-C too
            pool.shutdown(cancel_futures=True)  # waits for the workers: without waiting, the pool does not cancel
            raise


@contextmanager
def _without_script():
    """Let new processes skip this process's script, which would otherwise need `if __name__ == "__main__"`."""
    script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


_line = 0  # of the terminal, for this process's progress bars


def line() -> int:
    """Return the line of the terminal for this process's progress bars, counted from 0."""
    return _line


def _begin(lock, count):
    """Keep a worker to one thread and the chosen device; give it a line and a lock for its progress bars."""
    global _line
    os.environ.update(config.worker_environment())
    terminal.hide_retracing()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    tqdm.set_lock(lock)
    with count.get_lock():
        _line, count.value = count.value, count.value + 1


def _end_with_parent():
    """Exit when the parent process ends, which also happens when it is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _stop(*_):
    for number in (signal.SIGINT, signal.SIGTERM):  # a second signal would interrupt the clean-up
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _do(work, task):
    try:
        work(task)
    except KeyboardInterrupt:
        os._exit(130)  # the pool would take the exception for this task's result and start the next task
