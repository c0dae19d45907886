"""Runs trained side by side, in processes that stop when they are told to and end with the one that started them."""

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from genmodels import cache, experiments


def train_all(runs, *, jobs=None, tolerant=False):
    """Trains the runs (Runs or names) that the cache lacks, `jobs` at once (default: one per core), each on one thread.

    They start in the order given, those that learn from others last. Raises the error of the first run that fails; runs
    that have not started then do not. tolerant: goes on after a TrainingError. Returns the runs that failed with one.
    """
    missing = [run for run in map(experiments.find, runs) if not experiments.is_trained(run)]
    missing.sort(key=lambda run: bool(run.needs))  # what learns from others comes last
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    bars = {"initializer": _begin, "initargs": (context.RLock(), context.Value("i"))}
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context, **bars) as pool:
        waiting = {pool.submit(_train, run): run for run in missing}
        failed = []
        try:
            for future in as_completed(waiting):
                if tolerant and isinstance(future.exception(), experiments.TrainingError):
                    failed.append(waiting[future])
                    print(future.exception(), file=sys.stderr, flush=True)
                else:
                    future.result()
        except BrokenProcessPool as error:
            gone = (future for future in waiting if isinstance(future.exception(), BrokenProcessPool))
            left = [waiting[future].name for future in gone]
            raise cache.FaultError(f"run {' or '.join(left[:jobs])}: {cache.KILLED}") from error
        except BaseException:  # Ctrl-C too
            pool.shutdown(cancel_futures=True)  # it waits: a pool that is left alone forgets to cancel
            raise
    return failed


_line = 0  # where this process draws its progress bars


def _begin(lock, count):
    """Gives a worker a line of its own for its progress bars; workers draw one at a time."""
    global _line
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    tqdm.set_lock(lock)
    with count.get_lock():
        _line, count.value = count.value, count.value + 1


def end_with_parent():
    """Ends this worker once the process that started it was killed, which nobody else tells it."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _stop(*_):
    for number in (signal.SIGINT, signal.SIGTERM):  # a second one would interrupt the clearing up
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _train(run):
    try:
        experiments.trained(run, position=_line)
        _forget()
    except KeyboardInterrupt:
        os._exit(130)  # the pool would take it for the result of this run and go on with the next one


def _forget():
    """Frees the memory of the run that this worker has trained, for the next one."""
    import keras  # not before: what fails at the door does not wait for it
    import tensorflow as tf

    # TensorFlow's default graph keeps every generator that a data set read from, and with it the images of the run; the
    # graphs of its training steps, which nothing frees, keep that graph.
    getattr(tf.compat.v1.get_default_graph(), "_py_funcs_used_in_graph", []).clear()
    keras.backend.clear_session()  # with its cycles of references, a run would stay in memory for long
