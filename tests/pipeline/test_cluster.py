"""A scheduler and two workers of dask with caches of their own, as on three machines.

Each worker is in a network namespace of its own where this user may make one, and on the loopback otherwise.
"""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from benchmarks.cluster import Machines, end, is_running, may_make_namespaces
from genmodels import config, experiments
from genmodels.pipeline import cluster as cluster_module
from genmodels.pipeline import files, parallel, store

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    source = os.pathsep.join(map(str, (config.checkout() / "src", config.checkout(), Path(__file__).parent)))
    with Machines(tmp_path_factory.mktemp("machines"), source, apart=may_make_namespaces()) as found:
        yield found


@pytest.fixture
def cluster(machines, monkeypatch):
    monkeypatch.setenv("GENMODELS_SCHEDULER", machines.address)
    return machines


def run_all(work, tasks):
    return parallel.run_all(work, tasks, run=lambda task: None)


def square(number):
    print(f"squaring {number}", file=sys.stderr, flush=True)
    print("not an answer")
    if number == 7:
        raise ValueError("seven")
    return number**2, os.environ["MACHINE"], os.getpid()


def test_tasks_are_done_by_children_of_both_workers_and_what_they_say_is_shown(cluster, capfd):
    found = dict(run_all(square, range(4)))
    assert {number: of[0] for number, of in found.items()} == {0: 0, 1: 1, 2: 4, 3: 9}
    assert {of[1] for of in found.values()} == {*cluster.names} and len({of[2] for of in found.values()}) == 4
    assert "squaring 3" in capfd.readouterr().err


def test_an_error_of_a_task_is_raised(cluster):
    with pytest.raises(ValueError, match=r"^seven$"):
        list(run_all(square, [7]))


def fatal(path):
    """Kill the process: once if the path ends in "once", otherwise each time."""
    path = Path(path)
    first = not path.exists()
    path.touch()
    if first or path.suffix != ".once":
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def test_a_killed_child_is_tried_once_more_and_what_kills_each_time_fails_alone_and_is_named(cluster, tmp_path):
    once, always = str(tmp_path / "a.once"), str(tmp_path / "b")
    done = []
    with pytest.raises(files.KilledError, match=rf"^{always}: its process was killed each time .*status -9"):
        for task in run_all(fatal, [once, always]):
            done.append(task)
    assert done == [(once, "survived")]


def wait_for(path):
    """Say that it has begun, and wait for somebody to write the file, or for 60 s."""
    Path(f"{path}.begun-{os.getpid()}").touch()
    for _ in range(600):
        if Path(path).exists():
            return "done"
        time.sleep(0.1)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_the_task_of_a_killed_worker_is_done_elsewhere_and_its_child_ends(cluster, tmp_path):
    task = tmp_path / "task"
    tasks = run_all(wait_for, [str(task)])
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(list, tasks)
        until(lambda: list(tmp_path.glob("*.begun-*")))
        child = psutil.Process(int(next(tmp_path.glob("*.begun-*")).name.rpartition("-")[2]))
        child.parent().kill()  # its nanny starts another
        until(lambda: not is_running(child) and len(list(tmp_path.glob("*.begun-*"))) == 2)
        task.touch()
        assert found.result() == [(str(task), "done")]


CLIENT = """
import signal, sys
from test_cluster import run_all, wait_for
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would this
try:
    list(run_all(wait_for, sys.argv[1:]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["Ctrl-C", "killed"])
def test_children_end_with_the_client(cluster, tmp_path, how, status):
    here = cluster.environment | {"GENMODELS_SCHEDULER": cluster.address}
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path / "task")], env=here)
    try:
        until(lambda: list(tmp_path.glob("*.begun-*")))
        client.send_signal(how)
        assert client.wait(30) == status
        until(lambda: not cluster.children())
    finally:
        end(client)


def test_weights_and_histories_are_those_of_the_local_pool(cluster, smoke, monkeypatch):
    runs = [dataclasses.replace(experiments.RUNS[name], options=of) for name, of in SMALL.items()]
    parallel.train_all(runs)
    there = {store.folder(run).name: bits(store.folder(run)) for run in runs}
    assert all(store.is_trained(run) for run in runs)
    monkeypatch.setenv("GENMODELS_SCHEDULER", "")
    monkeypatch.setenv("GENMODELS_CACHE", str(config.cache_folder().with_name("local")))
    parallel.train_all(runs, jobs=2)
    assert there == {store.folder(run).name: bits(store.folder(run)) for run in runs}


SMALL = {"vae_kl": {"hidden_units": (16,)}, "ae": {"hidden_units": (16,)}}


def bits(home):
    """Return the weights and the history of a trained run."""
    import zipfile

    with zipfile.ZipFile(home / "model.keras") as archive:
        return archive.read("model.weights.h5"), files.read_json(home / "training.json")["history"]


def test_other_code_on_a_worker_is_refused(cluster, smoke, monkeypatch):
    monkeypatch.setattr(store, "inputs", lambda run: {"models/vae.py": "another checksum"})
    monkeypatch.setattr(store, "is_trained", lambda run: False)
    with pytest.raises(store.TrainingError, match=r"expected the code, .* got another .*models/vae.py"):
        parallel.train_all(["vae_kl"])


def test_without_a_scheduler_the_message_says_where_to_read(monkeypatch):
    monkeypatch.setattr(cluster_module, "TIMEOUT", 0.5)
    monkeypatch.setenv("GENMODELS_SCHEDULER", "tcp://127.0.0.1:9")
    with pytest.raises(files.ResourceError, match=r"tcp://127.0.0.1:9: expected a dask scheduler, .*docs/cluster.md"):
        list(run_all(square, [1]))


CONNECT = """
from genmodels.pipeline import cluster, files
try:
    cluster.connect("tcp://127.0.0.1:9")
except files.ResourceError as error:
    print(error)
"""


def test_a_plain_address_where_encryption_is_required_is_refused_at_once_and_nothing_waits_at_exit():
    here = os.environ | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    found = subprocess.run([sys.executable, "-c", CONNECT], env=here, capture_output=True, text=True, timeout=15)
    assert "tcp://127.0.0.1:9: expected a dask scheduler, got no connection (encryption required" in found.stdout
    assert not found.stderr


def test_without_dask_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setenv("GENMODELS_SCHEDULER", "tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(files.ResourceError, match=r"pip install 'genmodels\[cluster\]'"):
        list(run_all(square, [1]))
