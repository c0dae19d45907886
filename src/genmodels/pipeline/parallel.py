"""Many runs side by side: in worker processes on this machine, or on the workers of a dask scheduler.

GENMODELS_SCHEDULER chooses. Both are a concurrent.futures.Executor, and give the same weights.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

from genmodels.experiments import Run, dependencies, find
from genmodels.pipeline import processes, store


def run_all(
    work: Callable[[Any], Any],
    tasks: Iterable,
    *,
    jobs: int | None = None,
    run: Callable[[Any], Run | None] = lambda task: task,
    uses: Iterable[Run | str] = (),
) -> Iterator[tuple[Any, Any]]:
    """Call work(task) for every task. A task starts after those that train the runs which its own run depends on.

    Args:
        work: A function at the top of an importable module.
        tasks: Values that can be pickled.
        jobs: Number of worker processes here; None for `processes.usual_jobs`. A cluster takes as many as it has.
        run: Function of a task that returns the run that it trains; None for a task that trains none.
        uses: Trained runs that all tasks load.

    Yields:
        Each task and its result when it is done. The runs are then in the cache.

    Raises:
        ResourceError: A worker was killed, or the scheduler cannot be reached.
        Exception: Any error of a task. Tasks that had not started are not done.
    """

    def after(task, other):
        own = run(task)
        return bool(own and own.depends_on) and run(other) in dependencies(own)

    if tasks := list(tasks):
        yield from processes.run_all(work, tasks, _executor(jobs, run, list(uses)), after=after)


def _executor(jobs, run, uses) -> Executor:
    if not (address := os.environ.get("GENMODELS_SCHEDULER")):
        return processes.Workers(jobs)
    from genmodels.pipeline import cluster

    return cluster.Cluster(address, run, uses)


def at_once(jobs: int) -> int:
    """Return the number of tasks at the same time: `jobs` here, or the threads of all workers of the scheduler."""
    if not (address := os.environ.get("GENMODELS_SCHEDULER")):
        return jobs
    from genmodels.pipeline import cluster

    with cluster.connect(address) as client:
        return max(1, sum(client.nthreads().values()))


def train_all(runs: Iterable[Run | str], *, jobs: int | None = None) -> None:
    """Train the runs that the cache lacks.

    Args:
        runs: Runs or their names, trained in this order, but runs that depend on others last.
        jobs: Number of trainings at the same time, each on one thread, see `run_all`.

    Raises:
        ValueError: No run has that name.
        TrainingError: A training failed. Runs that had not started are not trained.
        ResourceError: The system refused memory or disk space, or killed a training.
    """
    missing = [run for run in map(find, runs) if not store.is_trained(run)]
    missing.sort(key=lambda run: bool(run.depends_on))
    for _ in run_all(train, missing, jobs=jobs):
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
