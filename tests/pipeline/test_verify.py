import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

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
    return {name: (change, serious) for name, change, serious in verify.compare() if change}


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
    ((change, serious),) = changes().values()
    assert change.startswith("only rendering changed: ") and not serious


def test_a_changed_result_tells_by_how_much(committed):
    path = results.data_path("latent_space_AE.png")
    with np.load(path) as shown:
        arrays = dict(shown)
    arrays["axes 0, points 0"][7] += 0.5
    np.savez_compressed(path, **arrays)
    change, serious = changes()["latent_space_AE.png"]
    assert change == "the result changed: axes 0, points 0, 0.0% of its values, by up to 0.5" and serious


def test_another_form_and_a_missing_file_are_changes(committed):
    np.savez_compressed(results.data_path("cover.png"), nothing=np.zeros(3))
    results.data_path("grid_ae.png").unlink()
    found = changes()
    assert "has another form" in found["cover.png"][0] and "missing: grid_ae.png" in found["grid_ae.png"][0]
    on_another_machine()
    assert all(serious for _, serious in changes().values())


def on_another_machine():
    """Claim that the notebooks ran on another processor."""
    provenance = records.provenance()
    for name in notebooks.names():
        machine = {**provenance[name].origin["machine"], "processor": "another"}
        records.note(name, replace(provenance[name], origin={**provenance[name].origin, "machine": machine}))


def move_number(factor):
    """Move the error of the AE by a share of the distance that another seed may move it."""
    numbers = files.read_json(records.output() / "metrics.json")
    scores = numbers["zadanie_1"]["scores"]["ae"]
    scores["mse"] += factor * verify.tolerances()["zadanie_1.scores.ae.mse"]
    files.write_json(records.output() / "metrics.json", numbers)


def test_on_the_same_machine_any_number_that_moves_is_unexpected(committed):
    move_number(0.01)
    change, serious = changes()["zadanie_1.scores.ae.mse"]
    assert " -> " in change and serious


@pytest.mark.parametrize(("factor", "word", "unexpected"), [(0.9, "within", False), (1.1, "beyond", True)])
def test_on_another_machine_the_spread_over_seeds_decides(committed, factor, word, unexpected):
    on_another_machine()
    move_number(factor)
    change, serious = changes()["zadanie_1.scores.ae.mse"]
    assert f": {word} " in change and serious == unexpected


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
    found = changes()
    assert not found["cover.png"][1] and found["2_pairs_ae.png"][1]


def test_on_another_machine_a_number_of_unknown_spread_may_not_change_altogether(committed):
    on_another_machine()
    numbers = files.read_json(records.output() / "metrics.json")
    numbers["zadanie_1"]["mse"]["mean"] = 30.0
    numbers["zadanie_1"]["mse"]["error"] *= 2
    files.write_json(records.output() / "metrics.json", numbers)
    found = changes()
    assert found["zadanie_1.mse.mean"][1] and not found["zadanie_1.mse.error"][1]
    assert "its spread is not known" in found["zadanie_1.mse.mean"][0]


@pytest.mark.parametrize("training", OTHER_TRAININGS)
def test_the_numbers_of_other_trainings_are_what_is_to_be_expected(training):
    """See `test_the_report_holds_for_the_numbers_of_other_trainings` for how they were measured."""
    rows = list(verify.number_changes(results.metrics(), numbers_of(training), same=False))
    unexpected = [name for name, _, serious in rows if serious and not name.endswith(".seed")]  # they have their own
    assert len(rows) > 100 and unexpected == []


def test_a_number_that_is_new_or_gone_is_unexpected_anywhere(committed):
    on_another_machine()
    replace_in(records.output() / "metrics.json", '"test_images"', '"test_pictures"')
    found = changes()
    assert found["zadanie_1.test_images"][1] and found["zadanie_1.test_pictures"][1]


