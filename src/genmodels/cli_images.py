"""The commands for one's own images: fit, evaluate, sample, grid. They work without a checkout too."""

import inspect
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from genmodels import config, datasets
from genmodels.experiments import BUILDERS, RUNS
from genmodels.pipeline import files, fitting, records, results, store

INK = click.option(
    "--dark-on-light",
    is_flag=True,
    help="Draw grey images as dark ink on white, as those of the report's runs always are. By default 1 is white.",
)
SEED = click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of the noise.")
PICTURE = click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="PNG file to write.")


def device_option(default: str) -> Callable:
    """Return the option --device, which acts before the command; `default` is one of `config.DEVICES`."""
    return click.option(
        "--device",
        type=click.Choice(config.DEVICES),
        default=default,
        envvar="GENMODELS_DEVICE",
        show_envvar=True,
        expose_value=False,
        callback=lambda context, parameter, chosen: context.resilient_parsing or config.use_device(chosen),
        help="Processor to compute on; auto is a GPU if TensorFlow sees one.",
    )


class RunOrFile(click.Choice):
    """The name of a run, or the path of a .keras file."""

    def __init__(self) -> None:
        super().__init__(list(RUNS))

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return a path for what ends in .keras, and the name of a run otherwise."""
        if isinstance(value, Path) or str(value).endswith(".keras"):
            return Path(value)
        return super().convert(value, parameter, context)


def data_options(command: Callable, *, required: bool = True) -> Callable:
    """Add the options that name and read a data set.

    Args:
        command: Function that takes a Dataset as `data`.
        required: Refuse a call without --data. Otherwise `data` is None then.
    """

    def with_data(*args: Any, data: str | None, **kwargs: Any) -> Any:
        names = ("download", "size", "scale", "transpose")
        options = {name: value for name in names if (value := kwargs.pop(name))}  # each reader takes some of them
        with _notes(), one_line():
            found = datasets.open_dataset(data, **options) if data else None
        return command(*args, data=found, **kwargs)

    with_data.__name__, with_data.__doc__ = command.__name__, command.__doc__
    with_data.__click_params__ = getattr(command, "__click_params__", [])
    for option in (
        click.option("--transpose", is_flag=True, help="Let rows and columns of each image change places."),
        click.option("--scale", type=float, help="Value of white, such as 16 for values from 0 to 16."),
        click.option("--size", type=click.IntRange(1), nargs=2, metavar="H W", help="Resize pictures of a folder."),
        click.option("--download", is_flag=True, help="Let Keras fetch a data set that its cache lacks."),
        click.option(
            "--data",
            metavar="DATA",
            required=required,
            help="mnist, fashion_mnist, cifar10, cifar100, a folder of pictures or IDX files, or an .npz file.",
        ),
    ):
        with_data = option(with_data)
    return with_data


@contextmanager
def _notes() -> Iterator[None]:
    """Print warnings inside the block as plain lines."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        yield
    for each in found:
        if issubclass(each.category, UserWarning):
            click.echo(f"note: {each.message}", err=True)


@contextmanager
def one_line() -> Iterator[None]:
    """Turn a ValueError, by which the library refuses arguments, into one line and exit status 2."""
    try:
        yield
    except ValueError as error:
        refused = click.ClickException(" ".join(str(error).split()))
        refused.exit_code = 2
        raise refused from error


@contextmanager
def goes_on() -> Iterator[None]:
    """Say after an interruption of the training inside the block that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("\nStopped. The same command goes on after the last whole epoch.", err=True)
        raise


def ending(text: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback of an option that refuses a file whose name does not end in a text."""

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and not value.endswith(text):
            raise click.BadParameter(f"expected a file that ends in {text}, got {value}", context, parameter)
        return value

    return check


