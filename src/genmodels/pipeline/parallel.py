"""Many runs at once: those that the cache lacks, each in a worker process."""

from collections.abc import Iterable

from genmodels.experiments import Run, find
from genmodels.pipeline import processes, store


def train_all(runs: Iterable[Run | str], *, jobs: int | None = None) -> None:
    """Train the runs that the cache lacks, in the order given; those that depend on others last.

    Args:
        jobs: how many at once, each on one thread; by default one per core.

    Raises:
        TrainingError: a run failed; those that had not started are not trained.
    """
    missing = [run for run in map(find, runs) if not store.is_trained(run)]
    missing.sort(key=lambda run: bool(run.depends_on))
    for _ in processes.run_all(train, missing, jobs=jobs):
        pass


def train(run: Run) -> None:
    """Train one run in this worker, and free its memory for the next one."""
    store.trained(run, position=processes.line())
    forget()


def forget() -> None:
    """Free the memory of the runs that this process has trained or loaded."""
    import keras
    import tensorflow as tf

    # TensorFlow's default graph keeps every generator that a data set read from, and with it the images of the run; the
    # graphs of its training steps, which nothing frees, keep that graph.
    getattr(tf.compat.v1.get_default_graph(), "_py_funcs_used_in_graph", []).clear()
    keras.backend.clear_session()  # with its cycles of references, a run would stay in memory for long
