"""The benchmarks measure what they say."""

import numpy as np
import pytest
import torch

from benchmarks.bounds import displace_rows
from benchmarks.decoder_steps import VARIANTS, Maps
from benchmarks.mutants import Mutant
from benchmarks.mutations import insert_mistake
from benchmarks.row_ends import PARTS, part_errors, spike_facts
from configs.layouts import rows_from_leads
from configs.page import RECTIFIED
from digitization.geometry.frame import CELLS
from digitization.signal.decode import decode_rows
from tests.test_decode import ROW_STRIDE, at_end, beats, covered, hide, perfect_maps, snr, spiky

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


def page_for(step: str) -> tuple[np.ndarray, torch.Tensor]:
    """Rows (4, L) mV and maps of them that show what a step of the decoder is for."""
    rows = rows_from_leads(spiky(4.0)[0] if step == "spikes not followed" else beats(500))
    maps = perfect_maps(rows)
    if step == "no tracking":
        maps = covered(maps, 3, second=4.8, columns=6, share=0.8)
    elif step == "gaps as they are":
        maps = covered(maps, 3, second=4.28, columns=8, share=1)
    elif step == "without other beats":
        hide(maps, 3, 4.22, 4.38)
    elif step == "ends as they are":
        maps[:, :, at_end(5, -1)] = 0.01 * perfect_maps(rows + 0.8)[:, :, at_end(5, -1)]
    return rows, maps


@pytest.mark.parametrize(
    "step",
    ["no tracking", "gaps as they are", "without other beats", "spikes not followed", "ends as they are"],
)
def test_a_step_left_out_reads_worse_where_it_is_needed(step):
    rows, logits = page_for(step)
    maps = Maps(logits, ROW_STRIDE, 5000)
    others = {"beats": step == "without other beats", "limbs": False}  # which may put right what it leaves
    with_it, without = (snr(rows, maps.rows(**others | options)) for options in ({}, VARIANTS[step]))
    assert with_it > without + 3  # dB


def test_an_error_at_the_start_of_the_rows_shows_in_that_part_alone():
    truth = rows_from_leads(beats(500))
    found = truth + 0.3  # of the zero line, which does not count
    found[:, :15] += 0.2  # 30 ms
    errors: dict[str, list[float]] = {part: [] for part in PARTS}
    for part, error in part_errors(truth, found):
        errors[part].append(float(np.abs(error).max()))
    assert sum(len(values) for values in errors.values()) == 3 * (3 * 4 + 1)
    np.testing.assert_allclose(errors.pop("row start"), 0.2, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(list(errors.values())), 0, atol=1e-5)


def test_spikes_that_are_read_half_as_tall_count_as_half():
    plain = rows_from_leads(beats(500))
    truth, found = plain.copy(), plain.copy()
    truth[:, 100::400], found[:, 101::400] = 2.0, 1.0  # and 2 ms late
    found[1, 60] += 1.5  # a spike that is not there
    facts = spike_facts(truth, found)
    assert len(facts["read"]) == 4 * 13
    np.testing.assert_allclose(facts["read"], 0.5, atol=0.07)
    assert np.median(facts["held"]) > 0.6  # 393 columns a second hold so much of 2 ms
    assert (facts["true"] < 0.3).sum() == 1


def test_a_mistake_is_made_in_the_only_place_that_has_its_line():
    mutant = Mutant("some.py", old="a + b", new="a - b", guards="some")
    assert insert_mistake("c = a + b", mutant) == "c = a - b"
    for text in ("c = a * b", "c = a + b\nd = a + b"):
        with pytest.raises(ValueError, match=r"some\.py"):
            insert_mistake(text, mutant)
