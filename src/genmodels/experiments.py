"""The named runs of the report: frozen settings, and one call that gives a trained model.

TensorFlow is imported inside the functions that train or load, so that listing runs and their state stays instant.
"""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from genmodels import cache, checks, data, sources, store


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings of one training run.

    build: the function of this module that makes its Setup. options: keyword arguments of the model. learning_rate:
    Adam's, at the start. needs: names of runs whose models it learns from, with the same seed. seed: of the initial
    weights, the order of the images and all noise.
    """

    name: str
    summary: str
    build: str
    options: dict = field(default_factory=dict)
    epochs: int
    batch_size: int
    learning_rate: float
    decay: str = "cosine"
    needs: tuple = ()
    seed: int = 1

    def settings(self):
        """What the trained weights depend on, as a plain dict; a quick run trains for one epoch."""
        settings = asdict(replace(self, epochs=1) if data.smoke_budget() else self)
        del settings["summary"]
        return settings


class TrainingError(RuntimeError):
    """A run was stopped because its result would be useless; the message says why and what usually helps."""


class Setup(NamedTuple):
    """A compiled model, the number of examples, the function that makes a batch (see `training.Batches`), and more."""

    model: Any
    count: int
    make_batch: Any
    validation: Any = None
    watch: Any = None


def _conditional_vae(latent_dim, **options):
    return Run(
        name=f"cvae_{latent_dim}",
        summary=f"conditional VAE, {latent_dim} latent dimensions",
        build="build_conditional_vae",
        options={"latent_dim": latent_dim, "hidden_units": (512, 256), "classifier_weight": 80.0, **options},
        epochs=4,
        batch_size=128,
        learning_rate=3.5e-3,
        decay="late",
    )


def _vae(name, summary, *, decay="cosine", **options):
    return Run(
        name=name,
        summary=f"VAE, 2 latent dimensions, {summary}",
        build="build_vae",
        options=options,
        epochs=9,
        batch_size=128,
        learning_rate=1.5e-3,
        decay=decay,
    )


def _judge(name, summary, options=MappingProxyType({}), *, build="build_judge", epochs=5, **others):
    return Run(
        name=name,
        summary=summary,
        build=build,
        options=dict(options),
        epochs=epochs,
        batch_size=64,
        learning_rate=2e-3,
        **others,
    )


# In the order in which they are started: the longest first, so that two workers finish together.
_RUNS = (
    Run(
        name="gan",
        summary="conditional GAN",
        build="build_gan",
        epochs=6,
        batch_size=64,
        learning_rate=2e-3,
        decay="late",
    ),
    Run(
        name="ae",
        summary="autoencoder, 2 latent dimensions",
        build="build_ae",
        epochs=20,
        batch_size=256,
        learning_rate=8e-3,
        decay="late",
    ),
    _judge("judge", "digit classifier, trained on real images only", {"architecture": "strided"}),
    _conditional_vae(25, kl_weight=3.0),
    _conditional_vae(100, kl_weight=3.0),
    _conditional_vae(2),
    _judge("judge_2", "second judge, of another architecture", {"architecture": "pooled"}, seed=101),
    _vae("vae_mc", "Monte-Carlo KL", kl="monte_carlo"),
    _vae("vae_kl", "closed-form KL", kl="closed_form"),
    _vae("vae_before", "before it was improved", decay="constant", hidden_units=(512,), waves=0, normalise=False),
    _judge(
        "pupil",
        "digit classifier, trained on the GAN's images only; for the study",
        build="build_pupil",
        needs=("gan",),
    ),
)
RUNS = MappingProxyType({run.name: run for run in _RUNS})


def find(run):
    """The Run of a name, with seed 1; a Run as it is. Raises ValueError for an unknown name."""
    if isinstance(run, Run):
        return run
    return RUNS[checks.choice("run", run, RUNS)]


def needed(run):
    """The runs whose models this one (a Run or a name) learns from."""
    run = find(run)
    return [replace(find(name), seed=run.seed) for name in run.needs]


def parts(run):
    """Everything that the trained weights of a run depend on, {what: value}: settings, code, data and libraries."""
    run = find(run)
    return {
        **{f"setting {name}": value for name, value in run.settings().items()},
        **sources.code_parts(f"experiments:{run.build}", "experiments:train"),
        **cache.environment(),
        **{f"run {other.name}": key(other) for other in needed(run)},
    }


def key(run):
    """Digest of the run's `parts`."""
    return cache.digest(parts(run))


