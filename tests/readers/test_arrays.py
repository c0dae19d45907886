"""Arrays of many kinds: each is read as it is meant, or refused in one line with the remedy."""

import numpy as np
import pytest
from PIL import Image

from genmodels.datasets import Dataset, DatasetError


def bytes_of(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, "uint8")


GREY = bytes_of(30, 6, 8)
COLOUR = bytes_of(30, 6, 8, 3)


def read(images, **options):
    """Return the images in their order, as a data set holds them."""
    return Dataset.from_arrays(images, validation_share=0, test_share=0, **options).train.images


KINDS = {
    "bytes": (GREY, {}, GREY / 255),
    "bytes in a list": (GREY.tolist(), {}, GREY / 255),
    "wide integers to 255": (GREY.astype("int64"), {}, GREY / 255),
    "16 bits": (GREY.astype("uint16") * 257, {}, GREY / 255),
    "16 bits of another machine": ((GREY.astype("uint16") * 257).astype(">u2"), {}, GREY / 255),
    "16 bits with 8 used": (GREY.astype("uint16"), {"scale": 255}, GREY / 255),
    "true and false": (GREY > 99, {}, GREY > 99),
    "zeros and ones": ((GREY > 99).astype("uint8"), {}, GREY > 99),
    "floats to 1": (GREY / 255, {}, GREY / 255),
    "half floats": ((GREY / 255).astype("float16"), {}, (GREY / 255).astype("float16")),
    "floats to 255": (GREY.astype("float32"), {"scale": 255}, GREY / 255),
    "grey levels to 16": ((GREY // 16).astype(float), {"scale": 16}, GREY // 16 / 16),
    "transposed": (GREY.swapaxes(1, 2), {"transpose": True}, GREY / 255),
    "another order in memory": (np.asfortranarray(GREY), {}, GREY / 255),
    "pictures of Pillow": ([Image.fromarray(image) for image in GREY], {}, GREY / 255),
    "every second": (GREY[::2], {}, GREY[::2] / 255),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_this_kind_are_read(kind):
    images, options, expected = KINDS[kind]
    found = read(images, **options)
    assert found.dtype == np.float32 and found.shape == (*expected.shape, 1)
    assert np.abs(found[..., 0] - expected).max() < 1e-6


def test_tensors_are_read():
    import tensorflow as tf  # not above: its threads are chosen before the first tensor

    found = Dataset.from_arrays(tf.constant(GREY), tf.constant(np.arange(30) % 3))
    assert found.num_classes == 3 and found.image_shape == (6, 8, 1)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY[..., None], GREY[..., None]),
        (GREY[:, None], GREY[..., None]),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, -1, 1), COLOUR),
        (bytes_of(5, 4, 4, 4), bytes_of(5, 4, 4, 4)),  # ambiguous: channels last wins
        (bytes_of(5, 20, 30, 12), bytes_of(5, 20, 30, 12)),
    ],
    ids=["grey", "grey first", "last", "first", "four of all", "a satellite's bands"],
)
def test_the_channels_are_found(images, expected):
    assert np.array_equal(read(images), expected.astype("float32") / np.float32(255))


def test_transposed_images_with_channels_first_are_turned():
    assert np.array_equal(read(COLOUR.transpose(0, 3, 2, 1), transpose=True), read(COLOUR))


