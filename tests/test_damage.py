"""Whatever is kept: bytes flipped, cut off, emptied, swapped are found or change no result."""

import dataclasses
import io
import json
import shutil
import zipfile
from functools import lru_cache

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

from conftest import replace_in
from genmodels import cache, drift, experiments, notebooks, report, store, study


def damaged(content, kind, rng, other=b"{}"):
    """Bytes with damage of one kind at a random place."""
    place = int(rng.integers(len(content)))
    if kind == "flipped":
        return content[:place] + bytes([content[place] ^ (1 << int(rng.integers(8)))]) + content[place + 1 :]
    return {"cut off": content[:place], "emptied": b"", "swapped": other}[kind]


KINDS = ("flipped", "cut off", "emptied", "swapped")
# How often each file is damaged in each way: more often where there are more places.
TIMES = {"flipped": 8, "cut off": 4, "emptied": 1, "swapped": 1}


BASE = dataclasses.replace(experiments.RUNS["vae_kl"], options={"hidden_units": (4,), "waves": 0})
SMALL = (BASE, dataclasses.replace(BASE, seed=2))


@lru_cache
def models():
    """What training the two small runs gives, {seed: (model, history)}."""
    return {run.seed: (experiments.train(run)[0], {"loss": [float(run.seed)]}) for run in SMALL}


@pytest.fixture
def two_runs(smoke, monkeypatch):
    """Two small runs in the cache, and the seeds of those that were trained again, without doing it."""
    counted, made = [], models()

    def train(run, *_, **__):
        counted.append(run.seed)
        return made[run.seed]

    monkeypatch.setattr(experiments, "train", train)
    for run in SMALL:
        experiments.trained(run)
    counted.clear()
    return SMALL, counted


def weights(done):
    return [weight.tobytes() for weight in done.model.get_weights()]


@pytest.mark.parametrize("file", ["model.keras", "training.json", "parts.json", "sums.json"])
def test_a_damaged_run_is_found_set_aside_and_made_anew(two_runs, file, rng, capsys):
    (run, other), trained = two_runs
    home = experiments.folder(run)
    right, good = weights(experiments.trained(run)), (home / file).read_bytes()
    for kind in KINDS:
        for _ in range(TIMES[kind]):
            good, before = (home / file).read_bytes(), len(trained)
            (home / file).write_bytes(damaged(good, kind, rng, (experiments.folder(other) / file).read_bytes()))
            harmless = file == "sums.json" and experiments.is_trained(run)  # white space
            if not harmless and (home / file).read_bytes() != good:
                assert not experiments.is_trained(run) and experiments.why_stale(run).startswith("damaged: ")
            done = experiments.trained(run)
            assert weights(done) == right and done.history == {"loss": [1.0]}
            said = capsys.readouterr().err
            if len(trained) > before:
                assert f"{home.name} is damaged (" in said and said.count("\n") == 1
    asides = list((cache.directory() / "damaged").iterdir())
    assert len(asides) == len(trained) >= sum(TIMES.values()) - 3


def test_a_half_missing_or_foreign_run_is_found(two_runs, capsys):
    (run, other), trained = two_runs
    home, right = experiments.folder(run), weights(experiments.trained(run))
    for file in sorted(path.name for path in home.iterdir()):
        (home / file).unlink()
        assert weights(experiments.trained(run)) == right
    shutil.rmtree(home)
    shutil.copytree(experiments.folder(other), home)
    assert not experiments.is_trained(run) and weights(experiments.trained(run)) == right
    (home / "more.txt").write_text("what is that?")
    assert weights(experiments.trained(run)) == right and len(trained) == 6
    assert not any(path.name.startswith(".") for path in home.parent.iterdir())


def repacked(change):
    def apply(path):
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in change(files).items():
                archive.writestr(name, content)

    return apply


def displaced(path):
    """Says that the archive begins before its file: found by fuzzing, reading there is an error of the system."""
    content = bytearray(path.read_bytes())
    assert content[-22:-18] == b"PK\x05\x06"  # the record at the end, without a comment
    directory = int.from_bytes(content[-6:-2], "little")
    content[-6:-2] = (directory + len(content)).to_bytes(4, "little")
    path.write_bytes(content)


def configured(change):
    def apply(files):
        config = json.loads(files["config.json"])
        change(config)
        return {**files, "config.json": json.dumps(config)}

    return apply


