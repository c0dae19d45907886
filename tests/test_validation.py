import numpy as np
import pytest

from genmodels import validation


def test_an_array_that_fits_passes_as_it_is():
    values = np.arange(4, dtype="uint8").reshape(2, 2)
    assert validation.array("values", values, ("N", 2), 0, 3, whole=True) is values


def test_a_list_that_fits_becomes_an_array():
    assert validation.array("values", [0.0, 1.0], (2,)).tolist() == [0, 1]


@pytest.mark.parametrize(("value", "low", "high", "whole"), [(np.float32(0.5), 0, 1, False), (3, 1, None, True)])
def test_a_number_in_range_passes(value, low, high, whole):
    assert validation.number("value", value, low, high, whole=whole) == value


def test_arrays_of_one_length_pass():
    validation.same_length(one=[1], other=[2])


def test_an_error_states_the_expected_and_the_received_value():
    with pytest.raises(
        ValueError, match=r"^images must be numbers from 0 to 1 of shape \(N, 28\), got shape \(2, 27\)$"
    ):
        validation.array("images", np.zeros((2, 27)), ("N", 28), 0, 1)