def folder(run):
    """Where the trained run is or will be kept, for the present settings, code and data."""
    return cache.directory() / "runs" / f"{find(run).name}-{key(run)[:16]}"


def is_trained(run):
    """Whether the cache holds this run, undamaged, for the present settings, code and data."""
    return folder(run).is_dir() and not store.damage(folder(run))


def why_stale(run):
    """Why a run has to be trained, now or again; empty where the cache has it."""
    run = find(run)
    if is_trained(run):
        return ""
    if folder(run).is_dir():
        return f"damaged: {store.damage(folder(run))}"
    now, kept = parts(run), cache.directory().glob(f"runs/{run.name}-*/parts.json")
    before = {path: cache.read_json(path, shape=dict) for path in kept}
    same = ("setting seed", "budget")
    mine = [path for path, old in before.items() if all(old.get(name) == now[name] for name in same)]
    if not mine:
        return "not trained yet"
    last = max(mine, key=lambda path: path.stat().st_mtime)
    return cache.changes(before[last], now, cache.when(last)) or "not trained yet"


def trained(run, *, position=0):
    """The `store.Trained` run: from the cache where its settings, code and data are the same, otherwise trained now.

    run: a name, or a Run of your own. position: line of its progress bar, counted from 0. Raises ValueError for an
    unknown name, RuntimeError where the package's source was edited after this process imported it.
    """
    run, home = find(run), folder(run)
    # A second process that wants the same run waits for the first.
    with cache.lock(home.name), cache.faults(f"run {run.name}, seed {run.seed}"):
        _refuse_little_memory()
        from genmodels.training import use_one_thread

        use_one_thread()
        if (done := store.kept(run, home)) is None:
            made_from, models = parts(run), [trained(other).model for other in needed(run)]
            unfinished = cache.directory() / "unfinished" / f"{home.name}.npz"
            kept = cache.read_arrays(unfinished)
            start = time.monotonic() - float(kept["seconds"] if kept else 0)

            def keep(state):
                refuse_edited_code(run)
                cache.write_arrays(unfinished, {**state, "seconds": np.array(time.monotonic() - start)})

            model, history = train(run, *models, position=position, kept=kept, keep=keep)
            refuse_edited_code(run)
            store.keep(home, model, {"history": history, "seconds": time.monotonic() - start}, made_from)
            unfinished.unlink(missing_ok=True)
            done = store.load(run, home)
    return done


def _refuse_little_memory(least=3 * 2**30):
    """Raises FaultError where a limit allows less than `least` bytes, with which TensorFlow hangs or crashes."""
    with suppress(ImportError):  # there is none on Windows
        import resource

        if 0 <= (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) < least:
            raise cache.FaultError(
                f"expected at least {least >> 20} MiB of memory, got a limit of {limit >> 20}; raise it with ulimit -v"
            )


def refuse_edited_code(run, done="trained"):
    """Raises TrainingError where the package was edited since: what was `done` is the old code's, the key the new's."""
    if edited := sources.edited_modules():
        raise TrainingError(f"{', '.join(edited)} changed while {run.name} was {done}; start again")


