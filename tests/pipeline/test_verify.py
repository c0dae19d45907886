import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest

from conftest import OTHER_TRAININGS, numbers_of, replace_in
from genmodels import figures
from genmodels.pipeline import files, notebooks, records, results, study, verify


@pytest.fixture
def committed(checkout, monkeypatch, tmp_path):
    """A copy of the checkout's results in the place of the committed ones."""
    before = tmp_path / "committed"
    shutil.copytree(records.output(), before / "data" / "report")
    monkeypatch.setattr(verify, "_committed", lambda *_: before)
    return before / "data" / "report"


def changes():
    """{maker: Change} of everything that changed."""
    return {each.maker: each for each in verify.compare() if each.inputs or each.figures or each.numbers}


def unexplained():
    return {name for each in changes().values() for name in each.unexplained}


def test_nothing_changed(committed):
    assert changes() == {}


def write(figure, name):
    """Save a figure as the pipeline does."""
    results.write_figure(name, results.picture(figure), figures.shown_in(figure))


def test_a_figure_drawn_otherwise_has_the_same_data(committed, monkeypatch):
    monkeypatch.setitem(figures.STYLE, "axes.linewidth", 3.0)
    digits = np.stack([np.full((28, 28), share) for share in np.linspace(0, 1, 10)])
    write(figures.plot_digits(digits), "gan_examples.png")
    for ending in ("png", "npz"):
        shutil.copy(records.output() / f"gan_examples.{ending}", committed)
    monkeypatch.setitem(figures.STYLE, "axes.linewidth", 1.0)
    write(figures.plot_digits(digits), "gan_examples.png")
    (change,) = changes().values()
    assert change.figures["gan_examples.png"].startswith("only rendering changed: ") and not change.unexplained


def move_a_point():
    path = results.data_path("latent_space_AE.png")
    with np.load(path) as shown:
        arrays = dict(shown)
    arrays["axes 0, points 0"][7] += 0.5
    np.savez_compressed(path, **arrays)


def test_a_changed_result_tells_by_how_much(committed):
    move_a_point()
    (change,) = changes().values()
    assert change.maker == "zadanie_1_autoenkoder" and change.inputs == []
    text = "the result changed: axes 0, points 0, 0.0% of its values, by up to 0.5"
    assert change.figures == {"latent_space_AE.png": text} and change.unexplained == ["latent_space_AE.png"]


def changed_inputs(name, **inputs):
    """Claim that a notebook was run with other inputs than the committed ones, and that its run ae had 25 epochs."""
    record = records.provenance()[name]
    run = {**record.runs["ae"], "inputs": {**record.runs["ae"]["inputs"], "setting epochs": 25}}
    changed = replace(record, inputs={**record.inputs, "run ae": "1", **inputs}, runs={**record.runs, "ae": run})
    records.note(name, changed)


def test_what_follows_from_a_changed_setting_is_explained(committed):
    changed_inputs("zadanie_1_autoenkoder")
    move_a_point()
    move_number(0.01)
    change = changes()["zadanie_1_autoenkoder"]
    assert change.inputs == ["ae: epochs 40 → 25"] and change.unexplained == []
    assert set(change.figures) == {"latent_space_AE.png"} and set(change.numbers) == {"zadanie_1.scores.ae.mse"}


def test_a_notebook_of_ones_own_and_its_figure_are_new(committed):
    record = records.provenance()["zadanie_1_autoenkoder"]
    for suffix in (".png", ".npz"):
        mine = results.data_path("mine.png").with_suffix(suffix)
        shutil.copy(results.data_path("grid_ae.png").with_suffix(suffix), mine)
    records.note("mine", replace(record, results={"mine.png": record.results["grid_ae.png"]}))
    change = changes()["mine"]
    assert (change.inputs, change.figures, change.unexplained) == (["new"], {"mine.png": "new"}, [])


def test_inputs_are_named_once_with_the_runs_that_have_them():
    def record(code, keras):
        runs = {
            name: {"name": name, "inputs": {"models/vae.py": code, "keras": keras}} for name in ("vae_kl", "vae_mc")
        }
        return records.Record({"keras": keras, "the notebook's code": "1", "run vae_kl": code}, {}, runs=runs)

    found = verify.input_changes(record("1", "3.15.1"), record("2", "3.16.0"))
    assert sorted(found) == ["keras 3.15.1 → 3.16.0", "vae_kl, vae_mc: models/vae.py"]


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (0.0329114, 0.0329151, "0.0329114 → 0.0329151"),
        (129.7143, 130.9321, "129.7 → 130.9"),
        (1234.5, 834.5, "1234 → 834"),
        (3, 4, "3 → 4"),
        ("a", None, "a → None"),
        (1.0, float("nan"), "1.0 → nan"),
    ],
)
def test_numbers_are_shown_with_the_digits_in_which_they_differ(one, other, text):
    assert verify._from_to(one, other) == text


