"""Classic generative models on MNIST: an autoencoder, VAEs and a conditional GAN, and the report written from them.

Importing the package is cheap: names are resolved on first use, so TensorFlow is loaded only by what needs it.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec

from genmodels.config import quiet_start

__version__ = "0.1.0"

if "keras" in sys.modules and (backend := sys.modules["keras"].config.backend()) != "tensorflow":
    raise ImportError(
        f"genmodels: expected Keras with TensorFlow, but it already runs here with {backend}; import genmodels first, "
        "or set KERAS_BACKEND=tensorflow"
    )
os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json and the caller's environment say
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its notes on devices tell the reader of a notebook nothing
# TensorFlow turns its fast kernels for convolutions on by itself only where the processor has AVX-512 VNNI.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_EXPORTS = {
    "AE": "models.autoencoder",
    "VAE": "models.vae",
    "ConditionalVAE": "models.conditional_vae",
    "ConditionalGAN": "models.gan",
    "Classifier": "models.classifier",
    "load_model": "models.loading",
    "Dataset": "datasets",
    "load_dataset": "datasets",
    "load_mnist": "datasets",
    "open_dataset": "datasets",
    "plot_latent_images": "figures",
    "plot_latent_space": "figures",
    "Run": "experiments",
    "Setup": "experiments",
    "model_builder": "experiments",
    "explore": "explorer.widget",
    "trained": "pipeline.store",
    "save": "pipeline.results",
    "record": "pipeline.results",
}
__all__ = list(_EXPORTS)


def __getattr__(name):
    with quiet_start():  # most of these import TensorFlow
        if name in _EXPORTS:
            return getattr(import_module(f"genmodels.{_EXPORTS[name]}"), name)
        if not name.startswith("_") and find_spec(f"genmodels.{name}"):
            return import_module(f"genmodels.{name}")
    raise AttributeError(f"module 'genmodels' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_EXPORTS])


if "keras" in sys.modules:  # then keras.models.load_model may come next, which needs our classes
    with quiet_start():
        import_module("genmodels.models.loading")
