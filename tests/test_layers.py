import keras
import numpy as np
import pytest
import tensorflow as tf

from genmodels import canvas, layers


def test_dense_encoder_gives_its_outputs_per_image(rng):
    assert layers.dense_encoder(4, (8,))(rng.random((3, 28, 28, 1), "float32")).shape == (3, 4)


def test_dense_decoder_gives_an_image_per_code(rng):
    assert layers.dense_decoder(2, (8,), normalise=True)(rng.random((3, 2))).shape == (3, 28, 28, 1)


def test_normalised_codes_have_no_scale_or_shift_of_their_own():
    last = layers.dense_encoder(2, (8,), normalise_output=True).layers[-1]
    assert not last.trainable_variables and len(last.non_trainable_variables) == 2


@pytest.mark.parametrize("cell", canvas.all_positions().tolist())
def test_window_that_knows_the_grid_writes_and_reads_where_canvas_places(cell, rng):
    """With weights that name the offsets, the window computes place_on_canvas and its inverse in a second way."""
    digit = rng.random((1, 28, 28, 1), "float32")
    position = np.concatenate([np.eye(3)[[cell[0]]], np.eye(3)[[cell[1]]]], axis=1).astype("float32")
    window = layers.ReadWriteWindow()
    window.columns.assign(np.eye(3))
    window.rows.assign(np.eye(3))
    window.background.assign(0.0)
    placed = canvas.place_on_canvas(digit, [cell])
    np.testing.assert_allclose(window(digit, position, write=True), placed, atol=1e-5)
    np.testing.assert_allclose(window(placed, position), digit, atol=1e-5)


def test_window_starts_with_no_idea_of_the_grid(rng):
    window = layers.ReadWriteWindow()
    digit = rng.random((1, 28, 28, 1), "float32")
    canvases = [window(digit, np.concatenate([x, y])[None], write=True) for x in np.eye(3) for y in np.eye(3)]
    np.testing.assert_allclose(np.ptp(canvases, axis=0), 0, atol=1e-6)


def test_depth_to_space_spreads_channels_over_blocks_of_two_and_space_to_depth_undoes_it(rng):
    blocks = rng.random((2, 14, 14, 4), "float32")
    image = np.asarray(layers.DepthToSpace()(blocks))
    assert image.shape == (2, 28, 28, 1)
    for row, column in np.ndindex(2, 2):
        assert np.array_equal(image[:, row::2, column::2, 0], blocks[..., 2 * row + column])
    assert np.array_equal(layers.SpaceToDepth()(image), blocks)


def test_fourier_features_are_sines_and_cosines_of_each_axis(rng):
    z = rng.normal(size=(4, 2)).astype("float32")
    found = np.asarray(layers.FourierFeatures(2)(z))
    slow, fast = np.pi / 8 * z, np.pi / 4 * z
    expected = np.concatenate([z, np.sin(slow), np.sin(fast), np.cos(slow), np.cos(fast)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("sure, settled", [(0.1, True), (0.05, False)])  # shares of 0.91 and 0.69
def test_a_window_that_is_almost_sure_stands_exactly_there_and_stays(rng, sure, settled):
    window, digit = layers.ReadWriteWindow(), rng.random((1, 28, 28, 1), "float32")
    position = np.array([[0, 1, 0, 0, 1, 0]], "float32")
    for weights in (window.columns, window.rows):
        weights.assign(sure * np.eye(3))
    placed = canvas.place_on_canvas(digit, [[1, 1]])
    with tf.GradientTape() as tape:
        read = window(placed, position)
        loss = keras.ops.sum(read**2)
    assert np.array_equal(read, digit) == settled
    assert (np.abs(tape.gradient(loss, window.columns.value)).max() == 0) == settled
