"""Whatever is kept: bytes flipped, cut off, emptied, swapped are found or change no result."""

import dataclasses
import io
import json
import shutil
from functools import lru_cache

import keras
import numpy as np
import pytest

from conftest import replace_in
from genmodels import config, experiments
from genmodels.pipeline import document, files, notebooks, records, results, store, verify


def damaged(content, kind, rng, other=b"{}"):
    """Bytes with damage of one kind at a random place."""
    place = int(rng.integers(len(content)))
    if kind == "flipped":
        return content[:place] + bytes([content[place] ^ (1 << int(rng.integers(8)))]) + content[place + 1 :]
    return {"cut off": content[:place], "emptied": b"", "swapped": other}[kind]


# How often each file is damaged in each way: more often where there are more places.
TIMES = {"flipped": 8, "cut off": 4, "emptied": 1}
IN_FOLDERS = {**TIMES, "swapped": 1}  # of files that have namesakes in other folders

BASE = dataclasses.replace(experiments.RUNS["vae_kl"], options={"hidden_units": (4,), "num_frequencies": 0})
SMALL = (BASE, dataclasses.replace(BASE, seed=2))


@lru_cache
def models():
    """What training the two small runs gives, {seed: (model, history)}."""
    return {run.seed: (store.train(run)[0], {"loss": [float(run.seed)]}) for run in SMALL}


@pytest.fixture
def two_runs(smoke, monkeypatch):
    """Two small runs in the cache, and the seeds of those that were trained again, without doing it."""
    counted, made = [], models()

    def train(run, *_, **__):
        counted.append(run.seed)
        return made[run.seed]

    monkeypatch.setattr(store, "train", train)
    for run in SMALL:
        store.trained(run)
    counted.clear()
    return SMALL, counted


def weights(done):
    return [weight.tobytes() for weight in done.model.get_weights()]


@pytest.mark.parametrize("file", ["model.keras", "training.json", "record.json"])
def test_a_damaged_run_is_found_quarantined_and_made_anew(two_runs, file, rng, capsys):
    (run, other), trained = two_runs
    home = store.folder(run)
    right, good = weights(store.trained(run)), (home / file).read_bytes()
    for kind in IN_FOLDERS:
        for _ in range(IN_FOLDERS[kind]):
            good, before = (home / file).read_bytes(), len(trained)
            (home / file).write_bytes(damaged(good, kind, rng, (store.folder(other) / file).read_bytes()))
            harmless = file == "record.json" and store.is_trained(run)  # white space
            if not harmless and (home / file).read_bytes() != good:
                assert not store.is_trained(run) and store.why_stale(run).startswith("damaged: ")
            done = store.trained(run)
            assert weights(done) == right and done.history == {"loss": [1.0]}
            said = capsys.readouterr().err
            if len(trained) > before:
                assert f"{home.name} is damaged (" in said and said.count("\n") == 1
    asides = list((config.cache_folder() / "damaged").iterdir())
    assert len(asides) == len(trained) >= sum(IN_FOLDERS.values()) - 3


def test_a_half_missing_or_foreign_run_is_found(two_runs, capsys):
    (run, other), trained = two_runs
    home, right = store.folder(run), weights(store.trained(run))
    present = sorted(path.name for path in home.iterdir())
    for file in present:
        (home / file).unlink()
        assert weights(store.trained(run)) == right
    shutil.rmtree(home)
    shutil.copytree(store.folder(other), home)
    assert not store.is_trained(run) and weights(store.trained(run)) == right
    (home / "more.txt").write_text("what is that?")
    assert weights(store.trained(run)) == right and len(trained) == len(present) + 2 == 5
    assert not any(path.name.startswith(".") for path in home.parent.iterdir())


@pytest.mark.parametrize("content", ["[]", '{"inputs": 5, "outputs": 5}', "null"])
def test_a_record_of_another_structure_is_damage(two_runs, content, capsys):
    (run, _), trained = two_runs
    (store.folder(run) / "record.json").write_text(content)
    assert store.why_stale(run) == "damaged: record.json"
    store.trained(run)
    assert trained == [1]


@pytest.mark.parametrize("error", [ValueError("unknown layer\nand much more"), KeyError("dense"), OSError("no HDF5")])
def test_an_intact_model_that_keras_cannot_load_is_an_error_and_stays_where_it_is(two_runs, monkeypatch, capsys, error):
    (run, _), trained = two_runs
    right, path = weights(store.trained(run)), store.folder(run) / "model.keras"

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch, pytest.raises(store.TrainingError) as stopped:
        patch.setattr(keras.models, "load_model", fail)
        store.trained(run)
    said, reason = str(stopped.value), str(error).partition("\n")[0]
    assert said.startswith(
        f"run vae_kl: expected a model that Keras can load again, got: {reason}; {path} is not damaged"
    )
    assert "keras.json" in said and "\n" not in said
    assert store.is_trained(run) and not (config.cache_folder() / "damaged").exists()
    assert weights(store.trained(run)) == right and trained == []


def test_a_model_for_which_memory_is_too_short_stays_where_it_is(two_runs, monkeypatch):
    (run, _), trained = two_runs

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(keras.models, "load_model", fail)
    with pytest.raises(files.ResourceError, match="run vae_kl: out of memory"):
        store.trained(run)
    assert store.is_trained(run) and trained == []