def test_another_form_and_a_missing_file_are_unexplained_on_any_machine(committed):
    np.savez_compressed(results.data_path("cover.png"), nothing=np.zeros(3))
    results.data_path("grid_ae.png").unlink()
    found = changes()
    assert "has another form" in found["zadanie_4_gan"].figures["cover.png"]
    assert "missing: grid_ae.png" in found["zadanie_1_autoenkoder"].figures["grid_ae.png"]
    on_another_machine()
    assert unexplained() == {"cover.png", "grid_ae.png"}


def on_another_machine():
    """Claim that the notebooks ran on another processor."""
    provenance = records.provenance()
    for name in notebooks.names():
        machine = {**provenance[name].origin["machine"], "processor": "another"}
        records.note(name, replace(provenance[name], origin={**provenance[name].origin, "machine": machine}))


def move_number(factor):
    """Move the error of the AE by a share of the distance that another machine may move it."""
    numbers = files.read_json(records.output() / "metrics.json")
    scores = numbers["zadanie_1"]["scores"]["ae"]
    scores["mse"] += factor * verify.margins()["zadanie_1.scores.ae.mse"]
    files.write_json(records.output() / "metrics.json", numbers)


def test_on_the_same_machine_any_number_that_moves_is_unexplained(committed):
    move_number(0.01)
    assert " → " in changes()["zadanie_1_autoenkoder"].numbers["zadanie_1.scores.ae.mse"]
    assert unexplained() == {"zadanie_1.scores.ae.mse"}


@pytest.mark.parametrize(("factor", "word", "far"), [(0.9, "within", False), (1.1, "beyond", True)])
def test_on_another_machine_the_spread_over_seeds_decides(committed, factor, word, far):
    on_another_machine()
    move_number(factor)
    found = changes()["zadanie_1_autoenkoder"]
    assert f", {word} " in found.numbers["zadanie_1.scores.ae.mse"] and bool(found.unexplained) == far
    assert found.inputs[0].startswith("another machine: processor ")


def test_on_another_machine_pictures_of_models_may_part_but_not_those_of_data(committed):
    """A picture of data is made before the notebook loads a run."""
    on_another_machine()
    record = records.provenance()["zadanie_1_autoenkoder"]
    made = {**record.results, "2_pairs_ae.png": {"cell": 1, "runs": {}}}
    for folder in (committed, records.output()):
        records.note("zadanie_1_autoenkoder", replace(record, results=made), folder)
    for name in ("cover.png", "2_pairs_ae.png"):
        with np.load(results.data_path(name)) as shown:
            arrays = {key: 255 - array if "image" in key else array for key, array in shown.items()}
        np.savez_compressed(results.data_path(name), **arrays)
    assert unexplained() == {"2_pairs_ae.png"}


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(OTHER_TRAININGS, 2)))
def test_the_numbers_of_other_trainings_are_explained(before, after):
    """See `test_the_report_holds_for_the_numbers_of_other_trainings` for how they were measured.

    They are compared with each other, not with the committed ones, whose models may change.
    """
    rows = list(verify.number_changes(numbers_of(before), numbers_of(after), same=False))
    far = [name for name, _, far in rows if far and not name.endswith(".seed")]  # they have their own
    assert len(rows) > 100 and far == []


def test_a_number_that_is_new_or_gone_is_unexplained_on_any_machine(committed):
    on_another_machine()
    replace_in(records.output() / "metrics.json", '"test_images"', '"test_pictures"')
    assert unexplained() == {"zadanie_1.test_images", "zadanie_1.test_pictures"}


def test_a_new_entry_of_the_study_tells_its_means(committed):
    found = files.read_json(study.path())
    found["test"]["ae"]["mse"]["mean"] = 0.04
    found["records"]["ae"] |= {"inputs": {"setting epochs": 25}, "key": files.short({"setting epochs": 25})}
    files.write_json(study.path(), found)
    change = changes()["study, ae"]
    assert "epochs 40 → 25" in change.inputs[0] and change.unexplained == []
    assert change.numbers["study.test.ae.mse"].endswith(" → 0.0400") and len(change.numbers) == 1