CODE = keras.layers.Lambda(lambda x: x)
REPACKED = {
    "a lambda layer": configured(
        lambda config: (config.clear(), config.update(keras.saving.serialize_keras_object(CODE)))
    ),
    "a class of the system": configured(lambda config: config.update(module="os", class_name="system")),
    "an unknown class": configured(lambda config: config.update(registered_name="Evil", class_name="Evil")),
    "no JSON": lambda files: {**files, "config.json": b"\xff"},
    "deep nesting": lambda files: {**files, "config.json": "[" * 100_000},
    "a path upwards": lambda files: {**files, "../../evil.txt": b"evil"},
    "a zip bomb": lambda files: {**files, "config.json": b" " * 10**6},
    "weights of nothing": lambda files: {**files, "model.weights.h5": b""},
    "no weights": lambda files: {name: files[name] for name in files if name != "model.weights.h5"},
}
HOSTILE = {**{what: repacked(change) for what, change in REPACKED.items()}, "files before its beginning": displaced}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_model_is_set_aside_whatever_its_checksum_says(two_runs, what, capsys):
    (run, _), trained = two_runs
    home, right = experiments.folder(run), weights(experiments.trained(run))
    HOSTILE[what](home / "model.keras")
    cache.write_json(home / "sums.json", store.sums(home, home.name))  # as somebody would who means harm
    assert experiments.is_trained(run)
    assert weights(experiments.trained(run)) == right and trained == [1]
    assert "is damaged (model.keras: " in capsys.readouterr().err
    assert not list(cache.directory().parent.rglob("evil*"))


def test_damaged_scores_stamps_and_checkpoints_are_found(smoke, rng, capsys):
    files = {}
    for kind, value in (("scores", {"accuracy": 0.5}), ("stamps", {"commit": None}), ("stamps-draft", {"a": "ą"})):
        for name in ("first", "second"):
            path = cache.directory() / kind / f"{name}.json"
            cache.write_json(path, {**value, "name": name})
            files[path] = lambda path=path: cache.read_json(path, {})
    for name in ("first", "second"):
        path = cache.directory() / "unfinished" / f"{name}.npz"
        cache.write_arrays(path, {"a": np.arange(5) + len(name), "seconds": np.array(1.5)})
        files[path] = lambda path=path: cache.read_arrays(path)
    other, count = None, 0
    for path, read in files.items():
        good = path.read_bytes()
        for kind in KINDS:
            for _ in range(TIMES[kind]):
                if kind == "swapped" and other is None:
                    continue
                path.write_bytes(damaged(good, kind, rng, other))
                if path.read_bytes() == good:
                    continue
                count += 1
                assert not read() and not path.exists()
                assert f"{path.name} is damaged (" in capsys.readouterr().err
        path.write_bytes(good)
        assert read()
        other = good
    assert count >= 100
    path = next(iter(files))
    path.write_bytes(b"")
    with pytest.raises(cache.CacheError, match="expected what was kept there, got a damaged file; try again"):
        cache.read_json(path)


def test_the_study_scores_anew_what_is_damaged(smoke, monkeypatch, checkout, capsys):
    monkeypatch.setattr(study, "compute", lambda run, split: {"accuracy": 0.5})
    first = study.score("judge", "test")
    (path,) = (cache.directory() / "scores").iterdir()
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.9"))
    monkeypatch.setattr(study, "train_and_score", lambda jobs: {"test": study.score("judge", "test")})
    study.make(jobs=1)
    assert cache.read_json(report.study_path()) == {"test": first}
    assert f"{path.name} is damaged" in capsys.readouterr().err


def saved(content, **options):
    stored = io.BytesIO()
    np.savez(stored, **content, **options)
    return stored.getvalue()


def archive(change):
    """An archive of one array, with a change in the bytes of that."""
    array, stored = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(array, np.zeros(3))
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", change(array.getvalue()))
    return stored.getvalue()


HOSTILE_ARRAYS = {
    "objects": saved({"a": np.array([{}], dtype=object)}),
    "a huge shape": archive(lambda array: array.replace(b"(3,)", b"(99999999999999,)")),
    "a shape that is code": archive(lambda array: array.replace(b"(3,)", b"(exit(),)")),
    "a zip bomb": archive(lambda array: array + bytes(2**21)),
    "half of it": saved({"a": np.zeros(3)})[:100],
    "text": b"[]",
}


