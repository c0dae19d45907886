"""The command line: `genmodels --help`. TensorFlow is imported only by the commands that need a model."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click

from genmodels import cache, data, document, execution, experiments, notebooks, report, sources, study, workers

# TensorFlow's start-up messages tell the people who run this nothing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# For the processes that it starts, one for each core: more threads of NumPy than cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
JOBS = click.option("--jobs", type=click.IntRange(1), default=2, help="How many at once; each takes one core and 1 GB.")


PLAIN = (cache.CacheError, cache.FaultError, data.DataError, experiments.TrainingError, report.ReportError)


class PlainErrors(click.Group):
    """Turns errors that say what to mend into one line; others, such as a mistake in a model, keep their trace."""

    def invoke(self, context):
        before = signal.signal(signal.SIGTERM, _stop)
        try:
            with cache.faults("genmodels"):
                return super().invoke(context)
        except (*PLAIN, BrokenProcessPool) as error:
            plain = click.ClickException(cache.KILLED if isinstance(error, BrokenProcessPool) else str(error))
            plain.exit_code = 2
            raise plain from error
        finally:
            signal.signal(signal.SIGTERM, before)


def _stop(*_):
    """What Ctrl-C does, which a terminal sends to all processes; SIGTERM comes to one."""
    children = [*multiprocessing.active_children(), *execution.running]
    for child in children:
        child.terminate()
    # One that hangs inside TensorFlow, as it does where memory runs out, hears nothing.
    late = threading.Timer(10, lambda: [child.kill() for child in children])
    late.daemon = True
    late.start()
    raise KeyboardInterrupt


@click.group(cls=PlainErrors, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="genmodels")
def main():
    """Classic generative models on MNIST, and the report written from them.

    GENMODELS_BUDGET=smoke runs everything on a slice of the data in seconds, into the folder draft/.
    """
    try:
        data.smoke_budget()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    here, running = Path("src", "genmodels").resolve(), sources.PACKAGE.resolve()
    if here.is_dir() and here != running:  # as where a checkout was copied or renamed with its environment
        raise click.UsageError(
            f"expected to run {here}, got {running}; set PYTHONPATH=src, as make does, or make clean"
        )


@main.command("runs")
def list_runs():
    """List the runs of the report and their state."""
    for name, run in experiments.RUNS.items():
        state = "trained" if experiments.is_trained(name) else "to train"
        click.echo(f"{name:10} {state:9} {run.settings()['epochs']:3} epochs  seed {run.seed}  {run.summary}")


@main.command()
def status():
    """Say of each run, figure, number and document whether it is fresh, and if not, why."""
    rows = [("run", name, experiments.why_stale(name)) for name in experiments.RUNS]
    for notebook in report.NOTEBOOKS:
        stale = notebooks.stale(notebook)
        kinds = {name: "figure" if name.endswith(".png") else "numbers" for name in notebooks.results(notebook)}
        rows += [(kind, name, stale.get(name, "")) for name, kind in kinds.items()]
    rows += [("numbers", "study", study.why_stale()), ("numbers", "benchmark", notebooks.benchmark_stale())]
    rows += [("document", document.path(kind).name, document.why_stale(kind)) for kind in ("pdf", "html")]
    for kind, name, why in rows:
        click.echo(f"{kind:9} {name:36} {'stale: ' + why if why else 'fresh'}")


@main.command()
@click.argument("pdf", required=False, type=click.Path(dir_okay=False))
def verify(pdf):
    """Check that a PDF (the report's, if none is named) holds the figures, numbers and claims of this checkout."""
    pdf = pdf or document.path()
    if not os.path.isfile(pdf):
        raise report.ReportError(f"{_shown(pdf)}: expected a PDF to verify, found nothing; `make report` writes it")
    found = 0
    for text in document.differences(pdf):
        click.echo(text)
        found += 1
    click.echo(f"{_shown(pdf)}: {f'{found} differences from' if found else 'holds what is in'} this checkout")
    raise SystemExit(bool(found))


@main.command()
@click.option("--against", default="HEAD", help="The committed revision.")
def diff(against):
    """Compare the notebooks' figures and numbers with the committed ones: same, only rendered anew, or changed."""
    from genmodels import drift

    if data.smoke_budget():
        raise report.ReportError("expected a full run to compare, got GENMODELS_BUDGET=smoke")
    rows = list(drift.compare(against))
    for name, change, serious in rows:
        if change:
            click.echo(f"{'!' if serious else ' '} {name:36} {change}")
    same, bad = sum(not change for _, change, _ in rows), sum(serious for *_, serious in rows)
    click.echo(
        f"{same} figures are the same; {len(rows) - same} figures and numbers are not, {bad} of them unexpectedly."
    )
    raise SystemExit(bool(bad))


@main.command()
@click.argument("names", metavar="[RUN]...", nargs=-1, type=click.Choice(list(experiments.RUNS)))
@JOBS
def train(names, jobs):
    """Train the named runs, or all, where the cache does not have them yet."""
    workers.train_all(names or experiments.RUNS, jobs=jobs)


@main.command()
@JOBS
def figures(jobs):
    """Train what is missing and run the notebooks whose figures are out of date."""
    _refresh_figures(jobs)


@main.command("report")
@JOBS
def build_report(jobs):
    """Train what is missing, run the notebooks that need it, and build the PDF and the HTML."""
    _refresh_figures(jobs)
    if any(map(document.why_stale, ("pdf", "html"))):
        click.echo(f"Wrote {' and '.join(map(_shown, document.build()))}")
        _say_whether_within_the_study()
    else:
        click.echo(f"Nothing has changed: {_shown(document.path())} is up to date.")


def _say_whether_within_the_study():
    from genmodels import drift

    comparison = drift.beside_the_study()
    if data.smoke_budget() or not comparison:
        return
    if why := study.why_stale():
        click.echo(f"study.json is stale: {why}; `make study` renews it.")
    far = drift.outside(comparison)
    inside = len(comparison) - len(far)
    click.echo(f"{inside} of {len(comparison)} scores lie within 3 standard deviations of the study's mean over seeds.")
    for run, name, value, mean, deviation in far:
        click.echo(f"  {run} {name}: {value:.4g}, in the study {mean:.4g} (standard deviation {deviation:.2g})")


@main.command("notebooks")
@JOBS
def run_notebooks(jobs):
    """Run all four notebooks and store in them the outputs that nbval compares."""
    if data.smoke_budget():
        raise report.ReportError("expected a full run to store outputs from, got GENMODELS_BUDGET=smoke")
    _run(report.NOTEBOOKS, jobs)
    for name in report.NOTEBOOKS:
        execution.store_checked_outputs(name)


@main.command("study")
@JOBS
def make_study(jobs):
    """Train every run with several seeds, and runs with one part changed; score all. Long; it can be resumed."""
    if data.smoke_budget():
        raise report.ReportError("expected a full run to write the study from, got GENMODELS_BUDGET=smoke")
    study.make(jobs)
    click.echo(f"Wrote {_shown(report.study_path())}")


def _refresh_figures(jobs):
    """Brings models, figures and numbers up to date."""
    report.metrics(), report.study()  # what cannot be read is said before the work, not after it
    if stale := [name for name in report.NOTEBOOKS if notebooks.stale(name)]:
        _run(stale, jobs)


def _run(names, jobs):
    """Runs notebooks once the runs that they ask for are trained, the longest first."""
    wanted = {run for name in names for made in notebooks.results(name).values() for run in made.runs}
    workers.train_all([name for name in experiments.RUNS if name in wanted], jobs=jobs)
    execution.run(names, jobs)


def _shown(path):
    return os.path.relpath(path)


@main.group()
def sample():
    """Draw images with a trained model, as one PNG."""


def _sample_options(command):
    for option in (
        click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="PNG file to write."),
        click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Of the noise."),
        click.option("-n", "--count", type=click.IntRange(1, 10_000), default=16, help="Images."),
    ):
        command = option(command)
    return command