def simulated(rng, scores, shared):
    """Four normal trainings, of which the last is the new one: array (4, scores) of correlated scores."""
    return 100 + shared * rng.normal(size=(4, 1)) + (1 - shared**2) ** 0.5 * rng.normal(size=(4, scores))


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_an_unchanged_build_raises_an_alarm_in_at_most_five_of_a_hundred_cases(checkout, monkeypatch, shared):
    """By simulation, of 60 scores with the spread of three seeds each, correlated or not."""
    rng, alarms, cases = np.random.default_rng(0), 0, 400
    monkeypatch.setattr(verify, "LEAST", 0.0)
    monkeypatch.setattr(study, "stale", dict)
    for _ in range(cases):
        values = simulated(rng, 60, shared)
        spreads = [{"mean": of[:3].mean(), "deviation": of[:3].std(ddof=1), "values": list(of[:3])} for of in values.T]
        rows = [("zadanie", "run", f"score {i}", values[3, i], of) for i, of in enumerate(spreads)]
        monkeypatch.setattr(verify, "_studied", lambda rows=rows: iter(rows))
        alarms += bool(verify.outside())
    assert alarms / cases <= verify.ALPHA + 2 * (verify.ALPHA / cases) ** 0.5


def test_a_single_score_lies_within_its_interval_in_ninety_five_of_a_hundred_cases(checkout, monkeypatch):
    monkeypatch.setattr(verify, "LEAST", 0.0)
    monkeypatch.setattr(study, "stale", dict)
    values = 100 + np.random.default_rng(0).normal(size=(4, 4_000))
    spreads = [{"mean": of[:3].mean(), "deviation": of[:3].std(ddof=1), "values": list(of[:3])} for of in values.T]
    rows = [("zadanie", "run", f"score {i}", values[3, i], of) for i, of in enumerate(spreads)]
    monkeypatch.setattr(verify, "_studied", lambda: iter(rows))
    within = [abs(value - mean) <= margin for *_, value, mean, margin in verify.beside_the_study()]
    assert np.mean(within) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("score", "value", "other", "far"),
    [
        ("position", 1.0, 0.995, False),
        ("position", 1.0, 0.985, True),
        ("position", 1.0, np.nan, True),
        ("whole", 4, 3, False),
        ("whole", 4, 2, True),
        ("endpoint_accuracy_2", 1.0, 0.75, False),  # one of four images
        ("endpoint_accuracy_2", 1.0, 0.5, True),
    ],
)
def test_a_score_in_which_all_seeds_agree_may_still_move_a_little(checkout, score, value, other, far):
    numbers, moved = ({"zadanie_3": {"scores": {"cvae_2": {score: each}}}} for each in (value, other))
    files.write_json(records.output() / "metrics.json", numbers)
    spread = {"mean": float(value), "deviation": 0.0, "values": [value] * 3}
    files.write_json(study.path(), {"test": {"cvae_2": {score: spread}}})
    assert [row[2] for row in verify.number_changes(numbers, moved, same=False)] == [far]


@pytest.mark.parametrize(
    ("name", "old", "new", "far"),
    [("epochs", 20, 19, True), ("kl_negative", 2, 5, False), ("grey", 0.2, np.nan, True), ("grey", 0.2, 0.3, False)],
)
def test_what_no_training_decides_and_what_is_no_number_is_far_on_any_machine(name, old, new, far):
    rows = verify.number_changes({"zadanie_1": {name: old}}, {"zadanie_1": {name: new}}, same=False)
    assert [row[2] for row in rows] == [far]


def test_an_unknown_revision_is_an_error():
    with pytest.raises(records.ReportError, match="expected a revision with data/report/, got 'no-such-revision'"):
        list(verify.compare("no-such-revision"))


def test_scores_are_compared_with_fresh_entries_of_the_study_alone(checkout, package):
    numbers = {"zadanie_1": {"scores": {"ae": {"mse": 0.4, "new": 1.0}, "vae_kl": {"kl": 0.9}}}}
    files.write_json(records.output() / "metrics.json", numbers)
    spread = {"mean": 0.03, "deviation": 0.0001, "values": [0.03] * 3}
    studied = {**study.read(), "test": {"ae": {"mse": spread}, "vae_kl": {"kl": spread}}}
    for entry in ("ae", "vae_kl"):
        studied["records"][entry]["outputs"] = study.outputs(entry, studied)
    files.write_json(study.path(), studied)
    assert [row[:2] for row in verify.beside_the_study()] == [("ae", "mse"), ("vae_kl", "kl")]
    replace_in(package / "models" / "vae.py", "self.beta * kl", "self.beta * 2 * kl")
    (row,) = verify.beside_the_study()
    assert row[:4] == ("ae", "mse", 0.4, 0.03) and row[4] == pytest.approx(4.303 * 0.0001 * (4 / 3) ** 0.5, rel=1e-3)
    assert [row[:2] for row in verify.outside()] == [("ae", "mse")]
