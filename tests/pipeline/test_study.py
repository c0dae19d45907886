import pytest

from conftest import replace_in
from genmodels import experiments
from genmodels.pipeline import files, parallel, records, results, store, study


def test_seeds_of_a_run_follow_its_own():
    assert [run.seed for run in study.seeded(experiments.RUNS["reference_2"])] == [101, 102, 103]


def test_summary_gives_mean_and_deviation_over_seeds():
    found = study.summary([{"a": 1.0, "b": 0.9995}, {"a": 2.0, "b": 0.9995}, {"a": 6.0, "b": 0.9995}])
    assert found["a"]["mean"] == 3 and found["a"]["deviation"] == pytest.approx(7**0.5)
    assert found["b"] == {"mean": 0.9995, "deviation": 0, "values": [0.9995] * 3}


def test_summary_of_a_training_that_diverged_has_no_mean():
    assert study.summary([{"a": 1.0}, None])["a"] == {"mean": None, "deviation": None, "values": [1.0, None]}


def test_a_difference_is_paired_by_seed_with_its_interval():
    """1, 2 and 6 have the mean 3 and the standard error 7 ** 0.5 / 3 ** 0.5; 4.303 is Student's t of tables."""
    found = study.difference([1.0, 12.0, 26.0], [0.0, 10.0, 20.0])
    assert found == {"mean": 3.0, "error": pytest.approx(4.303 * (7 / 3) ** 0.5, rel=1e-3)}
    assert study.difference([1.0, 2.0], [1.0]) is None and study.difference([1.0, None], [1.0, 2.0]) is None


def test_differences_of_ablations_and_of_pairs_can_be_quoted():
    found, scores = study.quotable("pl")["differences"], study.read()
    pairs = [("validation", "ae_cosine", "ae", "mse"), ("test", "vae_mc", "vae_kl", "negative_elbo")]
    for split, first, second, score in pairs:
        means = (scores[split][run][score]["mean"] for run in (first, second))
        assert found[first][score]["mean"] == pytest.approx(next(means) - next(means))
    assert set(found["gan_latest"]) == {"frechet", "label"}


def test_a_run_is_scored_with_the_seconds_of_its_training(smoke):
    found = study.compute(experiments.RUNS["reference"], "validation")
    assert 0 <= found["accuracy"] <= 1 and found["seconds"] > 0


def test_runs_are_scored_on_the_test_set_and_what_is_compared_on_the_validation_set():
    assert study.splits("cvae_2") == ["test"]
    assert study.splits("ae") == ["test", "validation"]
    assert study.splits("ae_cosine") == ["validation"]
    assert study.splits("real_baseline") == ["test"]


def test_every_entry_of_the_committed_study_has_every_seed_and_a_record():
    found = study.read()
    scored = [spread for split in ("test", "validation") for run in found[split].values() for spread in run.values()]
    assert scored and all(len(spread["values"]) == len(study.SEEDS) for spread in scored)
    assert study.noted().keys() == {*found["test"], *found["validation"], study.REAL}
    assert set(found["ablations"]) <= set(found["validation"])


@pytest.fixture
def small(checkout, monkeypatch):
    """A study of two runs, the classifiers and one ablation, with invented scores: the list of what was computed."""
    computed = []

    def compute(run, split):
        computed.append((str(run), split))
        if run.name == "ae_cosine" and run.seed == 2:
            raise store.DivergedError("ae_cosine: stopped")
        return {"mse": float(run.seed)}

    names = ("ae", "vae_kl", "reference", "reference_2")
    monkeypatch.setattr(study, "RUNS", {name: experiments.RUNS[name] for name in names})
    monkeypatch.setattr(study, "ABLATIONS", [each for each in experiments.ABLATIONS if each.name == "ae_cosine"])
    monkeypatch.setattr(parallel, "train_all", lambda *_, **__: None)
    monkeypatch.setattr(parallel, "run_all", lambda work, tasks, **_: ((task, work(task)) for task in tasks))
    monkeypatch.setattr(parallel, "forget", lambda: None)
    monkeypatch.setattr(study, "compute", compute)
    monkeypatch.setattr(study, "_compute_real", lambda split: {"frechet": 1.0})
    study.path().unlink()
    return computed


def keep(task):
    """Score one part and keep it, as a worker and `make` do together."""
    study._keep(task[1], study.score(task), records.origin())


@pytest.fixture
def made(small):
    study.make(jobs=1)
    small.clear()
    return small


def test_the_study_sums_up_what_it_computed(small, capsys):
    study.make(jobs=1)
    found = study.read()
    assert set(found["test"]) == {"ae", "vae_kl", "reference", "reference_2"}
    assert set(found["validation"]) == {"ae", "ae_cosine"}
    assert found["test"]["reference_2"]["mse"]["values"] == [101.0, 102.0, 103.0]
    assert found["real_baseline"] == {"test": {"frechet": 1.0}} and found["seeds"] == [1, 2, 3]
    assert "scored 16/16: real_baseline" in capsys.readouterr().err
    assert not (records.output() / "unfinished_study.json").exists()


