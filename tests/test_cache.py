import io
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from genmodels import cache


def test_a_change_is_told_by_what_changed():
    before = {"vae.py": "1", "setting epochs": 13, "setting sizes": (5, 6), "keras": "3.1"}
    after = {"vae.py": "2", "setting epochs": 14, "setting sizes": [5, 6], "data.py": "3", "keras": "3.1"}
    assert cache.changes(before, after, "noon") == "data.py, setting epochs, vae.py changed since noon"
    assert cache.changes(before, before, "noon") == ""


def test_an_archive_of_something_else_than_arrays_is_refused():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(ValueError, match=r"notes\.txt is no array"):
        cache.unpacked(content.getvalue())


def test_replacing_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "numbers.json"
    cache.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), cache.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert cache.read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "cache"] == ["numbers.json"]


def test_what_a_killed_process_left_is_swept_by_the_next_write_and_nothing_else(tmp_path):
    folder = tmp_path / "numbers"
    code = "import os, sys; from genmodels import cache\n"
    code += (
        "with cache.replacing(sys.argv[1] + '/a.json') as new:\n    new.write_text('half'); print('x', flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    living = subprocess.Popen(
        [*command[:2], code + "    input()", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    living.stdout.readline()
    subprocess.run([*command[:2], code + "    os._exit(9)", str(folder)], check=False)
    assert len(list(folder.glob(".new-*"))) == 2
    (folder / ".new-process-0123abcd-x").mkdir()  # of a process with another cache
    cache.write_json(folder / "b.json", {})
    assert len(list(folder.glob(".new-*"))) == 2
    living.communicate(b"\n")
    assert sorted(path.name for path in folder.iterdir()) == [".new-process-0123abcd-x", "a.json", "b.json"]


def test_who_waits_for_another_process_says_so(capsys):
    with cache.lock("gan"):
        waiting = threading.Thread(target=lambda: cache.lock("gan").__enter__())
        waiting.start()
        time.sleep(1.5)
    waiting.join(10)
    assert capsys.readouterr().err == "waiting for gan, which another process is making\n"


def test_a_write_that_fails_is_named_with_its_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(cache.FaultError, match=r"writing .*numbers\.json: .*; change the rights to it"):
        cache.write_json(tmp_path / "file" / "numbers.json", {})


@pytest.mark.parametrize(
    ("value", "shape", "why"),
    [
        ({"a": 1}, {"a": int}, ""),
        ({"a": 1, "b": "x"}, {"a": int}, ""),
        ({"a": "1"}, {"a": int}, "a is '1'"),
        ({}, {"a": int}, "it lacks a"),
        ({}, {"a?": int}, ""),
        ({"a": []}, {"a?": int}, "a is []"),
        ({"x": {"y": 5}}, {...: {...: dict}}, "x.y is 5"),
        ([{"a": [1, "2"]}], [{"a": (str, [int])}], "0.a is [1, '2']"),
        ([{"a": "b"}], [{"a": (str, [int])}], ""),
        ([1], {}, "it is [1]"),
    ],
)
def test_another_structure_is_named_by_its_place(value, shape, why):
    assert cache.misfit(value, shape) == why


def test_cache_folder_can_be_chosen_and_defaults_to_the_checkout(monkeypatch, tmp_path):
    assert cache.directory() == tmp_path / "cache"
    monkeypatch.delenv("GENMODELS_CACHE")
    assert cache.directory() == Path(cache.data.checkout()) / ".cache" / "genmodels"
    monkeypatch.setattr(cache.data, "checkout", lambda: None)
    assert cache.directory().name == "genmodels" and ".cache/genmodels" in cache.directory().as_posix()
