"""The command line: `genmodels --help`. Only commands that need a model import TensorFlow."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from genmodels import __version__, cli_images, config, datasets
from genmodels.cli_images import device_option
from genmodels.experiments import RUNS
from genmodels.explorer import page
from genmodels.pipeline import (
    document,
    files,
    fingerprint,
    forecast,
    notebooks,
    parallel,
    processes,
    records,
    results,
    store,
    study,
    sweep,
)
from genmodels.pipeline.records import ReportError

# For the worker processes, one for each core: more NumPy threads than cores would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
MANY = 8  # figures, and numbers, that `diff` shows of each notebook
DIFFERENCES = 20  # that `verify` shows
TO_SET = "Values to try, such as latent_dim=2,8 or hidden_units=[256],[512,256]. Several --set: all combinations."


DEVICE = device_option("cpu")  # for the report, whose results repeat bit for bit


def many_at_once(command: Callable) -> Callable:
    """Add --jobs, and --scheduler, which acts before the command. Say after Ctrl-C that the same command goes on."""

    @wraps(command)
    def stoppable(*args: Any, **kwargs: Any) -> Any:
        with cli_images.goes_on():
            return command(*args, **kwargs)

    jobs = click.option(
        "--jobs",
        type=click.IntRange(1),
        default=processes.usual_jobs,
        show_default="as cores and memory allow",
        help="Tasks at once on this machine; each takes one core and up to 1.5 GB.",
    )
    scheduler = click.option(
        "--scheduler",
        metavar="ADDRESS",
        envvar="GENMODELS_SCHEDULER",
        show_envvar=True,
        expose_value=False,
        callback=lambda context, parameter, chosen: chosen and os.environ.update(GENMODELS_SCHEDULER=chosen),
        help="Train on the workers of this dask scheduler, see docs/cluster.md.",
    )
    return jobs(scheduler(stoppable))


# The sections of `--help`.
SECTIONS = {
    "Models of the report": ("runs", "train", "sample", "sweep"),
    "Your own images": ("fit", "evaluate", "reconstruct", "grid"),
    "Make the report, in a checkout": ("report", "explore", "figures", "notebooks", "strip", "prune"),
    "Trust the report, in a checkout": ("status", "diff", "verify", "study", "release-check"),
}


class PlainErrors(click.Group):
    """A group whose errors take one line if they say what to mend. Other errors keep their trace."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what people do with them."""
        longest = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            texts = [self.commands[name].get_short_help_str(formatter.width - longest - 6) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), text) for name, text in zip(names, texts)])

    def invoke(self, context: click.Context) -> Any:
        """Run a command; stop it and its workers on SIGTERM."""
        before = signal.signal(signal.SIGTERM, _stop)
        try:
            with files.system_errors("genmodels"):
                return super().invoke(context)
        except (*notebooks.PLAIN, BrokenProcessPool) as error:
            plain = click.ClickException(files.KILLED if isinstance(error, BrokenProcessPool) else str(error))
            plain.exit_code = 2
            raise plain from error
        finally:
            signal.signal(signal.SIGTERM, before)


class InCheckout(click.Command):
    """A command that needs the notebooks and the report of a checkout."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; refuse it for an installed package."""
        records.root()
        return super().invoke(context)


def _stop(*_):
    """Stop the workers too. SIGTERM reaches only this process, but Ctrl-C in a terminal reaches all."""
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    # TensorFlow may hang when memory runs out. A worker that hangs ignores SIGTERM.
    late = threading.Timer(10, lambda: [child.kill() for child in children])
    late.daemon = True
    late.start()
    raise KeyboardInterrupt


@click.group(cls=PlainErrors, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="genmodels")
def main() -> None:
    """Classic generative models on MNIST, and the report written from them.

    GENMODELS_BUDGET=smoke runs everything on a slice of the data in seconds, into the folder draft/.
    """
    try:
        config.quick_mode()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    here, running = Path("src", "genmodels").resolve(), fingerprint.PACKAGE.resolve()
    if here.is_dir() and here != running:  # after a checkout was copied or renamed with its environment
        raise click.UsageError(
            f"expected to run {here}, got {running}; set PYTHONPATH=src, as make does, or make clean"
        )


@main.command("runs")
def list_runs() -> None:
    """List the runs of the report and their state."""
    longest = max(map(len, RUNS))
    for name, run in RUNS.items():
        state = "trained" if store.is_trained(name) else "to train"
        click.echo(f"{name:{longest}} {state:9} {run.settings()['epochs']:3} epochs  seed {run.seed}  {run.summary}")


