"""Labels of many kinds: each becomes whole numbers from 0 with names, or is refused in one line."""

import numpy as np
import pytest

from genmodels.datasets import Dataset, DatasetError
from genmodels.readers.labels import cut, natural

IMAGES = np.zeros((6, 4, 4))
SIX = np.array([0, 1, 2, 0, 1, 2])


def read(labels, **options):
    found = Dataset.from_arrays(IMAGES, labels, validation_share=0, test_share=0, **options)
    assert found.train.labels.dtype == np.int32 and found.num_classes == len(found.class_names)
    return found.train.labels.tolist(), found.class_names


KINDS = {
    "from 0": (SIX, {}, SIX, "012"),
    "a list": (SIX.tolist(), {}, SIX, "012"),
    "a column": (SIX[:, None], {}, SIX, "012"),
    "whole floats": (SIX.astype(float), {}, SIX, "012"),
    "one-hot": (np.eye(3)[SIX], {}, SIX, "012"),
    "one-hot with an empty class": (np.eye(4, dtype=bool)[SIX], {}, SIX, "0123"),
    "true and false": (SIX > 0, {}, SIX > 0, ("False", "True")),
    "texts": (np.array(["kot", "pies", "żaba"])[SIX], {}, SIX, ("kot", "pies", "żaba")),
    "texts as objects": (np.array(["kot", "pies", "żaba"], object)[SIX], {}, SIX, ("kot", "pies", "żaba")),
    "bytes": (np.array(["kot", "pies", "żaba".encode()], "S5")[SIX], {}, SIX, ("kot", "pies", "żaba")),
    "numbers as texts": (np.array(["1", "10", "2"])[SIX], {}, [0, 2, 1] * 2, ("1", "2", "10")),
    "named": (SIX, {"class_names": list("abc")}, SIX, "abc"),
    "named, one absent": (SIX, {"class_names": list("abcd")}, SIX, "abcd"),
    "named, from 1": (SIX + 1, {"class_names": list("abc")}, SIX, "abc"),
    "texts in an order of one's own": (np.array(list("abc"))[SIX], {"class_names": list("cba")}, 2 - SIX, "cba"),
    "one class": (SIX * 0, {}, SIX * 0, "0"),
}
WITH_A_WARNING = {
    "from 1": (SIX + 1, {}, SIX, "123"),
    "with gaps": (SIX * 4, {}, SIX, "048"),
    "negative": (SIX - 1, {}, SIX, ("-1", "0", "1")),
    "floats with gaps": (SIX * 2.0, {}, SIX, "024"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_this_kind_are_read(kind, recwarn):
    labels, options, expected, names = KINDS[kind]
    assert read(labels, **options) == (list(expected), tuple(names))
    assert not recwarn.list


@pytest.mark.parametrize("kind", WITH_A_WARNING)
def test_labels_of_this_kind_are_numbered_anew_and_that_is_said(kind):
    labels, options, expected, names = WITH_A_WARNING[kind]
    with pytest.warns(UserWarning, match=f"labels from .* became 0 to {len(names) - 1}; class_names has the original"):
        assert read(labels, **options) == (list(expected), tuple(names))


REFUSED = {
    "more than images": (np.zeros(7, int), {}, "labels: expected as many labels as images, 6, got 7; check the pairs"),
    "fewer": (np.zeros(5, int), {}, "expected as many labels as images, 6, got 5"),
    "fractions": (SIX + 0.7, {}, r"expected whole numbers or texts, got 0\.7"),
    "nan": (np.where(SIX == 1, np.nan, 0.0), {}, "expected whole numbers or texts, got nan"),
    "several classes each": (np.eye(3)[SIX] + np.eye(3)[0], {}, r"one-hot rows with a single 1, got shape \(6, 3\)"),
    "soft": (np.full((6, 2), 0.5), {}, r"one-hot rows with a single 1, got shape \(6, 2\) .*argmax"),
    "columns of texts": (np.full((6, 2), "a"), {}, r"expected shape \(N,\), got \(6, 2\)"),
    "three axes": (np.zeros((6, 2, 2), int), {}, r"expected shape \(N,\), got \(6, 2, 2\)"),
    "one number": (3, {}, r"expected shape \(N,\), got \(\)"),
    "no text for one": (["a", "b", "", "a", "b", "a"], {}, "got an empty text for image 2"),
    "numbers and texts": ([1, "a", None, 1, 1, 1], {}, "expected whole numbers or texts, .*got dtype object"),
    "bytes that are no text": ([b"\xff"] * 6, {}, "expected whole numbers or texts"),
    "dates": (np.zeros(6, "datetime64[D]"), {}, "expected whole numbers or texts, .*got dtype datetime64"),
    "rows of different lengths": ([[0], [0, 1]] * 3, {}, "expected whole numbers or texts"),
    "too few names": (SIX, {"class_names": ["a", "b"]}, "expected 3 names for labels from 0 to 2, got 2"),
    "names twice": (SIX, {"class_names": ["a", "b", "a"]}, "expected different names, got a, b, a"),
    "no such name": (["a", "b", "c"] * 2, {"class_names": ["a", "b", "d"]}, "expected one of a, b, d, got 'c'"),
    "names without labels": (None, {"class_names": ["a"]}, "class_names: expected none for images without labels"),
    "each class once": (np.arange(6), {}, "more than 2 images of a class, to cut a test split, got 6 images of 6"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_labels_of_this_kind_are_refused(kind):
    labels, options, message = REFUSED[kind]
    with pytest.raises(DatasetError, match=message) as refused:
        Dataset.from_arrays(IMAGES, labels, **options)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_labels_of_all_parts_count_together_and_must_be_of_one_kind():
    found = Dataset.from_arrays(IMAGES, list("aabbaa"), test=(IMAGES[:2], ["c", "a"]))
    assert found.class_names == ("a", "b", "c") and found.test.labels.tolist() == [2, 0]
    with pytest.raises(DatasetError, match=r"^test labels: expected labels of one kind, got texts and numbers"):
        Dataset.from_arrays(IMAGES, list("aabbaa"), test=(IMAGES[:2], [0, 1]))
    with pytest.raises(DatasetError, match=r"^test images: expected labels as for the other images, got none"):
        Dataset.from_arrays(IMAGES, list("aabbaa"), test=IMAGES[:2])
    with pytest.raises(DatasetError, match=r"^images: expected labels as for the other images, got none"):
        Dataset.from_arrays(IMAGES, test=(IMAGES[:2], [0, 1]))


def test_a_class_of_one_image_is_learned_from_and_that_is_said():
    labels = np.array([0] * 10 + [1])
    with pytest.warns(UserWarning, match="too few images for each split, of the classes lis"):
        found = Dataset.from_arrays(np.zeros((11, 2, 2)), labels, class_names=["kot", "lis"])
    assert 1 in found.train.labels and 1 not in found.validation.labels and 1 not in found.test.labels


def test_classes_of_two_images_give_one_to_a_split_in_turn():
    with pytest.warns(UserWarning, match="too few images for each split"):
        rows = cut(52, np.repeat(np.arange(26), 2), {"test": 0.1, "validation": 0.1}, 0, [""] * 26)
    assert {split: len(chosen) for split, chosen in rows.items()} == {"train": 26, "test": 13, "validation": 13}


@pytest.mark.parametrize("count", [3, 10, 1000])
def test_a_cut_leaves_out_no_image_and_doubles_none(count, rng):
    labels = np.sort(rng.integers(0, 3, count)) * 0
    rows = cut(count, labels, {"test": 0.25, "validation": 0.1}, 1, ["a"])
    assert sorted(np.concatenate(list(rows.values()))) == [*range(count)]
    assert all(len(chosen) and (np.diff(chosen) > 0).all() for chosen in rows.values())


def test_names_are_sorted_as_people_do():
    assert sorted(["10", "9", "a10", "a9", "b", ""], key=natural) == ["", "9", "10", "a9", "a10", "b"]