LABEL = click.option("--label", type=click.IntRange(0, 9), required=True, help="The digit, 0-9.")


@sample.command("gan")
@LABEL
@_sample_options
def sample_gan(label, count, seed, output):
    """Digits with a given label from the conditional GAN."""
    _draw("gan", output, lambda model: model.generate([label] * count, seed))


@sample.command("vae")
@click.option("--kl", type=click.Choice(["mc", "kl"]), default="kl", help="Loss it was trained with.")
@_sample_options
def sample_vae(kl, count, seed, output):
    """Digits from the prior of the two-dimensional VAE: Monte-Carlo (mc) or closed-form (kl) loss."""
    _draw(f"vae_{kl}", output, lambda model: model.sample(count, seed))


@sample.command("cvae")
@LABEL
@click.option("--position", type=click.IntRange(0, 2), nargs=2, required=True, help="pos_x and pos_y, 0-2 each.")
@click.option("--latent-dim", type=click.Choice(["2", "25", "100"]), default="25")
@_sample_options
def sample_cvae(label, position, latent_dim, count, seed, output):
    """Canvases with a given label and position from the conditional VAE."""
    _draw(f"cvae_{latent_dim}", output, lambda model: model.sample([[label, *position]] * count, seed))


def _draw(run, output, draw):
    """Saves what `draw` makes with the model of a run as one PNG, the images edge to edge."""
    import numpy as np

    from genmodels.figures import mark_as_draft, plot_mosaic

    images = draw(experiments.trained(run).model)
    width = int(np.ceil(len(images) ** 0.5))
    rows = -(-len(images) // width)
    padded = np.concatenate([images, np.zeros((rows * width - len(images), *images.shape[1:]))])
    figure = plot_mosaic(padded.reshape(rows, width, *images.shape[1:]))
    if data.smoke_budget():
        mark_as_draft(figure)
    with cache.replacing(output) as temporary:
        figure.savefig(temporary, format="png", dpi=200)
    click.echo(f"Wrote {output}")
