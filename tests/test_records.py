"""Records that are written: WFDB files that other programs read."""

import numpy as np
import pytest
import wfdb

from configs.page import LEADS
from digitization.record_files import write_wfdb


def test_a_wfdb_record_is_in_millivolts_at_its_rate_with_unknown_samples_left_unknown(tmp_path):
    leads = np.random.default_rng(0).normal(0, 1, (12, 2500))
    leads[4, :1200] = np.nan
    header = write_wfdb(tmp_path / "7", leads, 250)
    read = wfdb.rdrecord(str(header.with_suffix("")))
    assert (read.sig_name, read.units, read.fs) == (list(LEADS), ["mV"] * 12, 250)
    np.testing.assert_allclose(read.p_signal.T, leads, atol=0.0006)


@pytest.mark.parametrize(
    "runs", [[(1, 100, 150)], [(0, 0, 1), (1, 0, 4), (7, 2499, 2500)], [(2, 10, 12), (2, 13, 14)]]
)
def test_runs_of_imputed_samples_are_annotated_from_their_first_to_their_last(tmp_path, runs):
    """(lead, start, stop): the note "imputed)" stands at the last sample that was imputed, not behind it."""
    imputed = np.zeros((12, 2500), bool)
    for lead, start, stop in runs:
        imputed[lead, start:stop] = True
    header = write_wfdb(tmp_path / "7", np.zeros((12, 2500)), 250, imputed=imputed)
    notes = wfdb.rdann(str(header.with_suffix("")), "imp")
    read = sorted(zip(notes.chan.tolist(), notes.sample.tolist(), notes.aux_note, strict=True))
    begins = [(lead, start, "(imputed") for lead, start, _ in runs]
    ends = [(lead, stop - 1, "imputed)") for lead, _, stop in runs]
    assert read == sorted(begins + ends)
