import re

import pytest

from conftest import replace_in
from genmodels.pipeline import files, records

OLD = {"vae.py": "1", "setting epochs": 13, "setting sizes": (5, 6), "keras": "3.1"}
NEW = {"vae.py": "2", "setting epochs": 14, "setting sizes": [5, 6], "data.py": "3", "keras": "3.1"}
RESULTS = {"grid.png": {"cell": 1, "runs": {}}, "grid": {"cell": 2, "runs": {}}}
OUTPUTS = {"grid.png": "1", "grid.npz": "2", "grid.mse": "3"}
RECORD = records.Record(OLD, OUTPUTS, {"commit": "0123456789abcdef"}, RESULTS)


def test_a_change_is_told_by_what_changed():
    assert records.changes(OLD, NEW, "noon") == "data.py, setting epochs, vae.py changed since noon"
    assert records.changes(OLD, OLD, "noon") == ""


def test_a_thing_with_the_same_inputs_and_outputs_is_fresh():
    assert RECORD.why_stale(OLD, OUTPUTS, "the notebook", "noon") == ""


def test_a_thing_with_other_inputs_is_stale():
    assert RECORD.why_stale({**OLD, "keras": "3.2"}, OUTPUTS, "the notebook", "noon") == "keras changed since noon"


def test_a_thing_that_somebody_changed_is_stale():
    found = RECORD.why_stale(OLD, {**OUTPUTS, "grid.npz": None}, "the notebook", "noon")
    assert found == "grid.npz changed after the notebook wrote it"


def test_a_record_comes_back_from_provenance_as_it_was_noted(tmp_path):
    records.note("study", records.Record({}, {}), tmp_path)
    records.note("zadanie", RECORD, tmp_path)
    found = records.provenance(tmp_path)
    assert list(found) == ["study", "zadanie"]
    assert found["zadanie"].as_json() == {**RECORD.as_json(), "inputs": {**OLD, "setting sizes": [5, 6]}}


@pytest.mark.parametrize(("old", "new"), [('"keras": "3.1"', '"keras": "3.2"'), ('"key": "', '"key": "0')])
def test_a_record_that_was_changed_by_hand_is_refused(tmp_path, old, new):
    records.note("zadanie", RECORD, tmp_path)
    replace_in(tmp_path / "provenance.json", old, new)
    message = r"provenance\.json: expected [0-9a-f]{16} as the key of zadanie's inputs, got .*; restore or delete .*"
    with pytest.raises(files.FileError) as stopped:
        records.provenance(tmp_path)
    assert re.fullmatch(message, str(stopped.value))