@main.command(cls=InCheckout)
def status() -> None:
    """Show for each run, notebook, figure, number and document whether it is fresh, and if not, why."""
    rows = _rows()
    for kind, name, why in rows:
        click.echo(f"{kind:9} {name:36} {'stale: ' + why if why else 'fresh'}")
    for name in (leftover := notebooks.leftovers()):
        click.echo(f"{_kind(name):9} {name:36} left over: no notebook makes it")
    if leftover:
        click.echo("`genmodels prune` removes what is left over.")


def _rows():
    """Return (kind, name, reason) of everything in the report. The reason is empty if it is fresh."""
    rows, provenance = [("run", name, store.why_stale(name)) for name in RUNS], records.provenance()
    for name in notebooks.names():
        why = notebooks.why_stale(name)
        made = provenance[name].results if name in provenance else {}
        rows += [("notebook", f"{name}.ipynb", why), *((_kind(result), result, why) for result in made)]
    stale = study.stale()
    rows += [("study", entry, stale.get(entry, "")) for entry in study.entries()]
    rows += [
        ("study", entry, "no run or ablation has this name; `make study` removes it") for entry in study.left_over()
    ]
    rows += [("benchmark", name, why) for name, why in document.benchmark_stale(all_results=True).items()]
    rows += [("document", document.path(kind).name, document.why_stale(kind)) for kind in ("pdf", "html")]
    explorer = page.path()  # nothing needs it, so that a missing one is not stale
    return rows + ([("page", explorer.name, page.why_stale())] if explorer.is_file() else [])


def _kind(result):
    return "figure" if result.endswith(".png") else "numbers"


@main.command(cls=InCheckout)
def prune() -> None:
    """Remove the figures and numbers that no notebook makes."""
    leftover = notebooks.leftovers()
    notebooks.remove(leftover)
    click.echo("\n".join(f"Removed {name}" for name in leftover) or "Nothing is left over.")


@main.command(cls=InCheckout)
@click.argument("names", metavar="[NOTEBOOK]...", nargs=-1)
def strip(names: tuple[str, ...]) -> None:
    """Bring the named notebooks, or all, back to their stored form, without running them.

    Only the outputs that nbval compares stay.
    """
    for name in [Path(name).stem for name in names] or notebooks.names():
        if notebooks.strip(name):
            click.echo(f"Stripped {_shown(notebooks.path(name))}")


@main.command(cls=InCheckout)
@click.argument("pdf", required=False, type=click.Path(dir_okay=False))
@click.option("--all", "everything", is_flag=True, help="Name every difference, not only the first.")
def verify(pdf: str | None, everything: bool) -> None:
    """Check that a PDF, by default the report's, holds the figures, numbers and claims of this checkout.

    Ends with status 1 if it does not.
    """
    from genmodels.pipeline import verify as checks

    pdf = pdf or document.path()
    if not os.path.isfile(pdf):
        raise ReportError(f"{_shown(pdf)}: expected a PDF to verify, found nothing; `make report` writes it")
    found = list(checks.differences(pdf))
    for text in found if everything else found[:DIFFERENCES]:
        click.echo(text)
    if len(found) > DIFFERENCES and not everything:
        click.echo(f"and {len(found) - DIFFERENCES} more, see --all")
    for text in what_is_stale():
        click.echo(text)
    click.echo(f"{_shown(pdf)}: {f'{len(found)} differences from' if found else 'holds what is in'} this checkout")
    raise SystemExit(bool(found))


@main.command(cls=InCheckout)
@click.option("--against", default="HEAD", help="Committed revision to compare with.")
@click.option("--all", "everything", is_flag=True, help="Name every number, not only the first of each notebook.")
def diff(against: str, everything: bool) -> None:
    """Summarise the changes since a commit: settings and code, then the figures and numbers that followed.

    Ends with status 1 if a figure or number changed although none of its inputs did.
    """
    from genmodels.pipeline import verify as checks

    if config.quick_mode():
        raise ReportError("expected a full run to compare, got GENMODELS_BUDGET=smoke")
    changes = [each for each in checks.compare(against) if each.inputs or each.figures or each.numbers]
    for change in changes:
        click.echo(f"{change.maker}\n  changed:{'' if change.inputs else ' nothing that it depends on'}")
        for text in change.inputs:
            click.echo(f"    {text}")
        for kind in ("figures", "numbers"):
            rows = sorted(
                getattr(change, kind).items(),
                key=lambda row: (row[0] not in change.unexplained, ".scores." not in row[0]),
            )
            shown = rows if everything else rows[: max(MANY, sum(name in change.unexplained for name, _ in rows))]
            click.echo(f"  {kind}:{'' if rows else ' none'}")
            for name, text in shown:
                click.echo(f"  {'!' if name in change.unexplained else ' '} {name:40} {text}")
            if len(rows) > len(shown):
                click.echo(f"    and {len(rows) - len(shown)} more, see --all")
    bad = sum(len(change.unexplained) for change in changes)
    if bad:
        click.echo(f"{bad} figures or numbers, marked with !, changed though nothing that they depend on did.")
    else:
        click.echo("Every change follows from what it depends on." if changes else f"Nothing changed since {against}.")
    raise SystemExit(bool(bad))


