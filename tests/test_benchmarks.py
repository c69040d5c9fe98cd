"""The benchmarks measure what they say."""

import numpy as np
import torch

from benchmarks.bounds import displace_rows
from benchmarks.decoder_steps import VARIANTS, Maps
from configs.page import RECTIFIED
from tests.test_decode import ROW_STRIDE, beats, perfect_maps, snr
from utils.decode import decode_rows
from utils.grid import CELLS
from utils.leads import rows_from_leads

GRID = (40.0 * CELLS[..., ::-1] + 7).astype(np.float32)  # squares of 40 px


def test_the_true_grid_displaces_nothing():
    rows = rows_from_leads(beats(500))
    assert snr(rows, displace_rows(rows, GRID, GRID)) > 40


def test_a_grid_found_too_low_makes_the_traces_seem_higher():
    rows = rows_from_leads(beats(500))
    seen = displace_rows(rows, GRID, GRID + np.array([0, 4.0]))  # a tenth of a square: 0.05 mV
    shift = 0.1 * RECTIFIED.square_height / RECTIFIED.px_per_mv
    np.testing.assert_allclose(np.median(seen - rows, axis=1), shift, atol=1e-3)


def test_a_grid_found_too_far_right_makes_the_traces_seem_early():
    rows = rows_from_leads(beats(500))
    seen = displace_rows(rows, GRID, GRID + np.array([4.0, 0]))  # a tenth of a square: 0.02 s, 10 samples
    beat = slice(500, 1000)
    late = seen[:, beat].argmax(axis=1) - rows[:, beat].argmax(axis=1)
    assert (np.abs(late + 10) <= 1).all()


def test_all_steps_are_those_of_the_decoder():
    rows = rows_from_leads(beats(500))
    maps = perfect_maps(rows) + torch.randn(4, 336, 4352, generator=torch.Generator().manual_seed(0))
    decoded, _ = decode_rows(maps, ROW_STRIDE, 5000)
    stepwise = Maps(maps, ROW_STRIDE, 5000).rows()
    np.testing.assert_allclose(stepwise, decoded, atol=1e-6)
    for name, options in VARIANTS.items():
        assert np.isfinite(Maps(maps, ROW_STRIDE, 5000).rows(**options)).all(), name
