"""`trained`: return one run from the cache, or train it now. An interrupted training goes on from its checkpoint.

A run has a folder of its own, with the model, its history, and the record of inputs and checksums.
"""

import glob
import json
import pickle
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from genmodels import config, datasets
from genmodels.experiments import BUILDERS, Run, Setup, dependencies, find
from genmodels.pipeline import files, fingerprint, processes, records, results


class TrainingError(RuntimeError):
    """A run cannot be trained or used. The message says what helps."""


class DivergedError(TrainingError):
    """A training was stopped, because its result would be useless. Another seed or other settings may help."""


@dataclass(frozen=True)
class Trained:
    """A trained run.

    Attributes:
        run: Settings of the run.
        model: The Keras model.
        history: {metric: one value per epoch}.
        seconds: Duration of the training.
    """

    run: Run
    model: Any
    history: dict
    seconds: float


TRAIN = "pipeline.store:train"  # the lead of the code that all weights depend on, see `fingerprint`
_RECORD = "record.json"  # in a run's folder: the record of its `identity` and of the checksums of its files


def inputs(run: Run | str) -> dict:
    """Return everything that the trained weights depend on: settings, code, data and libraries.

    Args:
        run: A run or its name.

    Returns:
        {input: value or checksum}.

    Raises:
        ValueError: No run has that name, or nobody registered its builder.
    """
    run = find(run)
    return {
        **{f"setting {name}": value for name, value in run.settings().items()},
        **_code(run),
        **records.environment(),
        **{f"run {other.name}": files.short(inputs(other)) for other in dependencies(run)},
    }


def _code(run):
    leads, own = fingerprint.of_function(_builder(run))
    return {**own, **fingerprint.code(TRAIN, *leads)}


def _leads(run):
    return [TRAIN, *fingerprint.of_function(_builder(run))[0]]


def _builder(run):
    if run.builder not in BUILDERS:
        known = ", ".join(BUILDERS)
        raise ValueError(
            f"run {run}: builder must be one of {known}, got {run.builder!r}; register another "
            "with @genmodels.model_builder"
        )
    return BUILDERS[run.builder]


def identity(run: Run | str) -> dict:
    """Return everything that decides the bits of the trained weights. Each identity has its own cache folder.

    Args:
        run: A run or its name.

    Returns:
        `inputs`, and the properties of this machine from `config.numerics`.
    """
    return {**inputs(run), **{f"machine: {name}": value for name, value in config.numerics().items()}}


def key(run: Run | str) -> str:
    """Return the digest of a run's `identity`."""
    return files.digest(identity(run))


def folder(run: Run | str) -> Path:
    """Return the cache folder of a run for its present `identity`.

    Args:
        run: A run or its name.

    Returns:
        The path, whether or not the folder exists.
    """
    return config.cache_folder() / "runs" / f"{find(run).name}-{key(run)[:16]}"


def is_trained(run: Run | str) -> bool:
    """Return whether the cache holds a run, undamaged, for the present settings, code, data and machine."""
    home = folder(run)
    return home.is_dir() and not _damage(home)


def why_stale(run: Run | str) -> str:
    """Return why a run must be trained.

    Args:
        run: A run or its name.

    Returns:
        The reason in words; empty if the cache holds the run.
    """
    run = find(run)
    home, now = folder(run), identity(run)
    if home.is_dir():
        return f"damaged: {damage}" if (damage := _damage(home)) else ""
    if not (last := _last_record(run, now)):
        return "not trained yet"
    before = _record(last)
    return before.why_stale(now, before.outputs, "the training", files.when(last)) or "not trained yet"


def _last_record(run, now):
    """Return the path of the record of the last training of a run with this seed and budget; None without one."""
    before = {path: _record(path).inputs for path in config.cache_folder().glob(f"runs/{run.name}-*/{_RECORD}")}
    same = ("setting seed", "budget")
    mine = [path for path, old in before.items() if all(old.get(name) == now[name] for name in same)]
    return max(mine, key=lambda path: path.stat().st_mtime, default=None)


def usual_seconds(run: Run | str) -> float | None:
    """Return how long a run trains, by the seconds per epoch of its last training; None if the cache has none."""
    run = find(run)
    if not (last := _last_record(run, identity(run))) or _damage(last.parent):
        return None
    seconds = files.read_json(last.with_name("training.json"))["seconds"]
    return seconds / _record(last).inputs["setting epochs"] * run.settings()["epochs"]


