import tracemalloc

import numpy as np
import pytest

from genmodels.images import Split, StoredSplit, augment, binarize, translate


def test_binarize_splits_at_a_half():
    assert binarize([0.0, 0.49, 0.5, 1.0]).tolist() == [0, 0, 1, 1]


def test_typical_is_the_image_nearest_to_its_digits_mean():
    images = np.full((5, 28, 28, 1), 0.5, "float32") * np.array([0, 1, 2, 0.9, 1]).reshape(5, 1, 1, 1)
    split = Split(images, np.array([3, 3, 3, 3, 4]))
    assert np.array_equal(split.typical(3), images[1])  # the mean of 0, 0.5, 1 and 0.45 is 0.4875
    with pytest.raises(ValueError, match="expected a digit that occurs"):
        split.typical(5)


def test_binarized_split_keeps_its_labels(digits):
    binary = digits.binarized()
    assert set(np.unique(binary.images)) == {0, 1} and np.array_equal(binary.labels, digits.labels)


def test_translate_moves_by_whole_pixels_and_fills_with_nothing(digits):
    images, right, down = digits.images[:3], [2, -1, 0], [0, 2, -2]
    moved = translate(images, right, down)
    for image, was, x, y in zip(moved, images, right, down):
        expected = np.roll(was, (y, x), axis=(0, 1))  # the digits leave at least two empty pixels on each side
        assert np.array_equal(image, expected)
    full = np.ones((1, 28, 28, 1), "float32")
    assert translate(full, [2], [-1]).sum() == 27 * 26


def test_augmented_images_are_half_binarized_and_keep_their_ink_in_the_frame(digits, rng):
    seen = augment(np.repeat(digits.images, 4, axis=0), rng)
    binary = np.isin(seen, (0, 1)).all(axis=(1, 2, 3))
    assert seen.shape == (512, 28, 28, 1) and 0.4 < binary.mean() < 0.6


def test_images_of_any_shape_are_moved_with_their_channels(rng):
    seen = rng.random((4, 6, 9, 3), "float32")
    moved = translate(seen, [1, -1, 0, 2], [0, 1, -2, 1])
    assert moved.shape == seen.shape
    assert np.array_equal(moved[0, :, 1:], seen[0, :, :-1]) and not moved[0, :, 0].any()
    assert np.array_equal(moved[1, 1:, :-1], seen[1, :-1, 1:]) and not moved[1, 0].any()


def test_the_border_may_repeat_the_edge(rng):
    seen = rng.random((1, 5, 5, 3), "float32")
    moved = translate(seen, [2], [0], border="edge")
    assert np.array_equal(moved[0, :, 2:], seen[0, :, :-2])
    assert all(np.array_equal(moved[0, :, column], seen[0, :, 0]) for column in (0, 1))


def test_augment_gives_the_bits_that_the_published_classifiers_learned_from(digits):
    """Written out as it was for digits alone: the report's numbers depend on each bit and on each draw."""
    rng = np.random.default_rng([101, 3, 7])
    right, down = rng.integers(-2, 3, (2, 128))
    padded = np.pad(digits.images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), axis=(1, 2))
    moved = windows[np.arange(128), 2 - down, 2 - right, 0][..., None]
    expected = np.where(rng.random((128, 1, 1, 1)) < 0.5, binarize(moved), moved)
    found = augment(digits.images, np.random.default_rng([101, 3, 7]))
    assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()


def test_colours_need_not_be_binarized_nor_moved(rng):
    seen = rng.random((50, 8, 8, 3), "float32")
    found = augment(seen, rng, reach=1, binarized_share=0)
    assert not np.isin(found, (0, 1)).all(axis=(1, 2, 3)).any()
    assert np.array_equal(augment(seen, rng, reach=0, binarized_share=0), seen)
    assert np.array_equal(augment(seen, rng, reach=0, binarized_share=1), binarize(seen))


def test_a_stored_split_gives_scaled_rows_and_all_images_alike(rng):
    stored = rng.integers(0, 256, (2000, 3, 4, 1), "uint8")
    rows = np.array([1999, 3, 5, 3, 0])
    split = StoredSplit(stored, 255.0, np.arange(5), rows)
    expected = stored[rows].astype("float32") / np.float32(255)
    assert np.array_equal(split.batch([1, 0, 4]), expected[[1, 0, 4]]) and split.batch([1]).dtype == np.float32
    assert np.array_equal(split.batch(slice(1, 3)), expected[1:3])
    assert np.array_equal(split.batch(split.labels > 2), expected[3:])
    assert np.array_equal(split.images, expected) and split.images is split.images
    assert np.array_equal(split.batch([1, 0, 4]), expected[[1, 0, 4]])  # of the images that are kept now
    with pytest.raises(IndexError):
        split.batch([5])


@pytest.mark.parametrize("kept", [False, True], ids=["stored", "converted"])
def test_chosen_images_make_a_split_with_their_labels(rng, kept):
    split = StoredSplit(rng.integers(0, 256, (9, 2, 2, 1), "uint8"), 255.0, np.arange(9))
    expected = split.batch([7, 2])
    assert not kept or len(split.images) == 9
    chosen = split.select([7, 2])
    assert np.array_equal(chosen.images, expected) and chosen.labels.tolist() == [7, 2]
    assert len(split.select(split.labels < 4)) == 4


def test_a_batch_of_an_image_file_larger_than_memory_costs_a_batch(tmp_path):
    """A sparse file of 64 GiB, of which only the rows of a batch are read, and converted."""
    stored = np.memmap(tmp_path / "images", np.uint8, "w+", shape=(2**26, 32, 32, 1))
    stored[2**26 - 1] = 255
    split = StoredSplit(stored, 255.0, None)
    tracemalloc.start()
    try:
        batch = split.batch(np.array([0, 2**26 - 1, 5]))
        assert repr(split) == "Split(67108864 images of 32x32x1, without labels)" and len(split) == 2**26
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert batch.mean(axis=(1, 2, 3)).tolist() == [0, 1, 0] and peak < 2**20


def test_the_typical_image_needs_labels(digits):
    with pytest.raises(ValueError, match="expected a split with labels, to find the typical 3, got none"):
        Split(digits.images).typical(3)