def test_an_ablation_that_diverged_is_counted_and_has_no_mean(made):
    found = study.read()
    assert found["validation"]["ae_cosine"]["mse"] == {"mean": None, "deviation": None, "values": [1.0, None, 3.0]}
    assert found["ablations"]["ae_cosine"] == {"of": "ae", "diverged": 1}


def test_a_run_of_which_every_training_diverged_stops_the_study(small, monkeypatch):
    def compute(run, split):
        raise store.DivergedError("no")

    monkeypatch.setattr(study, "compute", compute)
    with pytest.raises(store.TrainingError, match=r"^ae: expected scores of at least one seed, but every training"):
        study.make(jobs=1)


def test_a_made_study_is_fresh_and_makes_nothing_again(made):
    assert study.stale() == {} and study.changed_by_hand() == []
    study.make(jobs=1)
    assert made == []


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("models/vae.py", "self.beta * kl", "self.beta * 2 * kl", {"vae_kl"}),
        ("models/autoencoder.py", "ops.square(targets - y_pred)", "ops.square(y_pred - targets)", {"ae", "ae_cosine"}),
        ("metrics.py", "def frechet_distance(", "def frechet_distance(*_): ...\n\n\ndef other(", {"real_baseline"}),
        ("figures.py", "LIMIT = 4", "LIMIT = 5", set()),
        ("models/vae.py", "import keras\n", "import keras  # a comment\n", set()),
    ],
    ids=["the VAE", "the autoencoder", "a measure of the GAN", "a figure", "a comment"],
)
def test_an_edit_makes_those_entries_stale_that_depend_on_it(made, package, file, old, new, stale):
    replace_in(package / file, old, new)
    assert set(study.stale()) == stale


def test_only_stale_entries_are_made_again(made, package, monkeypatch):
    monkeypatch.setattr(store, "refuse_edited_code", lambda *_, **__: None)  # as in a process that starts now
    before = study.read()
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    assert study.stale()["vae_kl"].startswith("models/vae.py changed since ")
    study.make(jobs=1)
    assert made == [(f"vae_kl{seed}", "test") for seed in ("", ", seed 2", ", seed 3")]
    assert study.read()["records"]["ae"] == before["records"]["ae"]


def test_only_the_named_entries_are_made(small):
    study.make(jobs=1, wanted=("ae_cosine",))
    assert {run for run, _ in small} == {"ae_cosine", "ae_cosine, seed 2", "ae_cosine, seed 3"}
    assert "vae_kl" in study.stale() and "ae_cosine" not in study.stale()


def test_an_interrupted_study_goes_on_where_it_stopped(small, monkeypatch):
    def interrupted(work, tasks, **_):
        for task in tasks[:4]:
            yield task, work(task)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parallel, "run_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study.make(jobs=1)
    first = set(small)
    assert set(study.read()["test"]) == {"ae"}, "the first entry is written when it is done"
    assert list(files.read_json(records.output() / "unfinished_study.json")) == ["vae_kl"]
    small.clear()
    study.make(jobs=1)
    assert not first & set(small) and study.stale() == {}


def test_an_unfinished_part_that_somebody_changed_is_computed_again(small):
    keep(("ae", "ae"))
    path, key = records.output() / "unfinished_study.json", files.short(study.inputs("ae"))
    assert study.finished("ae", key)["scores"]["test"] == {"mse": 1.0}
    replace_in(path, '"mse": 1.0', '"mse": 0.5')
    assert study.finished("ae", key) is None


def test_a_study_that_somebody_changed_is_stale(made):
    found = study.read()
    found["test"]["ae"]["mse"]["mean"] = 0.4
    files.write_json(study.path(), found)
    assert study.stale() == {"ae": "test.ae changed after `make study` wrote it"}
    assert study.changed_by_hand() == ["test.ae"]


def test_scores_without_a_record_are_told(made):
    found = study.read()
    found["test"]["mine"] = found["test"]["ae"]
    files.write_json(study.path(), found)
    assert study.changed_by_hand() == ["mine has no record"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("metrics.py", "float(right.mean())", "float(right.max())"),
        ("models/classifier.py", "Dropout(0.5 if", "Dropout(0.6 if"),
        ("pipeline/study.py", "done.seconds", "2 * done.seconds"),
    ],
    ids=["a measure", "the model", "the study"],
)
def test_scores_of_code_that_was_edited_meanwhile_are_not_kept(small, package, monkeypatch, file, old, new):
    monkeypatch.setattr(study, "compute", lambda *_: replace_in(package / file, old, new) or {"accuracy": 0.5})
    with pytest.raises(store.TrainingError, match=rf"^{file} changed while reference was scored; start again$"):
        keep(("reference", "reference"))
    assert not (records.output() / "unfinished_study.json").exists()


def test_scores_are_kept_where_something_else_was_edited_meanwhile(small, package, monkeypatch):
    edit = ("figures.py", "LIMIT = 4", "LIMIT = 5")
    monkeypatch.setattr(study, "compute", lambda *_: replace_in(package / edit[0], *edit[1:]) or {"accuracy": 0.5})
    keep(("reference", "reference"))
    kept = files.read_json(records.output() / "unfinished_study.json")
    assert kept["reference"]["scores"] == {"test": {"accuracy": 0.5}}