def trained(run: Run | str, *, latent_dim: int | None = None, position: int = 0) -> Trained:
    """Return a trained run: from the cache if settings, code and data are the same, otherwise trained now.

    A training keeps TensorFlow to one thread, and to the CPU unless GENMODELS_DEVICE is "auto" or "gpu". If TensorFlow
    already runs with more threads, or sees a GPU that the run must not use, the run trains in a process of its own.
    Loading a run changes no setting.

    Args:
        run: A name in `experiments.RUNS`, or a Run of your own.
        latent_dim: Expected number of latent dimensions, such as 2 for pictures of the plane; None for any.
        position: Line of the progress bar, counted from 0.

    Returns:
        The trained run.

    Raises:
        ValueError: No run has that name, or nobody registered its builder.
        TrainingError: The result would be useless or has another number of latent dimensions. Or the run's code was
            edited after this process had started, or Keras cannot load the model.
        ResourceError: The system refuses memory or disk space.
        DeviceError: GENMODELS_DEVICE is "gpu", but TensorFlow sees none, or it has an unknown value.

    Example:
        vae = genmodels.trained("vae_kl").model
    """
    run = find(run)
    made_from, home = inputs(run), folder(run)
    # A second process that wants the same run waits for the first.
    with files.lock(home.name), files.system_errors(f"run {run}"):
        if shortage := config.memory_shortage():
            raise files.ResourceError(shortage)
        with config.quiet_start():
            import_module("genmodels.training")  # imports Keras, whose start must not count as training time
        done = _saved(run, home)
        if not done and _may_train_here():
            done = _train_and_save(run, home, position)
    done = done or _train_in_child(run, home)
    if latent_dim not in (None, found := getattr(done.model, "latent_dim", None)):
        raise TrainingError(
            f"run {run.name}: expected latent_dim={latent_dim} for the pictures here, got {found}; change it in the "
            "run's options, or take these pictures out"
        )
    results.loaded(run, made_from)
    return done


def _may_train_here():
    if _must_hide_gpus():
        return False
    with config.quiet_start():
        return config.use_one_thread()


def _must_hide_gpus():
    """Return whether a training on the CPU would have to hide GPUs from the TensorFlow of this process."""
    return config.device() == "cpu" and bool(config.visible_gpus())


def _train_in_child(run, home):
    """Train a run in a process of its own, because TensorFlow runs here with several threads or sees a GPU."""
    build = _builder(run)
    try:
        sent = pickle.dumps((run, build))
    except (pickle.PicklingError, AttributeError, TypeError):  # such as for a function inside a function
        sent = b"__main__"
    if b"__main__" in sent:
        why = "TensorFlow to be unused or on one thread, but it already runs here with several"
        remedy = "restart the kernel and train this run first"
        if _must_hide_gpus():
            why = "TensorFlow to see no GPU, because runs train on the CPU, but it sees one"
            remedy = "set GENMODELS_DEVICE=auto to train this run on the GPU"
        raise TrainingError(
            f"run {run}: expected {why}, and {build.__name__}, defined in this notebook or script, cannot be sent to "
            f"another process; {remedy}, or move the function into a module file"
        )
    for _ in processes.run_all(partial(_in_child, build=build), [run], processes.Workers(1)):
        pass
    with files.lock(home.name), files.system_errors(f"run {run}"):
        if done := _saved(run, home):
            return done
    raise TrainingError(
        f"run {run}: expected another process to train it, got no result for the code and settings of this process; "
        "start again"
    )


def _in_child(run, build):
    if _must_hide_gpus():  # of another maker, whom CUDA_VISIBLE_DEVICES tells nothing
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
    BUILDERS[run.builder] = build
    trained(run, position=processes.line())


def _train_and_save(run, home, position):
    made_from, models = identity(run), [trained(other).model for other in dependencies(run)]
    unfinished = config.cache_folder() / "unfinished" / f"{home.name}.npz"
    checkpoint = files.load_arrays(unfinished)
    start = time.monotonic() - float(checkpoint["seconds"] if checkpoint else 0)

    def save(state):
        refuse_edited_code(run)
        files.save_arrays(unfinished, {**state, "seconds": np.array(time.monotonic() - start)})

    model, history = train(run, *models, position=position, checkpoint=checkpoint, save=save)
    refuse_edited_code(run)
    with files.replacing(home) as new:
        new.mkdir()
        model.save(new / "model.keras")
        (new / "training.json").write_text(json.dumps({"history": history, "seconds": time.monotonic() - start}))
        (new / _RECORD).write_text(
            json.dumps({"run": records.Record(made_from, _checksums(new)).as_json()}), encoding="utf-8"
        )
    unfinished.unlink(missing_ok=True)
    return _load(run, home)


def refuse_edited_code(run: Run, leads: Iterable[str] = (), but: Iterable[str] = (), *, step: str = "trained") -> None:
    """Refuse a result whose code was edited after this process had started.

    Such a result comes from the old code, but would be saved under the key of the new code.

    Args:
        run: The run whose code is compared.
        leads: Further leads to compare, see `fingerprint.edited`.
        but: Modules that the further leads do not follow.
        step: The work in words, for the message.

    Raises:
        TrainingError: The code was edited.
    """
    if edited := fingerprint.edited(*_leads(run)) + fingerprint.edited(*leads, but=but):
        raise TrainingError(f"{', '.join(edited)} changed while {run.name} was {step}; start again")


def train(run: Run, *models, position: int = 0, **resuming) -> tuple[Any, dict]:
    """Train a run, without the cache.

    Args:
        run: The run.
        models: Trained models of the runs that this run depends on.
        position: Line of the progress bar, counted from 0.
        resuming: `checkpoint` and `save` of `training.fit`.

    Returns:
        The model, and its history {metric: one value per epoch}.

    Raises:
        DivergedError: The result would be useless.
    """
    return train_on(datasets.load_mnist(), run, BUILDERS[run.builder], *models, position=position, **resuming)


