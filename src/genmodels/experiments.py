"""The named runs of the report: frozen settings, and one call that gives a trained model.

TensorFlow is imported inside the functions that train or load, so that listing runs and their state stays instant.
"""

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from tqdm import tqdm

from genmodels import cache, data


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings of one training run.

    build: the function of this module that makes its model and batches. options: keyword arguments of the model.
    learning_rate: Adam's, at the start. seed: of the initial weights, the order of the images and all noise.
    """

    name: str
    summary: str
    build: str
    options: dict = field(default_factory=dict)
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int = 1

    def settings(self):
        """What the trained weights depend on, as a plain dict; a quick run trains for one epoch."""
        settings = asdict(replace(self, epochs=1) if data.smoke_budget() else self)
        del settings["summary"]
        return settings


@dataclass(frozen=True)
class Trained:
    """A trained model, the run it came from, and its history: {metric: one float per epoch}."""

    run: Run
    model: object
    history: dict


def _conditional_vae(latent_dim, **options):
    return Run(
        name=f"cvae_{latent_dim}",
        summary=f"conditional VAE, {latent_dim} latent dimensions",
        build="build_conditional_vae",
        options={"latent_dim": latent_dim, "hidden_units": (512, 256), **options},
        epochs=10,
        batch_size=128,
        learning_rate=1.5e-3,
    )


def _vae(name, kl, summary):
    return Run(
        name=name,
        summary=summary,
        build="build_vae",
        options={"kl": kl},
        epochs=18,
        batch_size=128,
        learning_rate=1e-3,
    )


# In the order in which they are started: the longest first, so that two workers finish together.
_RUNS = (
    Run(
        name="gan",
        summary="conditional GAN",
        build="build_gan",
        epochs=5,
        batch_size=64,
        learning_rate=4e-4,
    ),
    Run(
        name="ae",
        summary="autoencoder, 2 latent dimensions",
        build="build_ae",
        epochs=14,
        batch_size=128,
        learning_rate=3e-3,
    ),
    _vae("vae_mc", "monte_carlo", "VAE, 2 latent dimensions, Monte-Carlo KL"),
    _vae("vae_kl", "closed_form", "VAE, 2 latent dimensions, closed-form KL"),
    _conditional_vae(25, kl_weight=3.0),
    _conditional_vae(100, kl_weight=3.0),
    _conditional_vae(2, kl_weight=1.0),
    Run(
        name="judge",
        summary="digit classifier, trained on real images only",
        build="build_judge",
        epochs=4,
        batch_size=64,
        learning_rate=1.5e-3,
    ),
)
RUNS = MappingProxyType({run.name: run for run in _RUNS})


def find(name):
    """The run of that name. Raises ValueError for an unknown one."""
    if name not in RUNS:
        raise ValueError(f"run must be one of {', '.join(RUNS)}, got {name!r}")
    return RUNS[name]


def key(name):
    """Digest of everything that the trained weights of a run depend on: settings, code, data and libraries."""
    run = find(name)
    code = cache.code_digest(f"experiments:{run.build}", "experiments:train", "data", "training")
    return cache.digest([run.settings(), code, cache.environment_digest()])


def folder(name):
    """Where the trained run is or will be kept, for the present settings, code and data."""
    return cache.directory() / "runs" / f"{name}-{key(name)[:16]}"


def is_trained(name):
    """Whether the cache holds this run for the present settings, code and data."""
    return folder(name).is_dir()


def trained(name, *, position=0):
    """The Trained run: from the cache where its settings, code and data are the same, otherwise trained now.

    position: line of its progress bar, counted from 0. Raises ValueError for an unknown name, RuntimeError where the
    package's source was edited after this process imported it.
    """
    from genmodels.training import use_one_thread

    run, home = find(name), folder(name)
    use_one_thread()
    with cache.lock(home.name):  # a second process that wants the same run waits for the first
        if not home.is_dir():
            model, history = train(run, position=position)
            if edited := cache.edited_modules():  # the weights come from the old code, the key from the new
                raise RuntimeError(f"{', '.join(edited)} changed while {name} was trained; start again")
            _keep(home, model, history)
    return Trained(run, _load(home / "model.keras"), cache.read_json(home / "history.json"))


def train_all(names, *, jobs=None):
    """Trains the named runs that the cache lacks, `jobs` at once (default: one per core), each on one thread.

    Raises the error of the first run that fails; runs that have not started then do not.
    """
    missing = [name for name in RUNS if name in {find(name).name for name in names} and not is_trained(name)]
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    one_bar_at_a_time = {"initializer": tqdm.set_lock, "initargs": (context.RLock(),)}
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=context, **one_bar_at_a_time) as pool:
        waiting = [pool.submit(_train_in_worker, name, position) for position, name in enumerate(missing)]
        try:
            for future in as_completed(waiting):
                future.result()
        except BaseException:  # Ctrl-C too
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _train_in_worker(name, position):
    try:
        trained(name, position=position)
    except KeyboardInterrupt:
        os._exit(130)  # the pool would take it for the result of this run and go on with the next one


def train(run, *, position=0):
    """Trains a run from nothing; returns the model and its history."""
    from genmodels.training import Batches, fit, prepare

    prepare(run.seed)
    settings, splits = run.settings(), data.load()
    steps = settings["epochs"] * -(-len(splits.train) // run.batch_size)
    model, make_batch, validation = globals()[run.build](settings, splits, steps)
    batches = Batches(len(splits.train), run.batch_size, make_batch, seed=run.seed)
    history = fit(model, batches, epochs=settings["epochs"], name=run.name, position=position, validation=validation)
    return model, history


def build_ae(settings, splits, steps):
    """Compiled AE, what makes its batches, validation data."""
    from genmodels.autoencoder import AE
    from genmodels.training import adam

    model = AE(**settings["options"])
    model.compile(adam(settings["learning_rate"], steps))
    images = splits.train.images
    return model, lambda chosen, rng: (images[chosen],), (splits.validation.images,)


def build_vae(settings, splits, steps):
    """Compiled VAE, what makes its batches of quantised images, validation data."""
    from genmodels.training import adam
    from genmodels.vae import VAE

    model = VAE(seed=settings["seed"], **settings["options"])
    model.compile(adam(settings["learning_rate"], steps))
    images = data.quantise(splits.train.images)
    return model, lambda chosen, rng: (images[chosen],), (data.quantise(splits.validation.images),)


def build_conditional_vae(settings, splits, steps):
    """Compiled ConditionalVAE, what makes its batches (each digit in a new place each time), validation data."""
    from genmodels.training import adam
    from genmodels.vae import ConditionalVAE

    model = ConditionalVAE(seed=settings["seed"], **settings["options"])
    model.compile(adam(settings["learning_rate"], steps))
    train = data.Split(data.quantise(splits.train.images), splits.train.labels)
    validation = data.Split(data.quantise(splits.validation.images), splits.validation.labels)
    rng = np.random.default_rng(settings["seed"])
    return (
        model,
        lambda chosen, rng: (data.on_canvas(train, chosen, rng),),
        (data.on_canvas(validation, np.arange(len(validation)), rng),),
    )


def build_gan(settings, splits, steps):
    """Compiled ConditionalGAN, what makes its batches, no validation data."""
    import keras

    from genmodels.gan import ConditionalGAN

    model = ConditionalGAN(seed=settings["seed"], **settings["options"])
    optimizers = [keras.optimizers.Adam(settings["learning_rate"], beta_1=0.5) for _ in range(2)]
    model.compile(*optimizers)
    images, labels = splits.train.images, splits.train.labels
    return model, lambda chosen, rng: (images[chosen], labels[chosen]), None


def build_judge(settings, splits, steps):
    """Compiled Judge, what makes its batches of real images, validation data."""
    import keras

    from genmodels.judge import Judge
    from genmodels.training import adam

    model = Judge(seed=settings["seed"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(adam(settings["learning_rate"], steps), loss=loss, metrics=["accuracy"])
    images, labels = splits.train.images, splits.train.labels
    validation = splits.validation
    return model, lambda chosen, rng: (images[chosen], labels[chosen]), (validation.images, validation.labels)


def _keep(home, model, history):
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home.parent) as folder:
        (Path(folder) / "run").mkdir()
        model.save(Path(folder) / "run" / "model.keras")
        cache.write_json(Path(folder) / "run" / "history.json", history)
        os.replace(Path(folder) / "run", home)


def _load(path):
    """Loads a model; the imports make its class known to Keras."""
    import keras

    from genmodels import autoencoder, gan, judge, vae  # noqa: F401

    return keras.models.load_model(path)
