"""Train many runs side by side, each in a worker process, if the cache lacks them."""

from collections.abc import Iterable

from genmodels.experiments import Run, find
from genmodels.pipeline import processes, store


def train_all(runs: Iterable[Run | str], *, jobs: int | None = None) -> None:
    """Train the runs that the cache lacks.

    Args:
        runs: Runs or their names, trained in this order, but runs that depend on others last.
        jobs: Number of trainings at the same time, each on one thread; None for one per core.

    Raises:
        ValueError: No run has that name.
        TrainingError: A training failed. Runs that had not started are not trained.
        ResourceError: The system refused memory or disk space, or killed a training.
    """
    missing = [run for run in map(find, runs) if not store.is_trained(run)]
    missing.sort(key=lambda run: bool(run.depends_on))
    for _ in processes.run_all(train, missing, jobs=jobs):
        pass


def train(run: Run) -> None:
    """Train one run in this worker process, and free its memory for the next run."""
    store.trained(run, position=processes.line())
    forget()


def forget() -> None:
    """Free the memory of the runs that this process has trained or loaded."""
    import keras
    import tensorflow as tf

    # TensorFlow's default graph keeps the generator of each data set, and the generator keeps the run's images. The
    # graphs of the training steps keep the default graph, and nothing frees them.
    getattr(tf.compat.v1.get_default_graph(), "_py_funcs_used_in_graph", []).clear()
    keras.backend.clear_session()  # reference cycles would keep a run in memory for long