def train_on(
    data: datasets.Dataset, run: Run, build: Callable[..., Setup], *models: Any, position: int = 0, **resuming: Any
) -> tuple[Any, dict[str, list]]:
    """Train a run on any data set, see `train`.

    Args:
        data: The data set.
        run: The run.
        build: Function of the settings, the data and the models, see `experiments.model_builder`.
        *models: Trained models that the run depends on.
        position: Line of the progress bar, counted from 0.
        **resuming: `checkpoint` and `save` of `training.fit`.
    """
    from genmodels.training import Batches, fit, prepare

    prepare(run.seed)
    settings = run.settings()
    setup = build(settings, data, *models)
    batches = Batches(setup.count, run.batch_size, setup.make_batch, seed=run.seed)
    callbacks = [setup.monitor] if setup.monitor else []
    options = {"epochs": settings["epochs"], "validation": setup.validation, "callbacks": callbacks, **resuming}
    try:
        history = fit(setup.model, batches, name=str(run), position=position, **options)
    except FloatingPointError as error:
        raise DivergedError(str(error)) from error
    if setup.monitor and setup.monitor.failure_reason:
        raise DivergedError(f"{run}: {setup.monitor.failure_reason}")
    return setup.model, history


def _checksums(home):
    return {path.name: files.checksum(path) for path in home.iterdir() if path.name != _RECORD}


def _record(path):
    """Return the record of a run's folder; an empty one if it is damaged."""
    try:
        return records.parse(files.read_json(path, {}, records.SCHEMA), path)["run"]
    except (files.FileError, KeyError):
        return records.Record({}, {})


def packed(run: Run | str) -> dict[str, dict[str, bytes]]:
    """Return the folders of a run in this cache, one for each kind of machine that trained it.

    Args:
        run: A run or its name.

    Returns:
        {folder: {file: content}}, without damaged folders.
    """
    run, found = find(run), {}
    made_from = inputs(run)
    for path in config.cache_folder().glob(f"runs/{glob.escape(run.name)}-*/{_RECORD}"):
        known, home = _record(path).inputs, path.parent
        same = files.short({name: known.get(name) for name in made_from}) == files.short(made_from)
        if same and not _damage(home):
            found[home.name] = {file.name: file.read_bytes() for file in home.iterdir()}
    return found


def unpack(folders: dict[str, dict[str, bytes]]) -> None:
    """File folders from `packed` of another machine in this cache, unless it has them.

    Args:
        folders: {folder: {file: content}}.

    Raises:
        TrainingError: A folder is not as its record says.
    """
    for name, contents in folders.items():
        if name != Path(name).name:
            raise TrainingError(f"expected the name of a run's folder, got {name!r}")
        home = config.cache_folder() / "runs" / name
        with files.lock(name), files.system_errors(f"filing {name}"):
            if home.is_dir() and (damage := _damage(home)):
                files.quarantine(home, damage)
            if not home.is_dir():
                _file(home, contents)


def _file(home, contents):
    with files.replacing(home) as new:
        new.mkdir()
        for name, content in contents.items():
            (new / Path(name).name).write_bytes(content)
        if damage := _damage(new, home.name):
            raise TrainingError(f"{home.name}: expected the files that its record names, got another {damage}")


def _damage(home, name=None):
    """Return the names of missing or altered files of a folder. The folder's name proves the record."""
    record = _record(home / _RECORD)
    if not (name or home.name).endswith(files.short(record.inputs)):
        return _RECORD
    return ", ".join(name for name, *_ in files.differing(record.outputs, _checksums(home)))


def _saved(run, home):
    """Return the trained run in a folder; None if missing or damaged. A damaged folder is quarantined."""
    if not home.is_dir():
        return None
    return files.quarantine(home, why) if (why := _damage(home)) else _load(run, home)


def _load(run, home):
    import keras

    import_module("genmodels.optimizers")  # makes FusedAdam known to Keras
    build, path = _builder(run), home / "model.keras"
    classes = {name: value for name, value in build.__globals__.items() if isinstance(value, type)}
    try:
        with zipfile.ZipFile(path) as archive:
            module = json.loads(archive.read("config.json"))["module"] or ""
        if module.startswith("genmodels."):
            import_module(module)  # makes the class known to Keras
        model = keras.models.load_model(path, custom_objects=classes)
    except Exception as error:  # of many kinds
        if isinstance(error, MemoryError) or getattr(error, "errno", None):
            raise
        remedy = (
            "its classes need a get_config, and those of another module @keras.saving.register_keras_serializable()"
        )
        if build.__module__.startswith("genmodels."):
            remedy = "undo changes of ~/.keras/keras.json or of the libraries, or delete its folder to train it anew"
        raise TrainingError(
            f"run {run}: expected a model that Keras can load again, got: {str(error).partition(chr(10))[0]:.200}; "
            f"{path} is not damaged: {remedy}"
        ) from error
    return Trained(run, model, **files.read_json(home / "training.json"))
