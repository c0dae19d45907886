import pytest

from genmodels import cache, data, experiments, report, sources, study


def test_seeds_of_a_run_follow_its_own():
    assert [run.seed for run in study.seeded(experiments.RUNS["judge_2"])] == [101, 102, 103]


def test_summary_gives_mean_and_deviation_over_seeds():
    found = study.summary([{"a": 1.0, "b": 0.9995}, {"a": 2.0, "b": 0.9995}, {"a": 6.0, "b": 0.9995}])
    assert found["a"]["mean"] == 3 and found["a"]["deviation"] == pytest.approx(7**0.5)
    assert found["b"] == {"mean": 0.9995, "deviation": 0, "values": [0.9995] * 3}


def test_summary_of_a_training_that_diverged_has_no_mean():
    assert study.summary([{"a": 1.0}, None])["a"] == {
        "mean": None,
        "deviation": None,
        "values": [1.0, None],
    }


@pytest.mark.parametrize("change", study.CHANGES, ids=lambda change: change.name)
def test_a_change_changes_the_run_and_names_something_else(change):
    run = change.run()
    assert experiments.key(run) != experiments.key(change.of)
    assert run.name not in experiments.RUNS and run.build == experiments.RUNS[change.of].build


def test_names_of_changes_are_unique():
    assert len({change.name for change in study.CHANGES}) == len(study.CHANGES)


def test_scores_are_computed_once(smoke, monkeypatch):
    first = study.score("judge", "validation")
    monkeypatch.setattr(study, "compute", lambda *_: pytest.fail("computed again"))
    assert study.score("judge", "validation") == first
    assert 0 <= first["accuracy"] <= 1 and first["seconds"] > 0


def test_scores_of_code_that_was_edited_meanwhile_are_not_kept(monkeypatch):
    monkeypatch.setattr(study, "compute", lambda *_: {"accuracy": 0.5})
    monkeypatch.setattr(sources, "edited_modules", lambda: ["metrics.py"])
    with pytest.raises(experiments.TrainingError, match=r"metrics\.py changed while judge was scored; start again"):
        study.score("judge", "test")
    assert not list((cache.directory() / "scores").glob("*"))


def test_the_committed_study_covers_every_run_with_every_seed():
    found = cache.read_json(report.study_path())
    assert set(found["test"]) == set(experiments.RUNS)
    assert all(len(spread["values"]) == len(study.SEEDS) for run in found["test"].values() for spread in run.values())
    assert set(found["changes"]) == {change.name for change in study.CHANGES} <= set(found["validation"])


def test_the_study_is_written_with_what_it_was_made_from(checkout, monkeypatch):
    scores = {"ae": {"mse": {"mean": 0.5}}, "gan": {"label": {"mean": 1.0}}}
    monkeypatch.setattr(study, "train_and_score", lambda jobs: {"seeds": [1], "test": scores})
    before = cache.read_json(data.checkout() / "data" / "report" / "provenance.json")
    study.make(jobs=1)
    noted = cache.read_json(report.output() / "provenance.json")
    assert set(noted["study"]["sums"]) == {"seeds", "test.ae", "test.gan"} and "processor" in noted["study"]["machine"]
    assert {"run ae", "run gan_without_classifier", "scores.py", "metrics.py"} <= set(noted["study"]["parts"])
    assert {**noted, "study": None} == {**before, "study": None}
    assert study.why_stale() == ""
    cache.write_json(report.study_path(), {"seeds": [1], "test": {**scores, "ae": {"mse": {"mean": 0.4}}}})
    assert study.why_stale() == "test.ae changed after `make study` wrote it"