@pytest.mark.parametrize("what", HOSTILE_ARRAYS)
def test_hostile_arrays_are_set_aside_whatever_their_seal_says(what, capsys, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST", 2**20)
    path, content = cache.directory() / "unfinished" / "run.npz", HOSTILE_ARRAYS[what]
    path.parent.mkdir(parents=True)
    path.write_bytes(cache._seal(path, content) + content)
    assert cache.read_arrays(path) is None and not path.exists()
    assert "run.npz is damaged (expected arrays, got an unreadable archive: " in capsys.readouterr().err


@pytest.mark.parametrize("file", ["metrics.json", "provenance.json", "study.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JSON, got something else"),
        (b"\xff\xfe{}", "expected JSON, got something else"),
        (b"[" * 100_000, "expected JSON, got something else"),
        (b'{"zadanie_1": ' + b"9" * 5_000 + b"}", "expected JSON, got something else"),
        (b"[1, 2]", r"expected another structure, got JSON where it is \[1, 2\]"),
        (b'{"study": 5, "zadanie_1": 5, "test": 5}', "expected another structure, got JSON where .* is 5"),
        (
            b'{"study": {}, "zadanie_1": {"scores": {"ae": 1}}, "test": {"ae": {"mse": 1}}}',
            "expected another structure",
        ),
    ],
)
def test_a_generated_file_that_is_none_is_named_in_one_line(checkout, file, content, message):
    from genmodels import document

    (report.output() / file).write_bytes(content)
    with pytest.raises(cache.CacheError, match=rf"{file}: {message}.*; restore or delete") as stopped:
        document.build()
    assert "\n" not in str(stopped.value)[:-1]


def test_damage_of_what_the_report_is_made_from_stops_the_build(checkout, rng):
    """Each file that a notebook or the study left, damaged at random places: named, or read as the same."""
    from genmodels import document

    folder = report.output()
    assert list(document.foreign()) == []
    names = ["metrics.json", "study.json", "provenance.json", "cover.png", "cover.npz", "grid_ae.png", "grid_ae.npz"]
    provenance = cache.read_json(notebooks.provenance_path())
    for name in names:
        good, other = (folder / name).read_bytes(), (folder / "kl_forms.npz").read_bytes()
        for kind in KINDS:
            for _ in range(TIMES[kind] // 2 or 1):
                (folder / name).write_bytes(damaged(good, kind, rng, other))
                try:
                    found = list(document.foreign())
                except cache.CacheError as error:
                    found = [str(error)]
                if name == "provenance.json" and not found:  # what it says beside sums is compared with the stamps
                    stamps = [cache.read_json(notebooks.provenance_path())[of] == provenance[of] for of in provenance]
                    found = [] if all(stamps) else ["not made here"]
                if not found:
                    now = (folder / name).read_bytes()
                    assert now == good or json.loads(now) == json.loads(good), (name, kind)
                assert all("\n" not in text for text in found)
        (folder / name).write_bytes(good)


def test_pictures_and_arrays_that_cannot_be_read_are_named_by_diff(checkout, monkeypatch, tmp_path):
    report.save(Figure(), "cover.png")
    before = tmp_path / "before" / "cover.png"
    before.parent.mkdir()
    for ending in (".png", ".npz"):
        shutil.copy(report.output() / f"cover{ending}", before.with_suffix(ending))
    for content in (b"", b"\x89PNG\r\n\x1a\nhalf", b"text"):
        before.write_bytes(content)
        with pytest.raises(report.ReportError, match=r"cover\.png: expected two pictures, got: .*make report"):
            drift.figure_change(before, report.output() / "cover.png")
    before.with_suffix(".npz").write_bytes(saved({"a": np.array([{}], dtype=object)}))
    with pytest.raises(
        report.ReportError, match=r"cover\.npz: expected arrays, got an unreadable archive: .*make report"
    ):
        drift.figure_change(before, report.output() / "cover.png")


@pytest.mark.parametrize(
    ("old", "new"), [('"cells"', '"cell"'), ('"cell_type"', '"type"'), ('"source": [', '"source": [7, '), ("{", "[")]
)
def test_a_notebook_that_is_none_is_named(checkout, old, new):
    name = report.NOTEBOOKS[0]
    replace_in(notebooks.path(name), old, new)
    with pytest.raises(cache.CacheError, match=rf"{name}\.ipynb: expected "):
        notebooks.results(name)
