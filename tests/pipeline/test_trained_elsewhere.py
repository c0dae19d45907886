"""`trained` where TensorFlow already runs with several threads: the run trains in a process of its own."""

import dataclasses
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import genmodels
from genmodels import config, experiments
from genmodels.pipeline import files, processes, store

SMALL = {"options": {"hidden_units": (16,)}, "epochs": 1, "batch_size": 128, "learning_rate": 1e-3}
RUN = genmodels.Run("small", "vae", **SMALL)


@pytest.fixture
def several_threads(smoke, monkeypatch):
    """TensorFlow as if it had run with several threads in this process."""
    monkeypatch.setattr(config, "use_one_thread", lambda: False)


def digest(model):
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


# A plain script without `if __name__ == "__main__"`, such as a student's.
SCRIPT = f"""
import hashlib
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.matmul(tf.ones((9, 9)), tf.ones((9, 9)))
import genmodels
print("begin")
model = genmodels.trained(genmodels.Run("small", "vae", **{SMALL})).model
print(hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest())
print(tf.config.threading.get_intra_op_parallelism_threads())
"""


def test_a_script_that_has_used_tensorflow_trains_the_same_bits_as_a_fresh_process(smoke, graphs, tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "mine.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["begin", digest(store.train(RUN)[0]), "2"]
    assert "small: epoch 1/1" in done.stderr  # the progress of the other process


def test_loading_a_run_sets_nothing_and_starts_nothing(smoke, monkeypatch):
    first = store.trained(RUN)
    monkeypatch.setattr(config, "use_one_thread", lambda: pytest.fail("changed TensorFlow"))
    monkeypatch.setattr(processes, "run_all", lambda *_, **__: pytest.fail("started a process"))
    assert digest(store.trained(RUN).model) == digest(first.model)


def note_devices(run, build, path):
    Path(path).write_text(f"{config.device()} {os.environ['CUDA_VISIBLE_DEVICES']}")
    store._in_child(run, build)


def test_a_run_trains_on_the_cpu_in_a_process_of_its_own_where_a_gpu_is_seen(gpu, smoke, graphs, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_in_child", partial(note_devices, path=tmp_path / "devices"))
    assert digest(store.trained(RUN).model) == digest(store.train(RUN)[0])
    assert (tmp_path / "devices").read_text() == "cpu -1" and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_process_of_its_own_hides_gpus_that_its_environment_does_not(gpu, monkeypatch):
    import tensorflow as tf

    done = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *hidden: done.append(hidden))
    monkeypatch.setattr(store, "trained", lambda *_, **__: done.append("trained"))
    store._in_child(RUN, experiments.BUILDERS["vae"])
    assert done == [([], "GPU"), "trained"]


def test_loading_a_run_changes_nothing_where_a_gpu_is_seen(smoke, request, monkeypatch):
    first = store.trained(RUN)
    request.getfixturevalue("gpu")
    monkeypatch.setattr(processes, "run_all", lambda *_, **__: pytest.fail("started a process"))
    assert digest(store.trained(RUN).model) == digest(first.model) and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_run_trains_on_the_gpu_in_this_process_where_that_was_chosen(gpu, smoke, monkeypatch):
    monkeypatch.setenv("GENMODELS_DEVICE", "gpu")
    monkeypatch.setattr(processes, "run_all", lambda *_, **__: pytest.fail("started a process"))
    assert store.trained(RUN).history["loss"] and "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("GENMODELS_DEVICE", "cpu")
    assert not store.is_trained(RUN)  # another device makes other bits


def test_a_run_that_diverges_in_its_own_process_is_the_same_error(several_threads):
    wild = dataclasses.replace(RUN, name="wild", learning_rate=1e30)
    with pytest.raises(store.TrainingError, match=r"wild: stopped in epoch 1, by step \d+ of 8: .*got .*nan"):
        store.trained(wild)
    assert not store.is_trained(wild)


class Killed(experiments.Run):
    """A run whose process is killed."""

    def settings(self):
        if multiprocessing.parent_process():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().settings()


def test_a_run_whose_process_is_killed_is_named_with_the_remedy(several_threads):
    with pytest.raises(files.ResourceError, match=r"^small: its process was killed, by the system as a rule"):
        store.trained(Killed(**vars(RUN)))


MODULE = """
import genmodels
from genmodels import VAE

@genmodels.model_builder("mine")
def build(settings, splits):
    images = genmodels.datasets.binarize(splits.train.images)
    model = VAE(seed=settings["seed"], **settings["options"])
    model.compile("adam")
    return genmodels.Setup(model, len(images), lambda chosen, rng: (images[chosen],))
"""


@pytest.fixture
def mine(several_threads, tmp_path, monkeypatch):
    """A run with a builder in a module file of the user's own."""
    monkeypatch.setattr(experiments, "BUILDERS", builders := dict(experiments.BUILDERS))
    monkeypatch.setattr(store, "BUILDERS", builders)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_models.py").write_text(MODULE)
    import my_models

    yield dataclasses.replace(RUN, name="mine", builder="mine"), my_models
    del sys.modules["my_models"]


def test_a_builder_in_a_module_file_is_sent_to_the_other_process(mine):
    run, _ = mine
    assert len(store.trained(run).history["loss"]) == 1 and store.is_trained(run)


@pytest.mark.parametrize("name", ["build", "cell.<locals>.build"], ids=["a notebook's", "one inside a function"])
def test_a_builder_that_cannot_be_sent_is_one_line_with_the_remedy(mine, monkeypatch, name):
    run, module = mine
    monkeypatch.setattr(module.build, "__module__", "__main__")
    monkeypatch.setattr(module.build, "__qualname__", name)
    monkeypatch.setattr(sys.modules["__main__"], "build", module.build, raising=False)
    with pytest.raises(store.TrainingError) as stopped:
        store.trained(run)
    said = str(stopped.value)
    assert said.startswith("run mine: expected TensorFlow to be unused or on one thread") and "\n" not in said
    assert "restart the kernel" in said and "module file" in said


def test_a_builder_that_cannot_be_sent_says_how_to_train_it_on_the_gpu(mine, gpu, monkeypatch):
    run, module = mine
    monkeypatch.setattr(module.build, "__module__", "__main__")
    with pytest.raises(store.TrainingError, match=r"TensorFlow to see no GPU, .*; set GENMODELS_DEVICE=auto to train"):
        store.trained(run)


def test_a_process_that_leaves_nothing_for_this_code_is_an_error(several_threads, monkeypatch):
    monkeypatch.setattr(processes, "run_all", lambda *_, **__: ())
    with pytest.raises(store.TrainingError, match=r"run small: .*got no result for the code and settings"):
        store.trained(RUN)


def look(path):
    """Note the script that a worker has, and the threads that it may use."""
    text = f"{getattr(sys.modules['__main__'], '__file__', None)} {os.environ['TF_NUM_INTRAOP_THREADS']}"
    Path(path).write_text(text)


def test_workers_run_no_script_of_their_parent_and_keep_to_one_thread(tmp_path):
    before = sys.modules["__main__"]
    list(processes.run_all(look, [tmp_path / "found"], processes.Workers(1)))
    assert (tmp_path / "found").read_text() == "None 1" and sys.modules["__main__"] is before
