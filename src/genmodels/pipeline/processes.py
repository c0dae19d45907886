"""Worker processes for tasks side by side. They stop on SIGINT and SIGTERM, and end with their parent."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from genmodels import config
from genmodels.pipeline import files, terminal

JOB_MEMORY = 1_500 * 2**20  # bytes for a training, which takes about 1 GB, and room for the rest


def usual_jobs() -> int:
    """Return how many trainings this machine can do at once: one for each usable core, as far as memory reaches."""
    import joblib  # knows the limits of containers and batch systems

    return max(1, min(joblib.cpu_count(), _memory() // JOB_MEMORY))


def _memory():
    """Return the bytes of memory that this machine or its container has; 2**63 where nothing tells."""
    limits = [2**63]
    with suppress(AttributeError, ValueError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" where there is no limit
            limits.append(int(Path(path).read_text(encoding="ascii")))
    return min(limits)


class Workers(ProcessPoolExecutor):
    """An executor of worker processes on this machine. The caller's script does not run again in them.

    Args:
        jobs: Number of workers; None for `usual_jobs`.
    """

    def __init__(self, jobs: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
        bars = {"initializer": _begin, "initargs": (context.RLock(), context.Value("i"))}
        super().__init__(jobs or usual_jobs(), mp_context=context, **bars)

    def submit(self, work: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Call a function at the top of an importable module in a worker process."""
        with _without_script():
            return super().submit(_do, work, *args, **kwargs)


def run_all(
    work: Callable[[Any], Any],
    tasks: Iterable,
    executor: Executor,
    *,
    after: Callable[[Any, Any], bool] = lambda task, other: False,
) -> Iterator[tuple[Any, Any]]:
    """Call work(task) for every task on an executor, and shut the executor down.

    Args:
        work: A function at the top of an importable module.
        tasks: Values that can be pickled.
        executor: `Workers`, or another concurrent.futures.Executor.
        after: Function of a task and another, which returns whether the task starts only after the other has ended.

    Yields:
        Each task and its result when it is done.

    Raises:
        ResourceError: A worker was killed. If the executor still works, the other tasks are done first.
        Exception: Any error of a task. Tasks that had not started are not done.
    """
    held, running, killed = list(tasks), {}, []
    with executor:
        try:
            while held or running:
                for task in held[:]:
                    if not any(after(task, other) for other in (*held, *running.values())):
                        held.remove(task)
                        running[executor.submit(work, task)] = task
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    try:
                        yield running[future], future.result()
                    except files.KilledError as error:
                        killed.append(str(error))
                    del running[future]
        except BrokenProcessPool as error:
            gone = [str(task) for future, task in running.items() if isinstance(future.exception(), BrokenProcessPool)]
            raise files.KilledError(f"{' or '.join(gone[: executor._max_workers])}: {files.KILLED}") from error
        except BaseException:  # Ctrl-C too
            executor.shutdown(cancel_futures=True)  # waits for the workers: without waiting, a pool does not cancel
            raise
    if killed:
        raise files.KilledError("\n".join(killed))


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
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare()
    tqdm.set_lock(lock)
    with count.get_lock():
        _line, count.value = count.value, count.value + 1


def prepare() -> None:
    """Keep this new process to one thread and the chosen device, and let SIGINT and SIGTERM stop it."""
    os.environ.update(config.worker_environment())
    terminal.hide_retracing()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _end_with_parent():
    """Exit when the parent process ends, which also happens when it is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _stop(*_):
    for number in (signal.SIGINT, signal.SIGTERM):  # a second signal would interrupt the clean-up
        signal.signal(number, lambda *_: None)  # of SIG_IGN Python says on stderr that it lost one under way
    raise KeyboardInterrupt


def _do(work, *args, **kwargs):
    try:
        return work(*args, **kwargs)
    except KeyboardInterrupt:
        os._exit(130)  # the pool would take the exception for this task's result and start the next task
