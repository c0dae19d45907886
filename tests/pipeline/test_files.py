import io
import os
import re
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest

from genmodels import config
from genmodels.pipeline import files

# Begins to write a file, says so, and waits for a line of input; an empty one kills it.
WRITER = """
import os, sys
from genmodels.pipeline import files
with files.replacing(sys.argv[1]) as new:
    new.write_text('"theirs"')
    print("writing", flush=True)
    if not input():
        os._exit(9)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder to write to, apart from the cache, which has locks of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def writer(path):
    """A process that is in the middle of writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    return process


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_replacing_keeps_the_old_file_when_writing_fails(folder):
    path = folder / "numbers.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"a": 1} and names(folder) == ["numbers.json"]


def test_the_next_write_removes_what_a_killed_writer_of_the_same_path_left(folder):
    writer(folder / "a.json").communicate("\n")
    (left,) = names(folder)
    assert left.startswith(".new-a.json-")
    files.write_json(folder / "a.json", "ours")
    assert names(folder) == ["a.json"]


def test_a_write_touches_nothing_else_in_the_folder(folder):
    writer(folder / "b.json").communicate("\n")
    (folder / ".new-idea.txt").write_text("of a person")
    before = names(folder)
    files.write_json(folder / "a.json", {})
    assert names(folder) == sorted([*before, "a.json"]) and len(before) == 2


def test_a_write_waits_for_a_living_writer_of_the_same_path(folder, capsys):
    living = writer(folder / "a.json")
    (theirs,) = names(folder)
    ours = threading.Thread(target=files.write_json, args=(folder / "a.json", "ours"))
    ours.start()
    ours.join(1.5)
    assert ours.is_alive() and names(folder) == [theirs]
    living.communicate("go on\n")
    ours.join(60)
    assert files.read_json(folder / "a.json") == "ours" and names(folder) == ["a.json"]
    waiting = r"waiting for a\.json-[0-9a-f]+, which another process is making\n"
    assert re.fullmatch(waiting, capsys.readouterr().err)


def test_a_write_does_not_wait_for_writers_of_other_paths(folder):
    living = writer(folder / "b.json")
    files.write_json(folder / "a.json", "ours")
    assert files.read_json(folder / "a.json") == "ours"
    living.communicate("go on\n")
    assert files.read_json(folder / "b.json") == "theirs"


def test_sections_that_several_threads_put_into_a_file_all_stay(folder):
    path, many = folder / "numbers.json", [f"section {number}" for number in range(8)]
    threads = [threading.Thread(target=files.put, args=(path, section, {"x": 1})) for section in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.read_json(path) == {section: {"x": 1} for section in many}


def test_a_symbolic_link_stays_and_its_target_is_written(folder):
    (folder / "real").mkdir()
    (folder / "real" / "a.json").write_text("old")
    (folder / "link.json").symlink_to(folder / "real" / "a.json")
    files.write_json(folder / "link.json", "new")
    assert (folder / "link.json").is_symlink() and names(folder) == ["link.json", "real"]
    assert files.read_json(folder / "real" / "a.json") == "new" and names(folder / "real") == ["a.json"]


def test_a_link_whose_target_is_missing_creates_it(folder):
    (folder / "link.json").symlink_to("a.json")
    files.write_json(folder / "link.json", "new")
    assert (folder / "link.json").is_symlink() and files.read_json(folder / "a.json") == "new"


def test_an_existing_file_keeps_its_mode_and_a_new_one_has_that_of_the_umask(folder):
    before = os.umask(0o027)
    try:
        files.write_json(folder / "a.json", "old")
        assert (folder / "a.json").stat().st_mode & 0o777 == 0o640
        (folder / "a.json").chmod(0o604)
        files.write_json(folder / "a.json", "new")
        assert (folder / "a.json").stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_receives_the_content_and_stays(folder):
    os.mkfifo(folder / "pipe")
    reader = subprocess.Popen(["cat", str(folder / "pipe")], stdout=subprocess.PIPE)
    files.write_json(folder / "pipe", "new")
    assert reader.communicate(timeout=60)[0] == b'"new"\n'
    assert (folder / "pipe").is_fifo() and names(folder) == ["pipe"]


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="this system has no /dev/stdout")
def test_standard_output_receives_the_content_be_it_a_pipe_or_a_file(folder):
    code = "from genmodels.pipeline import files; files.write_json('/dev/stdout', 'new')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b'"new"\n'
    (folder / "all.json").write_text("before\n")
    with (folder / "all.json").open("a") as output:  # as `>> all.json` in a shell
        subprocess.run([sys.executable, "-c", code], stdout=output, check=True)
    assert (folder / "all.json").read_text() == 'before\n"new"\n' and names(folder) == ["all.json"]


