import dataclasses
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import weakref
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from genmodels import config, experiments
from genmodels.pipeline import files, parallel, processes, store


def small():
    return dataclasses.replace(experiments.RUNS["vae_kl"], options={"hidden_units": (16,)})


def test_a_worker_forgets_the_images_of_the_run_that_it_has_trained(smoke, graphs, monkeypatch):
    from genmodels import training  # not above: workers import this file, and not all of them need TensorFlow

    kept = weakref.WeakSet()

    class Batches(training.Batches):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            kept.add(self)

    monkeypatch.setattr(training, "Batches", Batches)
    parallel.train(small())
    gc.collect()
    assert store.is_trained(small())
    assert not kept


def test_a_run_that_diverges_is_named(smoke):
    wild = dataclasses.replace(small(), name="wild", learning_rate=1e30)
    with pytest.raises(store.DivergedError, match=r"wild: stopped in epoch 1, by step \d+ of 8: .* got .*nan"):
        parallel.train_all([wild], jobs=1)
    assert not store.is_trained(wild)


class Doomed(experiments.Run):
    """Its worker is killed, or gives it up, before it has begun."""

    def settings(self):
        if multiprocessing.parent_process() and self.summary == "killed":
            os.kill(os.getpid(), signal.SIGTERM)
        elif multiprocessing.parent_process():
            raise store.TrainingError(f"{self.name}: given up")
        return super().settings()


def doomed(how, name="doomed"):
    return Doomed(**{**vars(experiments.RUNS["ae"]), "name": name, "summary": how})


def test_the_error_of_a_run_is_raised(smoke):
    with pytest.raises(store.TrainingError, match="doomed: given up"):
        parallel.train_all([doomed("given up")], jobs=1)


def test_a_run_whose_worker_is_killed_is_named(smoke):
    with pytest.raises(files.ResourceError, match=r"^doomed: its process was killed, by the system"):
        parallel.train_all([doomed("killed")], jobs=1)
    assert not list((config.cache_folder() / "runs").glob("*"))


def test_what_the_cache_has_is_not_trained_again(monkeypatch):
    monkeypatch.setattr(store, "is_trained", lambda run: run.name != "ae")
    asked = []
    monkeypatch.setattr(parallel, "run_all", lambda work, tasks, **_: asked.extend(tasks) or ())
    parallel.train_all(["vae_kl", "ae"])
    assert asked == [experiments.RUNS["ae"]]


class Here(Executor):
    """An executor that does each task at once, in this process."""

    def submit(self, work, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def test_runs_that_depend_on_others_are_started_after_them(monkeypatch):
    monkeypatch.setattr(store, "is_trained", lambda run: False)
    trained = []
    monkeypatch.setattr(parallel, "train", lambda run: trained.append(run.name))
    monkeypatch.setattr(parallel, "_executor", lambda *_: Here())
    parallel.train_all(["gan_train", "vae_kl", "gan"])
    assert trained == ["vae_kl", "gan", "gan_train"]


def test_a_task_starts_when_those_are_done_that_it_waits_for(tmp_path):
    """Each task adds its letter to one file. "b" waits for "c", and "a" for "b"."""
    waits = lambda task, other: (task, other) in {("b", "c"), ("a", "b")}  # noqa: E731
    said = []
    list(processes.run_all(said.append, ["a", "b", "c", "d"], Here(), after=waits))
    assert said == ["c", "d", "b", "a"]


def lost(task):
    if task == "bad":
        raise files.KilledError("bad: its process was killed")


def test_what_kills_its_process_fails_alone_where_the_executor_goes_on():
    done = []
    with pytest.raises(files.ResourceError, match=r"^bad: its process was killed$"):
        for task, _ in processes.run_all(lost, ["a", "bad", "b"], Here()):
            done.append(task)
    assert sorted(done) == ["a", "b"]


def work(path):
    """Leave a file, or fail as the name of the file says."""
    path = Path(path)
    if path.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "stopped":
        os.kill(os.getpid(), signal.SIGTERM)
    if path.name.startswith("wrong"):
        raise ValueError(path.name)
    path.write_text(f"made in {os.getpid()}")
    return path.name


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_and_results_are_given_back_when_they_are_done(tmp_path, jobs):
    tasks = [str(tmp_path / name) for name in "dacb"]
    done = dict(processes.run_all(work, tasks, processes.Workers(jobs)))
    assert done == {task: task[-1] for task in tasks}
    assert all(Path(task).is_file() for task in tasks)


def test_tasks_run_in_other_processes(tmp_path):
    list(processes.run_all(work, [tmp_path / "a"], processes.Workers(1)))
    assert (tmp_path / "a").read_text() != f"made in {os.getpid()}"


def test_nothing_to_do_starts_nothing():
    assert list(parallel.run_all(work, [])) == []


def test_an_error_is_raised_and_what_has_not_started_does_not(tmp_path):
    tasks = [tmp_path / "wrong", *(tmp_path / f"{number}" for number in range(50))]
    with pytest.raises(ValueError, match=r"^wrong$"):
        list(processes.run_all(work, tasks, processes.Workers(1)))
    assert len(list(tmp_path.iterdir())) < 50


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_task_whose_worker_is_killed_is_named_with_the_remedy(tmp_path, how):
    message = rf"^{tmp_path}/{how}: its process was killed, by the system as a rule: out of memory; "
    with pytest.raises(files.ResourceError, match=message):
        list(processes.run_all(work, [tmp_path / "a", tmp_path / how], processes.Workers(1)))
    assert (tmp_path / "a").is_file()


TWO_SIGNALS = """
import os, signal
from genmodels.pipeline import processes
processes.prepare()
both = (signal.SIGINT, signal.SIGTERM)
try:
    signal.pthread_sigmask(signal.SIG_BLOCK, both)
    for number in both:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_worker_that_gets_ctrl_c_and_sigterm_at_once_stops_without_a_word():
    found = subprocess.run([sys.executable, "-c", TWO_SIGNALS], capture_output=True, text=True)
    assert (found.stdout, found.stderr, found.returncode) == ("stopped\n", "", 0)


@pytest.mark.parametrize(("cores", "gigabytes", "jobs"), [(2, 4, 2), (8, 64, 8), (16, 12, 8), (4, 1, 1), (1, 100, 1)])
def test_by_default_there_are_as_many_jobs_as_cores_and_memory_allow(monkeypatch, cores, gigabytes, jobs):
    """A job takes 1,500 MiB: 12 GiB are enough for 8."""
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    monkeypatch.setattr(processes, "_memory", lambda: gigabytes * 2**30)
    assert processes.usual_jobs() == jobs


def test_memory_is_that_of_the_machine_or_less():
    import psutil

    assert 0 < processes._memory() <= psutil.virtual_memory().total
