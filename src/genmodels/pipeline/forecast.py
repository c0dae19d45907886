"""Say what `make report` is about to do, and about how long it takes, as far as earlier times are on record."""

from collections.abc import Iterable

from genmodels import config
from genmodels.pipeline import notebooks, store, study


def lines(wanted: Iterable[str], jobs: int, documents: Iterable[str] = ()) -> list[str]:
    """Describe the work that notebooks need.

    Args:
        wanted: Names of the notebooks that will run.
        jobs: Number of trainings, or notebooks, at the same time.
        documents: Files that will be written from their results.

    Returns:
        One line for the runs to train, one for the notebooks and one for the documents, if there are any.
    """
    wanted, documents = list(wanted), list(documents)
    runs = [run for run in notebooks.runs_of(wanted) if not store.is_trained(run)]
    found = {
        "train": (runs, _usual([training(run) for run in runs], jobs)),
        "run": (wanted, _usual([notebooks.usual_seconds(name) for name in wanted], jobs)),
        "write": (documents, ""),
    }
    return [f"To {verb}: {', '.join(names)}{usual}" for verb, (names, usual) in found.items() if names]


def _usual(seconds, jobs):
    """Return how long several tasks take side by side, in words; empty if one of them was never timed."""
    if not seconds or None in seconds:
        return ""
    return f" ({about(max(sum(seconds) / jobs, max(seconds)))}, as earlier ones took)"


def about(seconds: float) -> str:
    """Return a duration in words."""
    if seconds >= 90 * 60:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def training(run: str) -> float | None:
    """Return how long a run trains, as it did here or else in the study; None if nobody has measured it."""
    if seconds := store.usual_seconds(run):
        return seconds
    measured = {} if config.quick_mode() or not config.checkout() else study.read().get("test", {}).get(run, {})
    return measured.get("seconds", {}).get("mean")