def train(run, *models, position=0, **resuming):
    """Trains a run; returns the model and its history. models: those that it learns from, see `needed`.

    resuming: kept and keep of `training.fit`. Raises TrainingError where the result would be useless.
    """
    from genmodels.training import Batches, fit, prepare

    prepare(run.seed)
    settings, splits = run.settings(), data.load()
    setup = globals()[run.build](settings, splits, *models)
    batches = Batches(setup.count, run.batch_size, setup.make_batch, seed=run.seed)
    name = run.name if run.seed == 1 else f"{run.name}, seed {run.seed}"
    watch = [setup.watch] if setup.watch else []
    options = {"epochs": settings["epochs"], "validation": setup.validation, "callbacks": watch, **resuming}
    try:
        history = fit(setup.model, batches, name=name, position=position, **options)
    except FloatingPointError as error:
        raise TrainingError(str(error)) from error
    if setup.watch and setup.watch.hopeless:
        raise TrainingError(f"{name}: {setup.watch.hopeless}")
    return setup.model, history


def _adam(settings, count, **options):
    """Adam with the learning rate, and its decay over `count` examples an epoch, of a run."""
    from genmodels.training import adam

    steps = settings["epochs"] * -(-count // settings["batch_size"])
    return adam(settings["learning_rate"], steps, decay=settings["decay"], **options)


def build_ae(settings, splits):
    """Setup of an autoencoder."""
    from genmodels.autoencoder import AE

    model = AE(**settings["options"])
    images = splits.train.images
    model.compile(_adam(settings, len(images)))
    return Setup(model, len(images), lambda chosen, rng: (images[chosen],), (splits.validation.images,))


def build_vae(settings, splits):
    """Setup of a VAE on quantised images."""
    from genmodels.vae import VAE

    model = VAE(seed=settings["seed"], **settings["options"])
    images, validation = (data.quantise(split.images, "uint8") for split in (splits.train, splits.validation))
    # The encoder is not normalised: a single steep step, as the Monte-Carlo term makes now and then, would ruin it.
    model.compile(_adam(settings, len(images), global_clipnorm=50.0))
    return Setup(model, len(images), lambda chosen, rng: (images[chosen],), (validation,))


def build_conditional_vae(settings, splits):
    """Setup of a conditional VAE on quantised images, each in a new place each time."""
    from genmodels.vae import ConditionalVAE

    model = ConditionalVAE(seed=settings["seed"], **settings["options"])
    model.compile(_adam(settings, len(splits.train)))
    train, validation = (split.quantised("uint8") for split in (splits.train, splits.validation))
    held_out = data.on_canvas(validation, np.arange(len(validation)), np.random.default_rng(settings["seed"]))
    return Setup(model, len(train), lambda chosen, rng: (data.on_canvas(train, chosen, rng),), (held_out,))


def build_gan(settings, splits):
    """Setup of a conditional GAN, watched while it trains."""
    from genmodels.gan import ConditionalGAN
    from genmodels.watch import Watch

    model = ConditionalGAN(seed=settings["seed"], **settings["options"])
    images, labels = splits.train.images, splits.train.labels
    model.compile(*(_adam(settings, len(images), beta_1=0.5) for _ in range(2)))
    return Setup(
        model,
        len(images),
        lambda chosen, rng: (images[chosen], labels[chosen]),
        watch=Watch(splits.train),
    )


def build_judge(settings, splits):
    """Setup of a judge on real images."""
    return _judge_of(splits.train, settings, splits)


def build_pupil(settings, splits, gan, *, count=60_000):
    """Setup of a classifier built like the second judge that sees only what the GAN draws: `count` images."""
    count = len(splits.train) if data.smoke_budget() else count
    labels = np.arange(count) % data.LABELS
    return _judge_of(data.Split(gan.generate(labels, seed=settings["seed"]), labels), settings, splits)


def _judge_of(train, settings, splits):
    import keras

    from genmodels.judge import Judge

    model = Judge(**settings["options"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(_adam(settings, len(train)), loss=loss, metrics=["accuracy"])
    return Setup(
        model,
        len(train),
        lambda chosen, rng: (data.varied(train.images[chosen], rng), train.labels[chosen]),
        (splits.validation.images, splits.validation.labels),
    )
