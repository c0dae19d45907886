"""Settings of the user's own in ~/.keras/keras.json change no model: neither its training nor its loading."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from genmodels import canvas, config, datasets, experiments
from genmodels.pipeline import store

DEFAULTS = {"floatx": "float32", "epsilon": 1e-07, "backend": "tensorflow", "image_data_format": "channels_last"}
OPTIONS = {
    "ae": {"hidden_units": (16,), "num_frequencies": 2},
    "vae_mc": {"hidden_units": (16,), "kl": "monte_carlo"},
    "cvae_2": {"hidden_units": (16,), "latent_dim": 2, "prior": "flow"},
    "gan": {"channels": 4},
    "reference": {"architecture": "strided"},
    "reference_2": {"architecture": "pooled"},
}
RUNS = {
    name: dataclasses.replace(experiments.RUNS[name], options=options, batch_size=512)
    for name, options in OPTIONS.items()
}


def digest(arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def use(model):
    """What a model gives for the first digits: images, codes, features."""
    images, labels = datasets.load_mnist().test.images[:20], np.arange(20) % 10
    if hasattr(model, "classify"):
        return [model.features(images), model.classify(images)]
    if hasattr(model, "generate"):
        return [model.generate(labels, seed=0), model.generate(labels, seed=0, averaged=False)]
    if hasattr(model, "window"):
        conditions = canvas.conditions(labels, 1, 2)
        return [model.sample(conditions, seed=0), *model.encode(np.zeros((20, 56, 56, 1)), conditions)]
    codes = model.encode(datasets.binarize(images))
    codes = codes if isinstance(codes, list) else [codes]
    return [*codes, model.decode(codes[0])]


def evaluated(model):
    """The measurements of `evaluate` but Keras's own mean of the loss, which is a floatx."""
    split = datasets.load_mnist().test
    images, labels = datasets.binarize(split.images[:100]), split.labels[:100]
    if hasattr(model, "window"):
        held_out = datasets.Split(images, labels)
        inputs = (canvas.place_randomly(held_out, np.arange(100), np.random.default_rng(0)),)
    else:
        inputs = (images, labels) if hasattr(model, "generate") or hasattr(model, "classify") else (images,)
    found = model.evaluate(*inputs, batch_size=50, verbose=0, return_dict=True)
    return {name: value for name, value in found.items() if name != "loss"}


def results(run):
    """Checksums of the weights of the cached run and of all that it gives."""
    model = store.trained(run).model
    return {"weights": digest(model.get_weights()), "use": digest(use(model)), "measured": evaluated(model)}


def main():
    """Print the results of all runs; the caller has trained them."""
    import keras
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    store._train_and_save = None  # nothing is trained that the cache holds
    settings = {"floatx": keras.config.floatx(), "image_data_format": keras.config.image_data_format()}
    loaded = {name: results(run) for name, run in RUNS.items()}
    trained = {name: digest(store.train(run)[0].get_weights()) for name, run in RUNS.items()}
    print(json.dumps({"settings": settings, "loaded": loaded, "trained": trained}))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The results with Keras's own settings, and the cache that holds the models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_BUDGET", "smoke")
        patch.setenv("GENMODELS_CACHE", str(cache := tmp_path_factory.mktemp("cache")))
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
        yield {name: results(run) for name, run in RUNS.items()}, cache


@pytest.mark.parametrize("settings", [{"image_data_format": "channels_first"}, {"floatx": "float64"}], ids=str)
def test_training_loading_and_use_do_not_depend_on_keras_json(usual, tmp_path, settings):
    expected, cache = usual
    (tmp_path / "keras.json").write_text(json.dumps({**DEFAULTS, **settings}))
    here = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    mine = {
        **config.worker_environment(),
        "KERAS_HOME": str(tmp_path),
        "GENMODELS_BUDGET": "smoke",
        "GENMODELS_CACHE": str(cache),
        "PYTHONPATH": here,
    }
    command = [sys.executable, "-c", "import test_keras_json; test_keras_json.main()"]
    done = subprocess.run(command, env={**os.environ, **mine}, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["settings"].items() >= settings.items()
    assert found["loaded"] == expected
    assert found["trained"] == {name: of["weights"] for name, of in expected.items()}
    assert not (cache / "damaged").exists()


def said(code, tmp_path, **environment):
    """Return what Python prints for `code`, errors included, where keras.json asks for another backend."""
    (tmp_path / "keras.json").write_text(json.dumps({**DEFAULTS, "backend": "jax"}))
    usual = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**usual, "KERAS_HOME": str(tmp_path), **environment}, **told).stdout


@pytest.mark.parametrize("environment", [{}, {"KERAS_BACKEND": "jax"}], ids=["keras.json", "KERAS_BACKEND"])
def test_models_run_with_tensorflow_whatever_backend_the_user_prefers(tmp_path, environment):
    code = "import genmodels; genmodels.AE(hidden_units=(4,)); import keras; print(keras.config.backend())"
    assert said(code, tmp_path, **environment).splitlines()[-1] == "tensorflow"


OTHER_KERAS = """
import sys, types
sys.modules["keras"] = types.SimpleNamespace(config=types.SimpleNamespace(backend=lambda: "jax"))
import genmodels
"""


def test_keras_that_already_runs_with_another_backend_is_refused_in_one_line(tmp_path):
    last = said(OTHER_KERAS, tmp_path).splitlines()[-1]
    assert last.startswith("ImportError: genmodels: expected Keras with TensorFlow, but it already runs here with jax;")