def test_tolerance_is_the_interval_of_a_second_training():
    """By simulation: of pairs of normal trainings, with a spread estimated from three others, 99 % lie within."""
    rng = np.random.default_rng(0)
    seeds, pair = rng.normal(size=(20_000, 3)), rng.normal(size=(20_000, 2))
    quantile = stats.t.ppf(0.995, 2) * 2**0.5
    within = np.abs(pair[:, 0] - pair[:, 1]) <= quantile * seeds.std(axis=1, ddof=1)
    assert within.mean() == pytest.approx(verify.CONFIDENCE, abs=0.003)
    spread = study.read()["test"]["ae"]["mse"]
    assert verify.tolerances()["zadanie_1.scores.ae.mse"] == pytest.approx(quantile * spread["deviation"])


@pytest.mark.parametrize(
    ("score", "value", "other", "serious"),
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
def test_a_score_in_which_all_seeds_agree_may_still_move_a_little(checkout, score, value, other, serious):
    numbers, moved = ({"zadanie_3": {"scores": {"cvae_2": {score: each}}}} for each in (value, other))
    files.write_json(records.output() / "metrics.json", numbers)
    spread = {"mean": float(value), "deviation": 0.0, "values": [value] * 3}
    files.write_json(study.path(), {"test": {"cvae_2": {score: spread}}})
    assert [row[2] for row in verify.number_changes(numbers, moved, same=False)] == [serious]


@pytest.mark.parametrize(
    ("name", "old", "new", "serious"),
    [("epochs", 20, 19, True), ("kl_negative", 2, 5, False), ("grey", 0.2, np.nan, True), ("grey", 0.2, 0.3, False)],
)
def test_what_no_training_decides_and_what_is_no_number_is_unexpected_anywhere(name, old, new, serious):
    rows = verify.number_changes({"zadanie_1": {name: old}}, {"zadanie_1": {name: new}}, same=False)
    assert [row[2] for row in rows] == [serious]


def test_of_one_measure_the_largest_relative_spread_counts_whoever_judges_and_whichever_weights_drew(checkout):
    scores = {"frechet": (2.0, 0.2), "frechet_2": (4.0, 0.1), "latest_frechet": (3.0, 0.0)}
    values = {name: mean for name, (mean, _) in scores.items()}
    files.write_json(records.output() / "metrics.json", {"zadanie_4": {"scores": {"gan": values}}})
    spreads = {name: {"mean": mean, "deviation": by, "values": [mean] * 3} for name, (mean, by) in scores.items()}
    files.write_json(study.path(), {"test": {"gan": spreads}})
    quantile = stats.t.ppf(0.995, 2) * 2**0.5
    expected = {f"zadanie_4.scores.gan.{name}": quantile * 0.1 * mean for name, mean in values.items()}
    assert verify.tolerances() == pytest.approx(expected)


def test_an_unknown_revision_is_an_error():
    with pytest.raises(records.ReportError, match="expected a revision with data/report/, got 'no-such-revision'"):
        list(verify.compare("no-such-revision"))


def test_scores_are_compared_with_the_study(checkout):
    numbers = {
        "zadanie_1": {"scores": {"ae": {"mse": 0.04, "new": 1.0}}},
        "zadanie_4": {"scores": {"gan": {"label": 0.995}}},
    }
    files.write_json(records.output() / "metrics.json", numbers)
    spread = {"mean": 0.03, "deviation": 0.001, "values": []}
    studied = {"test": {"ae": {"mse": spread}, "gan": {"label": {**spread, "mean": 0.996}}}}
    files.write_json(study.path(), studied)
    comparison = verify.beside_the_study()
    assert comparison == [("ae", "mse", 0.04, 0.03, 0.001), ("gan", "label", 0.995, 0.996, 0.001)]
    assert verify.outside(comparison) == comparison[:1]


def test_only_what_is_far_from_the_study_is_outside():
    rows = [("gan", "label", 0.995, 0.996, 0.001), ("gan", "worst", 0.95, 0.99, 0.01), ("ae", "mse", 0.5, 0.5, 0.0)]
    assert verify.outside(rows) == [rows[1]]