@main.command()
@click.argument("names", metavar="[RUN]...", nargs=-1, type=click.Choice(list(RUNS)))
@many_at_once
@DEVICE
def train(names: tuple[str, ...], jobs: int) -> None:
    """Train the named runs, or all, unless the cache has them."""
    parallel.train_all(names or RUNS, jobs=jobs)


@main.command(cls=InCheckout)
@many_at_once
@DEVICE
def figures(jobs: int) -> None:
    """Train what is missing and run the notebooks whose figures are out of date."""
    _refresh_figures(jobs)


@main.command("report", cls=InCheckout)
@many_at_once
@DEVICE
def build_report(jobs: int) -> None:
    """Train what is missing, run the notebooks that need it, and build the PDF and the HTML."""
    _refresh_figures(jobs, [document.path("pdf"), document.path("html")])
    if document.is_stale():
        written = " and ".join(map(_shown, document.build()))
        click.echo(f"Wrote {written}. Figures and numbers are in {_shown(records.output())}{os.sep}")
        _compare()
    else:
        click.echo(f"Nothing has changed: {_shown(document.path())} is up to date.")


def _compare():
    """Say what is stale, which scores lie outside the study, and how to see what changed."""
    from genmodels.pipeline import verify as checks

    for text in what_is_stale():
        click.echo(text)
    if config.quick_mode():  # a draft is compared with nothing
        return
    if rows := checks.beside_the_study():
        inside = sum(abs(value - mean) <= margin for *_, value, mean, margin in rows)
        click.echo(
            f"{inside} of {len(rows)} scores lie in the 95 % interval that the study predicts for a further training."
        )
        for run, name, value, mean, margin in checks.outside():
            click.echo(f"  too far: {run} {name}: {value:.4g}, expected {mean:.4g} ± {margin:.2g}")
    click.echo(f"{_shown(sys.executable)} -m genmodels diff    # what changed since the last commit")


def what_is_stale() -> list[str]:
    """Describe stale entries of the study and a stale benchmark, which take hours to renew.

    Returns:
        One line for each of the two that is stale.
    """
    entries, measured, said = study.stale(), document.benchmark_stale(), []
    if entries:
        some, several = f"{len(entries)} of {len(study.entries())} entries", len(set(entries.values())) > 1
        why = "several inputs changed" if several else next(iter(entries.values()))
        said.append(f"the study is stale in {some}: {why}; `make study` renews it.")
    if measured:
        said.append(f"the benchmark is stale: {next(iter(measured.values()))}; `make bench` renews it.")
    return said


@main.command("release-check", cls=InCheckout)
def release_check() -> None:
    """Check that everything is fresh: runs, notebooks, study, benchmark, documents.

    Ends with status 1 if something is stale.
    """
    stale = [row for row in _rows() if row[2]]
    for kind, name, why in stale:
        click.echo(f"{kind:9} {name:36} stale: {why}")
    click.echo(f"{len(stale)} things are stale." if stale else "Everything is fresh.")
    raise SystemExit(bool(stale))


class InCheckoutWithoutModel(InCheckout):
    """A command that needs a checkout only if it is given no model."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; without a model refuse it for an installed package."""
        return (click.Command if context.params["model"] else InCheckout).invoke(self, context)


