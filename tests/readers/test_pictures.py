"""Folders of pictures that people bring: decoded as any viewer shows them, or refused by the name of the picture."""

import errno
import os
import shutil
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmodels import config
from genmodels.datasets import Dataset, DatasetError
from genmodels.readers import pictures

CASES = Path(__file__).parents[1] / "cases" / "folder"
WHOLE = {"validation_share": 0, "test_share": 0}


def grey(value, height=6, width=5):
    return Image.fromarray(np.full((height, width), value, "uint8"))


@pytest.fixture
def put(tmp_path):
    """Call it with a name and a picture, bytes or text, to put a file in the folder that it returns."""
    folder = tmp_path / "obrazy ąęś"

    def put(name="", content=None, **options):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Image.Image):
            content.save(path, **options)
        elif content is not None:
            path.write_bytes(content)
        elif name:
            path.mkdir(exist_ok=True)
        return folder

    folder.mkdir()
    return put


def values(folder, **options):
    """Return the mean of each picture, 0 to 255, in the order of the data set."""
    found = Dataset.from_folder(folder, **WHOLE, **options)
    return (
        np.rint(255 * found.train.images.mean(axis=(1, 2)))
        .astype(int)
        .squeeze(axis=-1 if found.image_shape[2] == 1 else ())
    )


def test_class_folders_become_classes_in_the_order_of_people(put):
    for name, value in {"10/a.png": 10, "9/b.png": 9, "9/a10.png": 8, "9/a9.png": 7, "kot/x.png": 11}.items():
        folder = put(name, grey(value))
    found = Dataset.from_folder(folder, **WHOLE)
    assert found.class_names == ("9", "10", "kot") and found.name == "obrazy ąęś"
    assert found.train.labels.tolist() == [0, 0, 0, 1, 2] and values(folder).tolist() == [7, 8, 9, 10, 11]
    assert found.image_shape == (6, 5, 1) and isinstance(found.train.stored, np.memmap)


def test_a_flat_folder_has_no_labels(put):
    for index in range(12):
        folder = put(f"{index}.png", grey(index))
    assert values(folder).tolist() == [*range(12)]
    assert Dataset.from_folder(folder).num_classes == 0


def test_folders_named_train_val_and_test_are_the_splits(put):
    for part, count in (("Train", 4), ("val", 2), ("test", 3)):
        for label in ("kot", "pies"):
            for index in range(count):
                folder = put(f"{part}/{label}/{index}.png", grey(count))
    found = Dataset.from_folder(folder)
    assert [len(split) for split in (found.train, found.validation, found.test)] == [8, 4, 6]
    assert found.class_names == ("kot", "pies") and found.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.unique(np.rint(255 * found.test.images)) == 3 and np.unique(np.rint(255 * found.train.images)) == 4


def test_pictures_in_deeper_folders_belong_to_their_class(put):
    put("kot/czarne/1.png", grey(1))
    folder = put("kot/rude/2.png", grey(2))
    assert Dataset.from_folder(folder, **WHOLE).class_names == ("kot",)
    assert values(folder).tolist() == [1, 2]


def in_mode(mode):
    """Return a picture of value 100 in a mode of Pillow, and options to save it."""
    if mode == "16 bits":
        return Image.fromarray(np.full((6, 5), 100 * 257, "uint16")), {}
    if mode == "grey with a transparent value":
        return grey(100), {"transparency": 7}
    if mode == "grey palette":
        return grey(100).convert("P"), {}
    if mode == "a camera on its side":
        exif = Image.Exif()
        exif[0x0112] = 6
        return grey(100, 5, 6), {"exif": exif}
    return grey(100).convert(mode), {}


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("L", "png"),
        ("L", "PNG"),
        ("L", "bmp"),
        ("L", "gif"),
        ("L", "tiff"),
        ("L", "pgm"),
        ("RGB", "png"),
        ("RGB", "Jpeg"),
        ("RGB", "webp"),
        ("LA", "png"),
        ("RGBA", "png"),
        ("CMYK", "jpg"),
        ("I;16", "png"),
        ("16 bits", "png"),
        ("16 bits", "tif"),
        ("grey palette", "png"),
        ("grey with a transparent value", "png"),
        ("a camera on its side", "jpg"),
    ],
)
def test_a_picture_in_this_mode_is_seen_as_grey(put, mode, suffix):
    if mode == "I;16":
        image, options = Image.fromarray(np.full((6, 5), 25700, "uint16")), {}
    else:
        image, options = in_mode(mode)
    folder = put(f"a.{suffix}", image, **options)
    found = Dataset.from_folder(folder, **WHOLE)
    assert found.image_shape == (6, 5, 1)
    assert np.abs(255 * found.train.images - 100).max() <= 1.01


