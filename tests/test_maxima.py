"""The peaks of a curve are those that scipy finds."""

import numpy as np
import pytest
from scipy.signal import find_peaks

from digitization.signal.maxima import find_maxima


@pytest.mark.parametrize("seed", range(20))
def test_the_peaks_of_curves_smooth_rough_and_in_steps_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=rng.integers(3, 600))
    smooth = np.convolve(rough, np.ones(9) / 9, mode="same")
    for curve in (rough, smooth, np.round(2 * smooth), smooth.astype(np.float32), np.zeros(9)):
        for height, distance, prominence in ((-9.0, 1, None), (0.1, 7, 0.2), (0.0, 30.5, 0.0), (0.3, 2, 1.0)):
            expected, _ = find_peaks(curve, height=height, distance=distance, prominence=prominence)
            np.testing.assert_array_equal(find_maxima(curve, height, distance, prominence), expected)


def test_a_flat_top_counts_as_its_middle_and_the_ends_of_a_curve_are_no_peaks():
    curve = np.array([9.0, 1, 3, 3, 3, 1, 0, 5])
    assert find_maxima(curve, 2.0, 1).tolist() == [3]