@main.command(cls=InCheckoutWithoutModel)
@click.argument("model", required=False, type=click.Path(dir_okay=False))
@partial(cli_images.data_options, required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    help="HTML file to write.  [default: report/explorer.html, or the model's name with .html]",
)
@cli_images.INK
@many_at_once
@DEVICE
def explore(
    model: str | None, data: datasets.Dataset | None, output: str | None, dark_on_light: bool, jobs: int
) -> None:
    """Write the latent explorer: one HTML page, opened from disk, in which trained models draw.

    Without MODEL it shows the runs ae, vae_kl, cvae_25_tuned and gan. Missing ones are trained first.

    With MODEL, a .keras file of `genmodels fit`, and --data it shows this AE or VAE with the test images of the data.
    A code of more than two numbers gets a slider for each, and the plane in which the codes differ most.
    """
    if (model is None) != (data is None):
        raise click.UsageError("expected MODEL and --data, or neither, got only one of them")
    target = Path(output) if output else Path(model).with_suffix(".html") if model else page.path()
    if model:
        with cli_images.one_line():
            size = page.write_own(target, Path(model), data, ink=dark_on_light)
    else:
        _require_mnist()
        parallel.train_all(page.RUNS, jobs=jobs)
        size = page.write(target)
    click.echo(f"Wrote {_shown(target)}, {size / 2**20:.1f} MB; open it in a browser.")


@main.command("notebooks", cls=InCheckout)
@many_at_once
@DEVICE
def run_notebooks(jobs: int) -> None:
    """Run all notebooks, and store in them the outputs that nbval compares."""
    if config.quick_mode():
        raise ReportError("expected a full run to store outputs from, got GENMODELS_BUDGET=smoke")
    notebooks.run(notebooks.names(), jobs)
    for name in notebooks.names():
        notebooks.store_checked_outputs(name)


@main.command("study", cls=InCheckout)
@click.argument("entries", metavar="[ENTRY]...", nargs=-1, type=click.Choice(list(study.entries())))
@many_at_once
@DEVICE
def make_study(entries: tuple[str, ...], jobs: int) -> None:
    """Train and score the named runs and ablations, or all, with several seeds. Fresh scores stay.

    All take hours. You may stop it: finished scores stand in data/report/, and the next call goes on from there.
    """
    _require_mnist()
    study.make(jobs, entries)
    click.echo(f"Wrote {_shown(study.path())}")


@main.command("sweep", epilog=f"RUN is one of {', '.join(sweep.BASES)}.")
@click.argument("run", metavar="RUN", type=click.Choice(list(sweep.BASES)))
@click.option("--set", "options", multiple=True, required=True, metavar="OPTION=VALUE,...", help=TO_SET)
@click.option("--seeds", type=click.IntRange(1), default=3, help="Trainings of each combination.")
@click.option("--score", help="Score to show.  [default: the loss or distance that the report gives]")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    callback=cli_images.ending(".json"),  # or the figure might take its place
    help="JSON file; the figure gets its name with .png.  [default: sweep_RUN.json]",
)
@click.option("--dry-run", is_flag=True, help="Check the options, say what would be trained, and stop.")
@many_at_once
@DEVICE
def make_sweep(
    run: str, options: tuple[str, ...], seeds: int, score: str | None, output: str | None, dry_run: bool, jobs: int
) -> None:
    """Train a run with every combination of the given values, and score it on the validation set.

    Writes a JSON file and a figure beside it, and prints a table. You may stop it: the same command goes on.
    """
    base = RUNS[sweep.BASES[run]]
    path, score = Path(output or f"sweep_{run}.json"), score or sweep.MAIN.get(base.builder, sweep.SHOWN)
    with cli_images.one_line():
        _require_mnist()
        plan = sweep.Sweep(base, sweep.parse(options), seeds)
        sweep.check(plan, score)
        click.echo(sweep.estimate(plan, parallel.at_once(jobs)))
        if dry_run:
            return
        rows = sweep.make(plan, path, jobs)
        click.echo("\n".join(sweep.table(rows, score)))
        sweep.draw(rows, score, path.with_suffix(".png"))
    click.echo(f"Wrote {_shown(path)} and {_shown(path.with_suffix('.png'))}")


def _refresh_figures(jobs, documents=()):
    """Bring models, figures and numbers up to date; say before what that takes, and which documents follow."""
    # Unreadable files raise their error before the work, not after it.
    _require_mnist(), results.metrics(), study.read()
    if stale := [name for name in notebooks.names() if notebooks.why_stale(name)]:
        for text in forecast.lines(stale, jobs, map(_shown, documents)):
            click.echo(text)
        notebooks.run(stale, jobs)


def _require_mnist():
    """Refuse another archive in the place of MNIST."""
    if datasets.found() != datasets.SHA256:
        datasets.load_mnist()


def _shown(path):
    return os.path.relpath(path)


for command in (cli_images.fit, cli_images.evaluate, cli_images.sample, cli_images.grid, cli_images.reconstruct):
    main.add_command(command)