def test_black_and_white_pictures_stay_so(put):
    folder = put("a.png", Image.fromarray(np.eye(5, dtype=bool)))
    assert np.array_equal(Dataset.from_folder(folder, **WHOLE).train.images[0, ..., 0], np.eye(5))


def test_colours_of_a_palette_and_of_cmyk_are_seen(put):
    red = Image.new("RGB", (5, 6), (255, 0, 0))
    put("a.png", red.convert("P", palette=Image.Palette.ADAPTIVE))
    put("b.tif", red.convert("CMYK"))
    found = values(put("c.png", red))
    assert found.tolist() == [[255, 0, 0]] * 3


def test_transparent_pictures_lie_on_the_background_that_was_asked_for(put):
    clear = Image.new("RGBA", (5, 6), (0, 0, 0, 0))
    half = Image.new("RGBA", (5, 6), (0, 0, 0, 128))
    put("a.png", clear)
    folder = put("b.png", half)
    assert values(folder).tolist() == [255, 127]
    assert values(folder, background="black").tolist() == [0, 0]
    assert values(folder, background="#0080ff")[0].tolist() == [0, 128, 255]
    palette = put("c.gif", clear)
    assert values(palette)[2] == 255


def test_grey_pictures_among_coloured_ones_get_three_channels_and_that_is_said(put):
    put("a.png", grey(100))
    folder = put("b.png", Image.new("RGB", (5, 6), (10, 20, 30)))
    with pytest.warns(
        UserWarning, match=r"b\.png: in colour, but 1 pictures before it are grey; .*channels=1 makes all"
    ):
        assert values(folder).tolist() == [[100] * 3, [10, 20, 30]]
    assert values(folder, channels=1).tolist() == [100, 18]  # 0.299, 0.587 and 0.114 of the colours


def test_pictures_are_resized_when_that_is_asked_for(put):
    put("a.png", grey(50, 40, 20))
    folder = put("b.png", grey(60))
    with pytest.raises(
        DatasetError, match=r"png: expected \d+x\d+ pixels as 1 of 2 pictures have, got .*; size=\(\d+, \d"
    ):
        Dataset.from_folder(folder)
    assert Dataset.from_folder(folder, size=(8, 10), **WHOLE).image_shape == (8, 10, 1)
    assert values(folder, size=(8, 10)).tolist() == [50, 60]


def test_the_first_picture_of_another_size_is_named():
    with (
        pytest.warns(UserWarning),
        pytest.raises(DatasetError, match=r"truncated\.png: expected a picture that Pillow can"),
    ):
        Dataset.from_folder(CASES, size=(28, 28))


@pytest.mark.filterwarnings("ignore")
def test_the_size_of_most_is_expected_of_all(tmp_path):
    shutil.copytree(CASES, tmp_path / "cases")
    (tmp_path / "cases" / "c" / "truncated.png").unlink()
    with pytest.raises(
        DatasetError, match=r"c/other_size\.png: expected 28x28 pixels as 12 of 13 .*, got 30x30; size=\(28"
    ):
        Dataset.from_folder(tmp_path / "cases")


