"""Many runs at once: those that the cache lacks, each in a worker process."""

import sys
from collections.abc import Iterable

from genmodels.experiments import Run, find
from genmodels.pipeline import processes, store
from genmodels.pipeline.processes import run_all

__all__ = ["run_all", "train_all"]


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


def _train(run):
    store.trained(run, position=processes.line())
    forget()


def forget() -> None:
    """Free the memory of the run that this worker has trained, for the next one."""
    import keras
    import tensorflow as tf

    # TensorFlow's default graph keeps every generator that a data set read from, and with it the images of the run; the
    # graphs of its training steps, which nothing frees, keep that graph.
    getattr(tf.compat.v1.get_default_graph(), "_py_funcs_used_in_graph", []).clear()
    keras.backend.clear_session()  # with its cycles of references, a run would stay in memory for long
