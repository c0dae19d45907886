import pytest

from conftest import replace_in
from genmodels import config, experiments
from genmodels.evaluation import EVALUATE
from genmodels.pipeline import files, records, store, study


def test_seeds_of_a_run_follow_its_own():
    assert [run.seed for run in study.seeded(experiments.RUNS["reference_2"])] == [101, 102, 103]


def test_summary_gives_mean_and_deviation_over_seeds():
    found = study.summary([{"a": 1.0, "b": 0.9995}, {"a": 2.0, "b": 0.9995}, {"a": 6.0, "b": 0.9995}])
    assert found["a"]["mean"] == 3 and found["a"]["deviation"] == pytest.approx(7**0.5)
    assert found["b"] == {"mean": 0.9995, "deviation": 0, "values": [0.9995] * 3}


def test_summary_of_a_training_that_diverged_has_no_mean():
    assert study.summary([{"a": 1.0}, None])["a"] == {"mean": None, "deviation": None, "values": [1.0, None]}


def test_a_run_of_which_every_training_diverged_has_no_summary():
    with pytest.raises(store.TrainingError, match="expected scores of at least one seed, but every training diverged"):
        study.summary([None, None])


def test_scores_are_computed_once(smoke, monkeypatch):
    first = study.score("reference", "validation")
    monkeypatch.setattr(study, "compute", lambda *_: pytest.fail("computed again"))
    assert study.score("reference", "validation") == first
    assert 0 <= first["accuracy"] <= 1 and first["seconds"] > 0


def test_every_kind_of_run_can_be_scored():
    assert {run.builder for run in experiments.RUNS.values()} == set(EVALUATE)


@pytest.fixture
def edit_meanwhile(package, monkeypatch):
    """Call it with a file of the package and texts, to replace one while a run is being scored."""

    def edit(file, old, new):
        def compute(*_):
            replace_in(package / file, old, new)
            return {"accuracy": 0.5}

        monkeypatch.setattr(study, "compute", compute)

    return edit


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("metrics.py", "values.mean()", "values.sum()"),
        ("models/classifier.py", "Dropout(0.5 if", "Dropout(0.6 if"),
        ("pipeline/study.py", "done.seconds", "2 * done.seconds"),
    ],
    ids=["a measure", "the model", "the study"],
)
def test_scores_of_code_that_was_edited_meanwhile_are_not_saved(edit_meanwhile, file, old, new):
    edit_meanwhile(file, old, new)
    with pytest.raises(store.TrainingError, match=rf"^{file} changed while reference was scored; start again$"):
        study.score("reference", "test")
    assert not list((config.cache_folder() / "scores").glob("*"))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("metrics.py", "def mean_and_error", "# the mean\ndef mean_and_error"),
        ("figures.py", "LIMIT = 4", "LIMIT = 5"),
        ("cli.py", "import", "import sys\nimport"),
    ],
    ids=["a comment", "a figure", "the command line"],
)
def test_scores_are_saved_where_something_else_was_edited_meanwhile(edit_meanwhile, file, old, new):
    edit_meanwhile(file, old, new)
    assert study.score("reference", "test") == {"accuracy": 0.5}
    assert len(list((config.cache_folder() / "scores").iterdir())) == 1


def test_the_committed_study_covers_every_run_with_every_seed():
    found = files.read_json(study.path())
    assert set(found["test"]) == set(experiments.RUNS)
    assert all(len(spread["values"]) == len(study.SEEDS) for run in found["test"].values() for spread in run.values())
    ablations = {ablation.name for ablation in experiments.ABLATIONS}
    assert set(found["ablations"]) == ablations <= set(found["validation"])


SCORES = {"ae": {"mse": {"mean": 0.5}}, "gan": {"label": {"mean": 1.0}}}


@pytest.fixture
def made(checkout, monkeypatch):
    """The study, made from scores that nobody computed."""
    monkeypatch.setattr(study, "train_and_score", lambda jobs: {"seeds": [1], "test": SCORES})
    study.make(jobs=1)


def test_the_study_is_written_with_what_it_was_made_from(checkout, monkeypatch):
    monkeypatch.setattr(study, "train_and_score", lambda jobs: {"seeds": [1], "test": SCORES})
    before = records.provenance()
    study.make(jobs=1)
    noted = records.provenance()
    assert set(noted["study"].outputs) == {"seeds", "test.ae", "test.gan"}
    assert "processor" in noted["study"].origin["machine"]
    assert {"run ae", "run gan_without_classifier", "evaluation.py", "metrics.py"} <= set(noted["study"].inputs)
    assert {**noted, "study": None} == {**before, "study": None}
    assert study.read() == {"seeds": [1], "test": SCORES}


def test_the_study_is_fresh_once_it_is_made(made):
    assert study.why_stale() == "" and study.changed_by_hand() == []


def test_a_study_that_somebody_changed_is_stale(made):
    files.write_json(study.path(), {"seeds": [1], "test": {**SCORES, "ae": {"mse": {"mean": 0.4}}}})
    assert study.why_stale() == "test.ae changed after `make study` wrote it"
    assert study.changed_by_hand() == ["test.ae"]


def test_a_study_of_other_code_is_stale(made, package):
    replace_in(package / "metrics.py", "values.mean()", "values.sum()")
    assert study.why_stale() == "metrics.py changed since the study was made"


def test_the_quick_mode_takes_the_study_as_it_is(made, package, smoke):
    replace_in(package / "metrics.py", "values.mean()", "values.sum()")
    assert study.why_stale() == ""


def small_study(monkeypatch):
    """Let the study have two runs and one ablation, trained and scored here and now, with made-up scores."""

    def train_all(runs, **_):
        return [run for run in runs if run.name == "ae_cosine" and run.seed == 2]

    runs = {name: experiments.RUNS[name] for name in ("ae", "reference", "reference_2")}
    monkeypatch.setattr(study, "RUNS", runs)
    monkeypatch.setattr(study, "ABLATIONS", [each for each in experiments.ABLATIONS if each.name == "ae_cosine"])
    monkeypatch.setattr(study.parallel, "train_all", train_all)
    monkeypatch.setattr(study.parallel, "run_all", lambda work, tasks, **_: ((task, work(task)) for task in tasks))
    monkeypatch.setattr(study, "compute", lambda run, split: {"mse": float(run.seed)})
    monkeypatch.setattr(study, "real_baseline", lambda split: {"frechet": 1.0})


def test_the_study_sums_up_the_runs_on_the_test_set_and_ablations_on_the_validation_set(monkeypatch, capsys):
    small_study(monkeypatch)
    found = study.train_and_score(1)
    assert set(found["test"]) == {"ae", "reference", "reference_2"} and set(found["validation"]) == {"ae", "ae_cosine"}
    assert found["test"]["reference_2"]["mse"]["values"] == [101.0, 102.0, 103.0]
    assert found["real_baseline"] == {"test": {"frechet": 1.0}}
    assert "scored 9/9: reference_2, seed 103, test" in capsys.readouterr().err


def test_an_ablation_that_diverged_is_counted_and_has_no_mean(monkeypatch):
    small_study(monkeypatch)
    found = study.train_and_score(1)
    assert found["validation"]["ae_cosine"]["mse"] == {"mean": None, "deviation": None, "values": [1.0, None, 3.0]}
    assert found["ablations"]["ae_cosine"]["of"] == "ae" and found["ablations"]["ae_cosine"]["diverged"] == 1