def png(image):
    import io

    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50), "uint8"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("text.jpg", b"not a picture"),
        ("cut.png", png(NOISE)[:500]),
        ("damaged.png", png(NOISE)[:500] + b"xxxx" + png(NOISE)[504:]),
        ("head.gif", b"GIF89a"),
        ("page.webp", b"<!DOCTYPE html><html></html>"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named(put, name, content):
    put("a.png", NOISE)
    with pytest.raises(
        DatasetError, match=f"{name}: expected a picture that Pillow can read, got .*; replace or remove"
    ):
        Dataset.from_folder(put(name, content), **WHOLE)
    assert not list((config.cache_folder() / "datasets").glob("*"))  # nothing half written


def test_a_picture_of_floats_is_refused(put):
    folder = put("a.tif", Image.fromarray(np.full((6, 5), 0.5, "float32")))
    with pytest.raises(DatasetError, match=r"a\.tif: .*32-bit floats, which have no agreed white; save the arrays"):
        Dataset.from_folder(folder)


def test_other_files_are_left_out_and_that_is_said_once(put, recwarn):
    for name in ("notes.txt", ".DS_Store", "a/Thumbs.db", "a/.hidden.png", "a/1.png.part"):
        put(name, b"x")
    put("__MACOSX/a/1.png", grey(1))
    put(".ipynb_checkpoints/1.png", grey(2))
    put("beside.png", grey(3))
    put("empty")
    folder = put("a/1.png", grey(4))
    assert values(folder).tolist() == [4]
    told = [str(warning.message) for warning in recwarn]
    assert len(told) == 2 and "no picture in empty, so it is no class" in told[0]
    assert "6 files are left out, as no pictures of a class" in told[1]


def test_links_are_followed_but_not_in_circles(put, tmp_path):
    folder = put("a/1.png", grey(1))
    outside = tmp_path / "outside.png"
    grey(2).save(outside)
    (folder / "a" / "2.png").symlink_to(outside)
    (folder / "b").symlink_to(folder / "a")
    (folder / "a" / "circle").symlink_to(folder / "a")
    (folder / "a" / "broken.png").symlink_to(tmp_path / "gone.png")
    with pytest.warns(UserWarning, match=r"2 files are left out.*broken\.png"):
        found = Dataset.from_folder(folder, **WHOLE)
    assert found.class_names == ("a", "b") and len(found.train) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "gone: expected a folder of pictures, got nothing there; check the path"),
        ("file", "file: expected a folder of pictures, got a file there"),
        ("none", r"none: expected pictures \(\.png, \.jpg, .*\) in it or in one folder for each class, got none"),
    ],
)
def test_a_place_without_pictures_is_refused(tmp_path, name, message):
    (tmp_path / "file").touch()
    (tmp_path / "none" / "a").mkdir(parents=True)
    with pytest.raises(DatasetError, match=message):
        Dataset.from_folder(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 5)}, r"size\[0\] must be a whole number >= 1, got 0"),
        ({"size": (5, 5, 3)}, r"size: expected \(height, width\), got \(5, 5, 3\)"),
        ({"size": 28}, r"size: expected \(height, width\), got 28"),
        ({"channels": 4}, "channels: expected 1 for grey or 3 for colour, got 4"),
        ({"background": "biel"}, "background: expected a colour such as .*got 'biel'"),
        ({"background": None}, "background: expected a colour such as .*got None"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(put, options, message):
    with pytest.raises(ValueError, match=message):
        Dataset.from_folder(put("a.png", grey(1)), **options)


def test_names_are_text_in_one_form_whatever_the_system_writes(put):
    folder = put(unicodedata.normalize("NFD", "żółw") + "/1.png", grey(1))
    assert Dataset.from_folder(folder, **WHOLE).class_names == ("żółw",)


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_names_that_are_no_text_are_shown_by_their_bytes(put):
    folder = put("a.png", grey(1))
    odd = os.fsencode(folder) + b"/\xb1.png"
    with open(odd, "wb") as file:
        file.write(b"")
    with pytest.raises(DatasetError, match=r"\\xb1\.png: expected a picture") as refused:
        Dataset.from_folder(folder)
    assert str(refused.value).encode()


def test_decoded_pictures_are_used_again_until_one_changes(put, monkeypatch):
    put("a/1.png", grey(1))
    folder = put("b/2.png", grey(2))
    first = Dataset.from_folder(folder, **WHOLE)
    monkeypatch.setattr(pictures, "_decode", None)  # would fail
    again = Dataset.from_folder(folder, **WHOLE)
    assert np.array_equal(again.train.images, first.train.images) and again.digest == first.digest
    monkeypatch.undo()
    put("b/2.png", grey(3))
    assert values(folder).tolist() == [1, 3]


def test_a_damaged_file_of_the_cache_is_made_anew(put):
    folder = put("a.png", grey(1))
    before = values(folder)
    (cached,) = (config.cache_folder() / "datasets").glob("*.npy")
    cached.write_bytes(cached.read_bytes()[:-5])
    assert np.array_equal(values(folder), before)


def test_a_full_disk_is_one_line_with_the_remedy(put, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DatasetError, match=r"expected to write decoded pictures, got No space left .*GENMODELS_CACHE"):
        Dataset.from_folder(put("a.png", grey(1)), **WHOLE)


def test_pictures_are_never_all_in_memory(put, monkeypatch):
    monkeypatch.setattr("genmodels.readers.arrays.CHUNK", 2**18)
    for index in range(150):
        folder = put(f"{index}.bmp", Image.fromarray(np.full((200, 200, 3), index, "uint8")))
    tracemalloc.start()
    try:
        found = Dataset.from_folder(folder)
        found.train.batch(np.arange(10))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150 * 200 * 200 // 2 and found.train.batch([4]).shape == (1, 200, 200, 1)
