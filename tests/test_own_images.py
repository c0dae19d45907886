"""The script behind docs/own_images.md draws its letters and writes its page."""

import json

import numpy as np
import pytest

from benchmarks import own_images


@pytest.fixture(scope="module")
def drawn():
    return own_images.letters(4, 1)


def test_there_are_as_many_letters_of_each_kind(drawn):
    assert drawn["x_train"].shape == (104, 32, 32, 3) and drawn["x_test"].shape == (26, 32, 32, 3)
    assert all((drawn["y_train"] == letter).sum() == 4 for letter in own_images.LETTERS)


def test_letters_differ_in_ink_from_their_ground_and_from_each_other(drawn):
    spread = drawn["x_train"].reshape(104, -1, 3).std(axis=1).max(axis=1)
    assert spread.min() > 10
    assert len(np.unique(drawn["x_train"], axis=0)) == 104


def test_the_same_seed_draws_the_same_letters(drawn):
    assert all(np.array_equal(drawn[name], array) for name, array in own_images.letters(4, 1).items())


def test_the_page_holds_commands_scores_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(own_images, "PICTURES", tmp_path)
    score = {"value": 0.25, "error": None, "real": None, "better": "lower"}
    found = {
        "commit": "0a1b2c3",
        "clean": True,
        "machine": {"processor": "a processor"},
        "commands": [["genmodels fit ae --data digits.npz -o digits_ae.keras", 12.3]],
        "scores": {"ae": {"mse": score}},
        "pictures": {"grid ae": "digits_ae_grid.png"},
    }
    (tmp_path / "digits.json").write_text(json.dumps(found), encoding="utf-8")
    page = own_images.page()
    for part in ("genmodels fit ae", "12 s", "0.25", "own_images/digits_ae_grid.png", "0a1b2c3", "a processor"):
        assert part in page
    assert own_images.PROOFS["letters"].title not in page  # not measured


def test_the_committed_page_is_made_from_the_committed_scores():
    assert (own_images.DOCS / "own_images.md").read_text(encoding="utf-8") == own_images.page()
