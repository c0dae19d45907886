"""Load a saved model; importing this module makes all classes of the package known to Keras."""

import zipfile
from pathlib import Path

import keras

from genmodels import layers, optimizers  # noqa: F401 (registers their classes)
from genmodels.models import autoencoder, classifier, conditional_vae, gan, vae  # noqa: F401


def load_model(path: str | Path) -> keras.Model:
    """Load a model from a .keras file, which `genmodels fit` or `model.save` wrote.

    Args:
        path: The file.

    Returns:
        The model, compiled as it was saved.

    Raises:
        ValueError: The file is missing or no .keras archive, or holds a model of classes that are not known here.

    Example:
        >>> vae = genmodels.load_model("my_model.keras")
        >>> images = vae.sample(16, seed=0)
    """
    path = Path(path).expanduser()
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise ValueError(f"{path}: expected a .keras file, found {found}; `genmodels fit` and model.save write one")
    if path.suffix != ".keras" or not _is_model(path):
        raise ValueError(
            f"{path}: expected a .keras file that `genmodels fit` or model.save wrote, got another or a damaged file; "
            "save the model anew"
        )
    try:
        return keras.models.load_model(path)
    except Exception as error:  # of many kinds
        if isinstance(error, (MemoryError, OSError)):
            raise
        why = " ".join(str(error).split())
        raise ValueError(
            f"{path}: expected a model of this version of genmodels, got: {why:.200}; import the module of its own "
            "classes first, or train it anew"
        ) from error


def _is_model(path):
    """Return whether a file is a whole archive with the parts of a Keras model."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"config.json", "model.weights.h5"} <= set(archive.namelist()) and archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
        return False
