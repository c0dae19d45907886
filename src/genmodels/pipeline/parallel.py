"""Many tasks side by side, in worker processes that stop when they are told to and end with their parent."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from genmodels.experiments import Run, find
from genmodels.pipeline import files, store


def train_all(runs: Iterable[Run | str], *, jobs: int | None = None, tolerant: bool = False) -> list[Run]:
    """Train the runs that the cache lacks, in the order given; those that depend on others last.

    Args:
        jobs: how many at once, each on one thread; by default one per core.
        tolerant: go on after a TrainingError.

    Returns:
        The runs that failed with one.
    """
    missing = [run for run in map(find, runs) if not store.is_trained(run)]
    missing.sort(key=lambda run: bool(run.depends_on))
    failed = []
    for run, error in run_all(_train, missing, jobs=jobs, tolerate=(store.TrainingError,) if tolerant else ()):
        if error:
            failed.append(run)
            print(error, file=sys.stderr, flush=True)
    return failed


def run_all(work: Callable, tasks: Iterable, *, jobs: int | None = None, tolerate: tuple = ()) -> Iterator[tuple]:
    """Call work(task) for every task, `jobs` at once; yield (task, error or None) as they are done.

    Args:
        work: a function at the top of a module.
        tolerate: kinds of errors to yield. Any other error cancels the remaining tasks and is raised.

    Raises:
        ResourceError: a worker was killed.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    bars = {"initializer": _begin, "initargs": (context.RLock(), context.Value("i"))}
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context, **bars) as pool:
        waiting = {pool.submit(_do, work, task): task for task in tasks}
        try:
            for future in as_completed(waiting):
                error = future.exception()
                if isinstance(error, BrokenProcessPool) or not isinstance(error, tolerate):
                    future.result()
                yield waiting[future], error
        except BrokenProcessPool as error:
            gone = (future for future in waiting if isinstance(future.exception(), BrokenProcessPool))
            left = [str(waiting[future]) for future in gone]
            raise files.ResourceError(f"{' or '.join(left[:jobs])}: {files.KILLED}") from error
        except BaseException:  # Ctrl-C too
            pool.shutdown(cancel_futures=True)  # it waits: a pool that is left alone forgets to cancel
            raise


_line = 0  # where this process draws its progress bars


def line() -> int:
    """Return the line of the terminal on which this process draws its progress bars, counted from 0."""
    return _line


def _begin(lock, count):
    """Give a worker a line of its own for its progress bars; workers draw one at a time."""
    global _line
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
    for number in (signal.SIGINT, signal.SIGTERM):  # a second one would interrupt the clearing up
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _do(work, task):
    try:
        work(task)
    except KeyboardInterrupt:
        os._exit(130)  # the pool would take it for the result of this task and go on with the next one


def _train(run):
    store.trained(run, position=_line)
    forget()


def forget() -> None:
    """Free the memory of the run that this worker has trained, for the next one."""
    import keras
    import tensorflow as tf

    # TensorFlow's default graph keeps every generator that a data set read from, and with it the images of the run; the
    # graphs of its training steps, which nothing frees, keep that graph.
    getattr(tf.compat.v1.get_default_graph(), "_py_funcs_used_in_graph", []).clear()
    keras.backend.clear_session()  # with its cycles of references, a run would stay in memory for long
