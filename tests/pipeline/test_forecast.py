import pytest

from genmodels import config
from genmodels.experiments import RUNS
from genmodels.pipeline import files, forecast, notebooks, records, store, study

TWO = ["zadanie_1_autoenkoder", "zadanie_2_vae"]


@pytest.fixture
def to_train(checkout, monkeypatch):
    """Two notebooks that need two runs, neither of them trained or timed."""
    monkeypatch.setattr(notebooks, "runs_of", lambda wanted: ["ae", "vae_kl"])
    monkeypatch.setattr(study, "read", dict)


def noted(seconds):
    """Results of a notebook as if it had just been run in so many seconds."""
    for name in TWO:
        notebooks.stamp(name, records.provenance()[name], seconds)


def test_the_work_is_named_without_a_time_that_nobody_measured(to_train):
    assert forecast.lines(TWO, 2, ["report/a.pdf", "report/a.html"]) == [
        "To train: ae, vae_kl",
        "To run: zadanie_1_autoenkoder, zadanie_2_vae",
        "To write: report/a.pdf, report/a.html",
    ]


def test_times_are_those_of_earlier_trainings_and_notebooks_side_by_side(to_train, monkeypatch):
    monkeypatch.setattr(store, "usual_seconds", {"ae": 100.0, "vae_kl": 300.0}.get)
    noted(20)
    assert forecast.lines(TWO, 1) == [
        "To train: ae, vae_kl (about 7 min, as earlier ones took)",
        "To run: zadanie_1_autoenkoder, zadanie_2_vae (about 40 s, as earlier ones took)",
    ]
    assert "(about 5 min," in forecast.lines(TWO, 2)[0]  # the longer one is not divided


def test_one_run_without_a_time_leaves_the_estimate_out(to_train, monkeypatch):
    monkeypatch.setattr(store, "usual_seconds", {"ae": 100.0}.get)
    assert forecast.lines(TWO, 2)[0] == "To train: ae, vae_kl"


def test_a_fresh_clone_has_the_times_of_the_study_and_the_quick_mode_has_not(to_train, monkeypatch):
    timed = {"test": {name: {"seconds": {"mean": 120.0}} for name in RUNS}}
    monkeypatch.setattr(study, "read", lambda: timed)
    assert forecast.lines(TWO, 2)[0] == "To train: ae, vae_kl (about 2 min, as earlier ones took)"
    monkeypatch.setenv("GENMODELS_BUDGET", "smoke")
    assert forecast.lines(TWO, 2)[0] == "To train: ae, vae_kl"


def test_what_is_trained_is_not_named(to_train, monkeypatch):
    monkeypatch.setattr(store, "is_trained", lambda run: run == "ae")
    assert forecast.lines(TWO, 2)[0] == "To train: vae_kl"
    monkeypatch.setattr(store, "is_trained", lambda run: True)
    assert forecast.lines(TWO, 2)[0].startswith("To run: ")


def kept(name, *, seconds, **other):
    """A folder of the cache as an earlier training has left it."""
    inputs = {**store.identity(name), **other}
    home = config.cache_folder() / "runs" / f"{name}-{files.short(inputs)}"
    home.mkdir(parents=True)
    files.write_json(home / "training.json", {"seconds": seconds})
    outputs = {"training.json": files.checksum(home / "training.json")}
    files.write_json(home / "record.json", {"run": records.Record(inputs, outputs).as_json()})
    return home


def test_a_run_takes_as_long_for_each_epoch_as_the_last_time(monkeypatch):
    assert store.usual_seconds("ae") is None
    epochs = RUNS["ae"].settings()["epochs"]
    home = kept("ae", seconds=200.0, **{"setting epochs": 2 * epochs, "numpy": "1.0"})
    kept("ae", seconds=1.0, budget="smoke")
    assert store.usual_seconds("ae") == 100.0
    (home / "training.json").write_text("{")
    assert store.usual_seconds("ae") is None