def test_a_device_is_written_to(folder):
    files.write_json(os.devnull, "new")
    assert not os.path.isfile(os.devnull)


def test_who_waits_for_another_process_says_so(capsys):
    def wait():
        with files.lock("gan"):
            pass

    with files.lock("gan"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(1.5)
    waiting.join(10)
    assert capsys.readouterr().err == "waiting for gan, which another process is making\n"


def test_a_write_that_fails_is_named_with_its_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(files.ResourceError, match=r"writing .*numbers\.json: .*; change the rights to it"):
        files.write_json(tmp_path / "file" / "numbers.json", {})


def test_numbers_that_json_has_no_words_for_are_refused(folder):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(folder / "numbers.json", {"loss": float("nan")})
    assert names(folder) == []


NUMBERS = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"type": "array"}}}


@pytest.mark.parametrize("value", [{"a": 1}, {"a": 1, "b": [2]}, {"a": 1, "c": "x"}])
def test_json_that_fits_a_schema_is_returned(folder, value):
    files.write_json(folder / "numbers.json", value)
    assert files.read_json(folder / "numbers.json", schema=NUMBERS) == value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1], "data must be object"),
        ({}, r"data must contain \['a'\] properties"),
        ({"a": "1"}, r"data\.a must be integer"),
        ({"a": 1, "b": {}}, r"data\.b must be array"),
    ],
)
def test_another_structure_is_named_by_its_place(folder, value, why):
    path = folder / "numbers.json"
    files.write_json(path, value)
    message = rf"numbers\.json: expected another structure, got JSON where {why}; restore or delete /"
    with pytest.raises(files.FileError, match=message):
        files.read_json(path, schema=NUMBERS)


def test_a_missing_json_file_is_the_default(folder):
    assert files.read_json(folder / "numbers.json", {"a": 1}, NUMBERS) == {"a": 1}


def test_arrays_in_the_cache_come_back_as_they_were(folder):
    arrays = {"a": np.arange(3), "text": np.array("ąę"), "none": np.zeros((0, 2), "float32")}
    files.save_arrays(folder / "run.npz", arrays)
    found = files.load_arrays(folder / "run.npz")
    assert found.keys() == arrays.keys()
    assert all(found[name].dtype == arrays[name].dtype for name in arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_json_in_the_cache_comes_back_as_it_was(folder):
    files.save_json(folder / "scores.json", {"ą": [1, 0.1, None]})
    assert files.load_json(folder / "scores.json") == {"ą": [1, 0.1, None]}


def test_what_the_cache_lacks_is_none(folder, capsys):
    assert files.load_json(folder / "scores.json") is None and files.load_arrays(folder / "run.npz") is None
    assert capsys.readouterr().err == ""


def saved(**arrays):
    """The bytes of an .npz file."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def archive(name, text):
    """The bytes of a ZIP file with one text."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, text)
    return content.getvalue()


NO_ARRAYS = {
    "objects": (saved(a=np.array([{}], dtype=object)), "Object arrays cannot be loaded"),
    "half of it": (saved(a=np.zeros(3))[:100], ""),
    "text": (b"[]", ""),
    "an archive of text": (archive("notes.txt", "no array"), r"notes\.txt is no array"),
}


@pytest.mark.parametrize("what", NO_ARRAYS)
def test_something_else_than_arrays_is_refused_and_not_run(what):
    content, why = NO_ARRAYS[what]
    with pytest.raises(ValueError, match=f"expected arrays, got an unreadable archive: .*{why}"):
        files.arrays_in(content)


def test_cache_folder_can_be_chosen_and_defaults_to_the_checkout(monkeypatch, tmp_path):
    assert config.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GENMODELS_CACHE")
    assert config.cache_folder() == config.checkout() / ".cache" / "genmodels"
    monkeypatch.setattr(config, "checkout", lambda: None)
    assert config.cache_folder().name == "genmodels" and ".cache/genmodels" in config.cache_folder().as_posix()
