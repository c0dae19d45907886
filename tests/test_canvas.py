import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genmodels import canvas


@given(st.integers(0, 2), st.integers(0, 2))
def test_placed_digit_is_found_at_its_offset_and_nothing_elsewhere(pos_x, pos_y):
    digit = np.random.default_rng(0).random((1, 28, 28, 1), "float32")
    placed = canvas.place_on_canvas(digit, [[pos_x, pos_y]])
    assert placed.shape == (1, 56, 56, 1)
    assert np.array_equal(placed[:, 14 * pos_y : 14 * pos_y + 28, 14 * pos_x : 14 * pos_x + 28], digit)
    assert np.count_nonzero(placed) == np.count_nonzero(digit)


def test_conditions_broadcast():
    assert canvas.conditions(3, [0, 1, 2], 1).tolist() == [[3, 0, 1], [3, 1, 1], [3, 2, 1]]


def test_all_positions_are_the_nine_cells_row_by_row():
    assert canvas.all_positions()[:4].tolist() == [[0, 0], [1, 0], [2, 0], [0, 1]]
    assert len({tuple(cell) for cell in canvas.all_positions()}) == 9


def test_place_randomly_puts_each_digit_in_the_cell_that_its_condition_names(digits, rng):
    canvases, conditions = canvas.place_randomly(digits, np.arange(20), rng)
    assert np.array_equal(canvases, canvas.place_on_canvas(digits.images[:20], conditions[:, 1:]))
    assert np.array_equal(conditions[:, 0], digits.labels[:20])


def test_all_conditions_repeats_each_condition_equally_often():
    wanted = canvas.all_conditions(3)
    conditions, counts = np.unique(wanted, axis=0, return_counts=True)
    assert len(conditions) == 90 and (counts == 3).all()


def test_all_positions_for_keeps_the_label_and_visits_every_cell():
    moved = canvas.all_positions_for(np.array([7, 2])).reshape(2, 9, 3)
    assert (moved[..., 0] == [[7], [2]]).all()
    assert all(np.array_equal(cells[:, 1:], canvas.all_positions()) for cells in moved)


def test_canvases_of_a_split_are_binarized_and_the_same_every_time(digits):
    (canvases, conditions), (again, same) = canvas.canvases_of(digits), canvas.canvases_of(digits)
    assert np.array_equal(canvases, canvas.place_on_canvas(digits.binarized().images, conditions[:, 1:]))
    assert np.array_equal(canvases, again) and np.array_equal(conditions, same)
