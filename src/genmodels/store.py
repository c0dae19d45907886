"""A trained model in a folder of its own: model, history, what it was made from, and checksums of them all."""

import zipfile
from dataclasses import dataclass

from genmodels import cache


@dataclass(frozen=True)
class Trained:
    """A trained model, the Run it came from, its history {metric: one value per epoch}, and the seconds it took."""

    run: object
    model: object
    history: dict
    seconds: float


def keep(home, model, notes, made_from):
    """Writes the folder `home`, whole or not at all. notes: history and seconds, see `Trained`."""
    with cache.replacing(home) as new:
        new.mkdir()
        model.save(new / "model.keras")
        cache.write_json(new / "training.json", notes)
        cache.write_json(new / "parts.json", made_from)
        cache.write_json(new / "sums.json", sums(new, home.name))


def sums(home, name):
    """What sums.json says: the name of the folder, and the checksum of each file in it."""
    return {"run": name, **{path.name: cache.checksum(path) for path in home.iterdir() if path.name != "sums.json"}}


def damage(home):
    """What of a folder is not as it was left; empty where all is."""
    try:
        left = cache.read_json(home / "sums.json", {}, {...: str})
    except cache.CacheError:
        return "sums.json"
    found = sums(home, home.name)
    return ", ".join(name for name in sorted({*left, *found}) if left.get(name) != found.get(name))


def kept(run, home):
    """The Trained run in a folder; None where there is none, and where it is damaged, which sets it aside."""
    if not home.is_dir():
        return None
    if not (why := damage(home)):
        try:
            return load(run, home)
        except Exception as error:  # of many kinds, where somebody made the file and its checksum
            if isinstance(error, MemoryError) or getattr(error, "errno", None):
                raise
            why = f"model.keras: {str(error).partition(chr(10))[0]:.200}"
    return cache.set_aside(home, why)


def load(run, home):
    """The Trained run in a folder; the imports make its class known to Keras, which runs no code from the file."""
    import keras

    from genmodels import autoencoder, gan, judge, vae  # noqa: F401

    path = home / "model.keras"
    with zipfile.ZipFile(path) as archive:
        files = archive.infolist()
    sizes = {each.filename: each.file_size for each in files}
    if (
        sizes.keys() != {"config.json", "metadata.json", "model.weights.h5"}
        or sum(sizes.values()) > path.stat().st_size
        or any(each.header_offset < 0 for each in files)  # met later, it would pass for a fault of the disk
    ):
        raise ValueError(f"expected a model as Keras packs it, got {sizes}")
    return Trained(run, keras.models.load_model(path, safe_mode=True), **cache.read_json(home / "training.json"))