REFUSED = {
    "flat rows": (GREY.reshape(30, 48), {}, r"\(N, height, width\).*got shape \(30, 48\); unfold .*height, width\)"),
    "flat squares": (bytes_of(9, 784), {}, r"got shape \(9, 784\); unfold .*images\.reshape\(-1, 28, 28\)"),
    "one image": (bytes_of(28, 28), {}, r"got shape \(28, 28\).*images\[None\]"),
    "one image in colour": (bytes_of(28, 28, 3), {}, r"got shape \(28, 28, 3\); .*one image.*images\[None\]"),
    "images at the end": (bytes_of(32, 32, 3, 90), {}, r"got shape .* np\.moveaxis\(images, -1, 0\)"),
    "many channels first": (bytes_of(5, 12, 8, 30), {}, r"got shape .* np\.moveaxis\(images, 1, -1\)"),
    "a film": (bytes_of(2, 3, 8, 8, 3), {}, r"got shape \(2, 3, 8, 8, 3\)"),
    "no images": (GREY[:0], {}, r"expected at least one image, got shape \(0, 6, 8\)"),
    "a number": (3, {}, r"got shape \(\)"),
    "nothing": (None, {}, "expected an array of numbers, got dtype object"),
    "texts": (["a.png", "b.png"], {}, "expected an array of numbers, got dtype <U5"),
    "complex": (GREY.astype(complex), {}, "expected an array of numbers, got dtype complex128"),
    "mixed sizes": ([GREY[0], GREY[1], GREY[2, :5]], {}, r"one size, got shape \(5, 8\) for image 2 after .*\(6, 8\)"),
    "ragged rows": ([[[0, 1], [2]]], {}, "expected images of one size, got rows of different lengths"),
    "objects": (np.array([GREY[0], GREY[1, :5]], dtype=object), {}, r"got dtype object; stack .* np\.stack"),
    "floats to 255": (GREY.astype(float), {}, r"expected float64 from 0 to 1, got 0 to 255; .*scale=255"),
    "floats to 16": (GREY // 16 / 1.0, {}, r"from 0 to 1, got 0 to 15; name the value of white, such as scale=16"),
    "a bit more than 1": (GREY / 250, {}, r"from 0 to 1, got 0 to 1\.02; .*np\.clip\(images, 0, 1\)"),
    "from -1 to 1": (GREY / 127.5 - 1, {}, r"from 0 to 1, got -1 to 1; map them .*\(images \+ 1\) / 2"),
    "standardised": ((GREY - 127.5) / 70, {}, r"from 0 to 1, got -1\.82\d* to 1\.82\d*; map them to \[0, 1\]"),
    "signed bytes": (GREY.view("int8"), {}, r'expected int8 from 0 to 255, got -128 to 127; .*images\.view\("uint8"\)'),
    "negative integers": (GREY.astype("int16") - 1, {}, r"got -1 to 254; map them"),
    "16 bits with 8 used": (GREY.astype("uint16"), {}, r"from 0 to 65535, got 0 to 255; .*scale=255 or scale=65535"),
    "16 bits in wide integers": (GREY.astype(int) * 257, {}, r"from 0 to 255, got 0 to 65535; .*scale=65535"),
    "nan": (np.where(GREY == GREY[7, 0, 0], np.nan, GREY / 255), {}, r"finite numbers, got nan in image \d+; "),
    "infinite": (np.full((9, 2, 2), [[[0.5]]] * 7 + [[[np.inf]]] * 2), {}, "got inf in image 7;"),
    "another scale than named": (GREY, {"scale": 100}, "expected values from 0 to scale=100, got 0 to 255; choose"),
    "no scale": (GREY, {"scale": "white"}, "scale must be a number >= 0, got 'white'"),
    "a share of all": (GREY, {"validation_share": 1}, "validation_share must be a number from 0 to 0.5, got 1"),
    "a negative share": (GREY, {"test_share": -0.1}, r"test_share must be a number from 0 to 0\.5, got -0\.1"),
    "no seed": (GREY, {"seed": None}, "seed must be a whole number >= 0, got None"),
    "too few": (GREY[:2], {}, "more than 2 images of a class, to cut a validation split, got 2 images of 1 class"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_images_of_this_kind_are_refused(kind):
    images, options, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message) as refused:
        Dataset.from_arrays(images, **options)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_a_dark_test_set_has_the_scale_of_the_training_set():
    found = Dataset.from_arrays(GREY, test=np.ones((3, 6, 8), "uint8"))
    assert found.test.images.max() == np.float32(1) / np.float32(255)


def test_test_images_of_another_shape_are_refused_by_their_name():
    with pytest.raises(
        DatasetError, match=r"^test images: expected images of 6x8x1 like the training images, got 6x8x3;"
    ):
        Dataset.from_arrays(GREY, test=COLOUR)


def test_images_that_are_all_dark_are_read_with_a_warning():
    with pytest.warns(
        UserWarning, match="largest value is 16, but 255 is taken for white; if 16 is white, give scale=16"
    ):
        assert read(np.full((30, 4, 4), 16, "uint8")).max() == np.float32(16) / np.float32(255)


def test_a_value_that_is_no_number_is_found_in_any_piece_of_the_data(monkeypatch):
    monkeypatch.setattr("genmodels.readers.arrays.CHUNK", 100)
    images = GREY / 255
    images[17, 2, 3] = np.nan
    with pytest.raises(DatasetError, match="got nan in image 17"):
        read(images)
