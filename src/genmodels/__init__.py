"""Classic generative models on MNIST: an autoencoder, VAEs and a conditional GAN, and the report written from them.

Importing the package is cheap: names are resolved on first use, so TensorFlow is loaded only by what needs it.
"""

import os
from importlib import import_module

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # whatever ~/.keras/keras.json says
# TensorFlow turns its fast kernels for convolutions on by itself only where the processor has AVX-512 VNNI.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_EXPORTS = {
    "AE": "autoencoder",
    "VAE": "vae",
    "ConditionalVAE": "vae",
    "ConditionalGAN": "gan",
    "Judge": "judge",
    "plot_latent_images": "figures",
    "plot_latent_space": "figures",
}
__all__ = list(_EXPORTS)


def __getattr__(name):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'genmodels' has no attribute {name!r}")
    return getattr(import_module(f"genmodels.{_EXPORTS[name]}"), name)


def __dir__():
    return sorted([*globals(), *_EXPORTS])