@click.command()
@click.argument("kind", type=click.Choice(list(fitting.STARTS)))
@data_options
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False),
    callback=ending(".keras"),  # Keras writes a model to no other
    help="File to write, which ends in .keras.",
)
@click.option("--epochs", type=click.IntRange(1), help="Times that each image is seen.  [default: by the data]")
@click.option("--batch-size", type=click.IntRange(1), help="Images in a training step.  [default: by the data]")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Learning rate of Adam at the start.  [default: by the data]",
)
@click.option("--latent-dim", type=click.IntRange(1), help="Numbers in a code, of ae and vae.  [default: 2]")
@click.option(
    "--likelihood",
    type=click.Choice(["auto", "bernoulli", "continuous_bernoulli", "gaussian"]),
    help="Distribution of a pixel, of vae. auto: bernoulli if all pixels are 0 or 1, otherwise continuous_bernoulli.  "
    "[default: auto]",
)
@click.option("--beta", type=click.FloatRange(0), help="Weight of the KL term, of vae.  [default: 1]")
@click.option("--noise-dim", type=click.IntRange(1), help="Numbers in the noise, of gan.  [default: 24]")
@click.option("--channels", type=click.IntRange(2), help="Width of the networks, of gan.  [default: 64]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, help="Seed of weights, order and noise.")
@click.option(
    "--cores",
    type=click.IntRange(1),
    default=fitting.usual_cores,
    show_default=f"usable ones, up to {fitting.CORES}",
    help="Cores of the training. The result does not depend on it.",
)
@device_option("auto")
def fit(
    kind: str,
    data: datasets.Dataset,
    output: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    cores: int,
    **options: Any,
) -> None:
    """Train a model on your own images: an autoencoder, a VAE, a conditional GAN or a classifier.

    Settings that are not given follow from the data. You may stop a training: the same command goes on after the last
    whole epoch, with the same result. A training that nobody goes on with for 30 days is forgotten.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if foreign := [name for name in given if name not in fitting.TAKES[kind]]:
        raise click.UsageError(f"{kind} takes no --{foreign[0].replace('_', '-')}")
    numbers = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    with one_line():
        run = fitting.plan(kind, data, **numbers, **given)
        for text in fitting.describe(run, data):
            click.echo(text, err=True)
        with goes_on():
            history = fitting.fit(run, data, output, cores=cores)
    last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in history.items() if isinstance(values[-1], float))
    click.echo(f"Wrote {output}: {last}", err=True)


@click.command()
@click.argument("model", type=click.Path())
@data_options
@click.option(
    "--classifier", "classifiers", multiple=True, type=click.Path(), help="Model of `fit classifier`, up to 2."
)
@click.option(
    "--train-classifier",
    is_flag=True,
    help="Also train a classifier on images of a GAN and one on as many real ones, and score both on real images.",
)
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", help="Images to score.")
@click.option("--json", "output", type=click.Path(dir_okay=False, allow_dash=True), help="JSON file to write, or -.")
@device_option("auto")
def evaluate(
    model: str,
    data: datasets.Dataset,
    classifiers: tuple[str, ...],
    train_classifier: bool,
    split: str,
    output: str | None,
) -> None:
    """Score a model: every score that makes sense for it and for the data, beside that of real images.

    Scores of generated images need a --classifier, which was trained on the same kind of images.

    The classification accuracy score asks whether a GAN's images teach what real ones do. It needs --train-classifier
    alone, which costs two trainings. You may stop them: the same command goes on.
    """
    with one_line():
        loaded, *judges = [_load(path, to_train=train_classifier) for path in (model, *classifiers)]
        for path, judge in zip(classifiers, judges):
            if not hasattr(judge, "classify"):
                raise ValueError(f"{path}: expected a classifier, got a {type(judge).__name__}")
        if train_classifier:
            fitting.check_gan(loaded, data)
        from genmodels.evaluation import as_table, evaluate

        scores = evaluate(loaded, data, judges, split=split)
        if train_classifier:
            with goes_on():
                scores |= fitting.classification_accuracy(loaded, data, split=split)
    found = {"model": model, "classifiers": list(classifiers), "data": data.name, "digest": data.digest}
    found |= {"split": split, "scores": scores}
    if output == "-":
        click.echo(json.dumps(found, indent=2))
        return
    if output:
        files.write_json(Path(output), found)
    click.echo(as_table(scores))


def _load(path, *, to_train=False):
    """Return the model of a .keras file; `to_train` if a training follows, which has to set up TensorFlow first."""
    if shortage := config.memory_shortage():
        raise files.ResourceError(shortage)
    with config.quiet_start():
        if to_train:
            config.use_one_thread()
        from genmodels.models.loading import load_model
    return load_model(path)


@click.command()
@click.argument("model", metavar="RUN_OR_FILE", type=RunOrFile())
@PICTURE
@click.option("-n", "--count", type=click.IntRange(1, 10_000), default=16, help="Number of images, or of each class.")
@click.option("--label", type=click.IntRange(0), help="Class, such as a digit, for a conditional model.")
@click.option("--position", type=click.IntRange(0, 2), nargs=2, help="pos_x and pos_y, for a conditional VAE.")
@SEED
@INK
@device_option("cpu")
def sample(
    model: str | Path,
    output: str,
    count: int,
    label: int | None,
    position: tuple[int, int] | None,
    seed: int,
    dark_on_light: bool,
) -> None:
    """Draw images with the model of a run, or of a .keras file, as one PNG.

    A GAN of a file draws rows of all classes if no --label is given.
    """
    import numpy as np

    from genmodels.figures import plot_mosaic

    asked = {"label": label, "position": position}
    if isinstance(model, Path):
        with one_line():
            drawing = _load(model)
        takes, name, classes = _takes(drawing), model.name, getattr(drawing, "num_classes", datasets.LABELS)
    else:
        takes, name, classes = BUILDERS[RUNS[model].builder].draws, model, datasets.LABELS
    if label is not None and label >= classes:
        raise click.BadParameter(f"{label} is not in the range 0<=x<={classes - 1}.", param_hint="'--label'")
    if isinstance(model, Path) and hasattr(drawing, "generate") and takes == ("label",) and label is None:
        _refuse_superfluous(name, takes, asked)
        images, rows = drawing.generate(np.repeat(np.arange(classes), count), seed), classes
    else:
        conditions = _conditions(name, takes, asked)
        drawing = drawing if isinstance(model, Path) else store.trained(model).model
        images = drawing.draw(count, seed, **conditions)
        rows = -(-count // int(np.ceil(count**0.5)))
    width = -(-len(images) // rows)
    padded = np.concatenate([images, np.zeros((rows * width - len(images), *images.shape[1:]))])
    tiles = padded.reshape(rows, width, *images.shape[1:])
    _write(plot_mosaic(tiles, gap=_gap(model), cmap=_cmap(model, dark_on_light)), output)


@click.command()
@click.argument("model", metavar="RUN_OR_FILE", type=RunOrFile())
@PICTURE
@click.option("-n", "--count", type=click.IntRange(2, 100), default=16, help="Images along a side, or of each class.")
@SEED
@INK
@device_option("cpu")
def grid(model: str | Path, output: str, count: int, seed: int, dark_on_light: bool) -> None:
    """Draw the plane of codes that an AE or a VAE of two latent dimensions decodes, or a GAN's classes in rows.

    The axes are named in English for a file, and in the report's language for a run. GENMODELS_LANG=pl or en chooses.
    """
    import numpy as np

    from genmodels.figures import latent_grid, plot_digit_rows, plot_latent_images

    _use_language_of(model)
    with one_line():
        loaded = _load(model) if isinstance(model, Path) else store.trained(model).model
    if hasattr(loaded, "generate"):
        labels = np.repeat(np.arange(loaded.num_classes), count)
        images = loaded.generate(labels, seed)
        drawn = images.reshape(loaded.num_classes, count, *images.shape[1:])
        return _write(plot_digit_rows(drawn, cmap=_cmap(model, dark_on_light)), output)
    if not hasattr(loaded, "decode") or _takes(loaded):
        raise click.UsageError(f"{model}: expected an AE, a VAE or a GAN, got a {type(loaded).__name__}")
    if loaded.latent_dim != 2:
        raise click.UsageError(
            f"{model}: expected two latent dimensions, which make a plane, got {loaded.latent_dim}; train it with "
            "--latent-dim 2, or draw with `genmodels sample`"
        )
    images = loaded.decode(latent_grid(count))
    _write(plot_latent_images(images, gap=_gap(model), cmap=_cmap(model, dark_on_light)), output)


@click.command()
@click.argument("model", type=click.Path())
@data_options
@PICTURE
@click.option("-n", "--count", type=click.IntRange(1, 50), default=10, help="Number of images.")
@click.option("--dark-on-light", is_flag=True, help="Draw grey images as dark ink on white. By default 1 is white.")
@device_option("cpu")
def reconstruct(model: str, data: datasets.Dataset, output: str, count: int, dark_on_light: bool) -> None:
    """Draw test images, and below each what an AE or a VAE makes of it.

    The images are chosen at equal distances in the data, not by how well they come out.
    """
    from genmodels.figures import plot_rows

    with one_line():
        loaded = _load(model)
        if not hasattr(loaded, "decode") or _takes(loaded):
            raise ValueError(f"{model}: expected an AE or a VAE, got a {type(loaded).__name__}")
        from genmodels.evaluation import reconstruct

        rows = reconstruct(loaded, data.test.batch(fitting.evenly(len(data.test), count)))
    names = ("image", "reconstruction")
    _write(plot_rows(dict(zip(names, rows)), cmap=_cmap(Path(model), dark_on_light)), output)


def _use_language_of(model):
    """Draw in the report's language for a run, if there is a report, and otherwise in English.

    Figures obey GENMODELS_LANG without this.
    """
    if os.environ.get("GENMODELS_LANG"):
        return
    from genmodels.figures import use_language

    of_report = not isinstance(model, Path) and config.checkout() and find_spec("yaml")  # a package of the extra report
    use_language(records.language() if of_report else "en")


def _cmap(model, dark_on_light):
    """Return the colour map of grey images: those of the report's runs are ink on paper."""
    return "gray_r" if dark_on_light or not isinstance(model, Path) else "gray"


def _gap(model):
    """Return the pixels between two images: one's own may fill their frame, a digit of MNIST has a margin."""
    return int(isinstance(model, Path))


def _write(figure, output):
    """Write a figure as PNG."""
    with files.replacing(output) as temporary:
        temporary.write_bytes(results.picture(figure))
    click.echo(f"Wrote {output}", err=True)  # the output may be /dev/stdout


def _takes(model):
    """Return the conditions that a loaded model draws under; None for a model that draws nothing from noise."""
    if not hasattr(model, "draw"):
        return None
    parameters = inspect.signature(model.draw).parameters.values()
    return tuple(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)


def _conditions(name, takes, asked):
    """Return the conditions for a model; refuse missing and superfluous ones."""
    _refuse_superfluous(name, takes, asked)
    for condition in takes:
        if asked[condition] is None:
            raise click.UsageError(f"{name} needs --{condition}")
    return {condition: asked[condition] for condition in takes}


def _refuse_superfluous(name, takes, asked):
    if takes is None:
        kind = "run" if name in RUNS else "model"
        raise click.UsageError(f"{name}: expected a {kind} that draws images from noise, such as a VAE or a GAN")
    for condition, value in asked.items():
        if value is not None and condition not in takes:
            raise click.UsageError(f"{name} takes no --{condition}")