def test_a_kind_of_model_without_scores_is_refused_before_any_training(small, monkeypatch):
    runs = {**study.RUNS, "mine": experiments.Run("mine", "flow", epochs=1, batch_size=1, learning_rate=1e-3)}
    monkeypatch.setattr(study, "RUNS", runs)
    monkeypatch.setitem(experiments.BUILDERS, "flow", experiments.BUILDERS["vae"])
    with pytest.raises(ValueError, match=r"expected a name of genmodels\.evaluation, got 'score_flow'"):
        study.make(jobs=1)
    assert small == []


def test_of_a_stale_entry_the_report_quotes_this_build_and_marks_the_rest(made, package):
    assert study.outdated() == ({}, {})
    files.write_json(records.output() / "metrics.json", {"zadanie_2": {"scores": {"vae_kl": {"mse": 7.0}}}})
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    old, single = study.outdated()
    of_all = {"study.machine", "study.seeds"}
    assert set(old) == {"study.test.vae_kl", "study.validation.vae_kl", "study.ablations.vae_kl"} | of_all
    assert set(old.values()) == {"?"} and single == {"study.test.vae_kl.mse": 7.0}  # a copy has no commit


def test_the_quick_mode_has_a_study_of_its_own(made, smoke):
    assert set(study.stale()) == set(study.entries()), "the committed one is of full runs"
    study.make(jobs=1)
    assert study.path().parent == records.output() != records.committed() and study.stale() == {}


def test_settings_and_texts_of_ablations_are_those_of_the_present_code(made):
    found = study.quotable("pl")
    assert found["settings"]["ae"]["epochs"] == experiments.RUNS["ae"].epochs
    assert found["ablations"]["ae_cosine"]["what"] == "krok malejący wzdłuż połówki kosinusa"
    assert "processor" in found["machine"] and "records" not in found
    assert results.metrics()  # the report's own numbers stay


def test_an_entry_of_a_run_that_is_gone_is_marked_until_the_study_removes_it(made, monkeypatch):
    monkeypatch.setattr(study, "RUNS", {name: run for name, run in study.RUNS.items() if name != "vae_kl"})
    old, _ = study.outdated()
    assert study.stale() == {} and study.left_over() == ["vae_kl"] and "study.test.vae_kl" in old
    study.make(jobs=1)
    assert study.left_over() == [] and "vae_kl" not in study.read()["test"] and made == []


def test_a_value_of_a_section_that_no_notebook_makes_stands_for_nothing(made, package):
    metrics = {"zadanie_2": {"scores": {"vae_kl": {"mse": 7.0}}}, "zzz": {"scores": {"vae_kl": {"mse": 9.0}}}}
    files.write_json(records.output() / "metrics.json", metrics)
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    assert study.outdated()[1] == {"study.test.vae_kl.mse": 7.0}


def test_a_split_that_is_no_longer_scored_goes_when_the_entry_is_made_anew(made, package, monkeypatch):
    monkeypatch.setattr(store, "refuse_edited_code", lambda *_, **__: None)  # as in a process that starts now
    monkeypatch.setattr(study, "ABLATIONS", [])
    replace_in(package / "models" / "autoencoder.py", "ops.square(targets", "2 * ops.square(targets")
    study.make(jobs=1)
    assert "ae" in study.read()["test"] and "ae" not in study.read()["validation"]


def test_code_that_is_edited_while_the_study_runs_does_not_sign_older_scores(small, package, monkeypatch):
    key = files.short(study.inputs("vae_kl"))
    for part in study.parts("vae_kl"):
        keep(("vae_kl", part))
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    with pytest.raises(store.TrainingError, match="vae_kl: its code or settings changed while the study ran"):
        study._sum_up("vae_kl", key)
    assert not (records.output() / "study.json").exists()


def test_parts_of_an_entry_cannot_stand_for_each_other(small):
    keep(("ae", "ae"))
    path = records.output() / "unfinished_study.json"
    kept = files.read_json(path)
    files.write_json(path, {**kept, "ae, seed 2": kept["ae"]})
    key = files.short(study.inputs("ae"))
    assert study.finished("ae", key) and not study.finished("ae, seed 2", key)


def test_only_what_records_cover_can_be_quoted(made):
    found = study.read()
    files.write_json(study.path(), {**found, "extra": {"x": 1.2}, "seeds": [7]})
    assert "extra" not in study.quotable("pl") and study.quotable("pl")["seeds"] == [1, 2, 3]
    found["ablations"]["ae_cosine"]["diverged"] = 3
    files.write_json(study.path(), found)
    assert study.changed_by_hand() == ["ablations.ae_cosine"]


def test_an_unfinished_quick_study_hides_no_entry_of_the_committed_one(made, smoke):
    committed = set(study.read()["test"])
    for part in study.parts("ae"):
        keep(("ae", part))
    study._sum_up("ae", files.short(study.inputs("ae")))
    assert set(study.read()["test"]) == committed and "ae" not in study.stale() and "vae_kl" in study.stale()