def test_damaged_scores_stamps_and_checkpoints_are_found(smoke, rng, capsys):
    readers = {}
    for kind, value in (("scores", {"accuracy": 0.5}), ("stamps", {"commit": None}), ("stamps-draft", {"a": "ą"})):
        for name in ("first", "second"):
            path = config.cache_folder() / kind / f"{name}.json"
            files.save_json(path, {**value, "name": name})
            readers[path] = files.load_json
    for name in ("first", "second"):
        path = config.cache_folder() / "unfinished" / f"{name}.npz"
        files.save_arrays(path, {"a": np.arange(5) + len(name), "seconds": np.array(1.5)})
        readers[path] = files.load_arrays
    count = 0
    for path, read in readers.items():
        good = path.read_bytes()
        for kind in TIMES:
            for _ in range(TIMES[kind]):
                path.write_bytes(damaged(good, kind, rng))
                count += 1
                assert read(path) is None and not path.exists()
                assert f"{path.name} is damaged (its checksum differs)" in capsys.readouterr().err
        path.write_bytes(good)
        assert read(path)
    assert count >= 100


def test_a_damaged_checkpoint_starts_the_training_anew(two_runs, monkeypatch, capsys):
    (run, _), _ = two_runs
    unfinished = config.cache_folder() / "unfinished" / f"{store.folder(run).name}.npz"
    shutil.rmtree(store.folder(run))
    files.save_arrays(unfinished, {"seconds": np.array(1.5)})
    unfinished.write_bytes(unfinished.read_bytes()[:-1])
    given = []
    monkeypatch.setattr(store, "train", lambda run, checkpoint, **_: given.append(checkpoint) or models()[run.seed])
    store.trained(run)
    assert given == [None] and f"{unfinished.name} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["metrics.json", "provenance.json", "study.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JSON, got something else"),
        (b"\xff\xfe{}", "expected JSON, got something else"),
        (b"[" * 100_000, "expected JSON, got something else"),
        (b'{"zadanie_1": ' + b"9" * 5_000 + b"}", "expected JSON, got something else"),
        (b"[1, 2]", r"expected another structure, got JSON where data must be object"),
        (
            b'{"study": 5, "zadanie_1": 5, "test": 5}',
            r"expected another structure, got JSON where data\.\w+ must be object",
        ),
        (
            b'{"study": {}, "zadanie_1": 1, "test": {"ae": {"mse": 1}}}',
            r"expected another structure, got JSON where data\.\w+",
        ),
    ],
)
def test_a_generated_file_that_is_none_is_named_in_one_line(checkout, file, content, message):
    (records.output() / file).write_bytes(content)
    with pytest.raises(files.FileError, match=rf"{file}: {message}.*; restore or delete") as stopped:
        document.build()
    assert "\n" not in str(stopped.value)[:-1]


def test_damage_of_what_the_report_is_made_from_stops_the_build(checkout, rng):
    """Each file that a notebook or the study left, damaged at random places: named, or read as the same."""
    folder = records.output()
    assert list(document.unverified()) == []
    names = ["metrics.json", "study.json", "provenance.json", "cover.png", "cover.npz", "grid_ae.png", "grid_ae.npz"]
    provenance = records.provenance()
    for name in names:
        good, other = (folder / name).read_bytes(), (folder / "kl_forms.npz").read_bytes()
        for kind in IN_FOLDERS:
            for _ in range(IN_FOLDERS[kind] // 2 or 1):
                (folder / name).write_bytes(damaged(good, kind, rng, other))
                try:
                    found = list(document.unverified())
                except files.FileError as error:
                    found = [str(error)]
                if name == "provenance.json" and not found:  # the rest is compared with the notebooks' stamps
                    found = [] if records.provenance() == provenance else ["not made here"]
                if not found:
                    now = (folder / name).read_bytes()
                    assert now == good or json.loads(now) == json.loads(good), (name, kind)
                assert all("\n" not in text for text in found)
        (folder / name).write_bytes(good)


def saved(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_pictures_and_arrays_that_cannot_be_read_are_named_by_diff(checkout, tmp_path):
    now = records.output() / "cover.png"
    before = tmp_path / "before" / "cover.png"
    before.parent.mkdir()
    shutil.copy(results.data_path("cover.png"), before.with_suffix(".npz"))
    for content in (b"", b"\x89PNG\r\n\x1a\nhalf", b"text"):
        before.write_bytes(content)
        with pytest.raises(records.ReportError, match=r"cover\.png: expected two pictures, got: .*make report"):
            verify.figure_change(before, now)
    before.with_suffix(".npz").write_bytes(saved(a=np.array([{}], dtype=object)))
    message = r"cover\.npz: expected arrays, got an unreadable archive: .*make report"
    with pytest.raises(records.ReportError, match=message):
        verify.figure_change(before, now)


@pytest.mark.parametrize(
    ("old", "new"), [('"cells"', '"cell"'), ('"cell_type"', '"type"'), ('"source": [', '"source": [7, '), ("{", "[")]
)
def test_a_notebook_that_is_none_is_named(checkout, old, new):
    name = notebooks.names()[0]
    replace_in(notebooks.path(name), old, new)
    with pytest.raises(files.FileError, match=rf"{name}\.ipynb: expected "):
        notebooks.read(name)
