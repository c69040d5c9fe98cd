"""Mistakes that the tests are to notice, for benchmarks/mutations.py: chosen before it was known which are.

A sign, a constant times three, a call left out: each is one place of the product's text and what stands there
instead. `old` has to occur exactly once in its file.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """A mistake: in `file` the text `new` stands for `old`; the test files `guards` are meant to notice."""

    file: str
    old: str
    new: str
    guards: str  # names of test files without "test_" and ".py", separated by blanks


SIGNAL, GEOMETRY = "digitization/signal", "digitization/geometry"

MUTANTS = (
    # The metric, and which lead stands where
    Mutant("utils/kaggle_metric.py", "MAX_SHIFT_S = 0.2", "MAX_SHIFT_S = 0.4", "metric"),
    Mutant(
        "configs/layouts.py",
        "return self.column * length // self.columns",
        "return self.column * (length // self.columns)",
        "leads",
    ),
    # Millivolts from stage 2's maps
    Mutant(f"{SIGNAL}/limb_leads.py", "TOLERANCE_MV = 0.05", "TOLERANCE_MV = 0.15", "limbs"),
    Mutant(f"{SIGNAL}/decode.py", "bins = bridge(bins, mass > MAX_CONFIDENCE_GAP, starts)", "pass", "decode"),
    Mutant(f"{SIGNAL}/decode.py", "TIMING_SD_COLUMNS = 0.9", "TIMING_SD_COLUMNS = 2.7", "decode"),
    Mutant(f"{SIGNAL}/path.py", "STEP_COST = 0.15", "STEP_COST = 0.45", "decode"),
    Mutant(
        f"{SIGNAL}/decode.py",
        "path = follow_spikes(find_path(log_probability, starts), log_probability)",
        "path = find_path(log_probability, starts)",
        "decode",
    ),
    Mutant(f"{SIGNAL}/row_ends.py", "END_JUMP_MV = 0.2", "END_JUMP_MV = 0.6", "decode"),
    Mutant(f"{SIGNAL}/row_ends.py", "PULSE_NEAR_MV = 0.15", "PULSE_NEAR_MV = 0.45", "decode"),
    Mutant(
        f"{SIGNAL}/beats.py",
        "self.beats[other] - self.beats[beat] + shift",
        "self.beats[other] - self.beats[beat] - shift",
        "decode",
    ),
    Mutant(f"{SIGNAL}/beats.py", "ZERO_LINE_S = 0.1", "ZERO_LINE_S = 0.3", "decode"),
    Mutant(f"{SIGNAL}/beats.py", "MAX_DIFFERENCE = 0.4", "MAX_DIFFERENCE = 1.2", "decode"),
    Mutant(f"{SIGNAL}/quality.py", "MAX_CONFIDENCE_GAP = 0.05", "MAX_CONFIDENCE_GAP = 0.15", "decode"),
    Mutant(f"{SIGNAL}/traces.py", "cutoff = min(1.0, 1.0 / step)", "cutoff = 1.0", "trace"),
    # The grid from stage 1's maps
    Mutant(f"{GEOMETRY}/lattice.py", "GROWTH_TOLERANCE = 0.35", "GROWTH_TOLERANCE = 1.05", "geometry"),
    Mutant(
        f"{GEOMETRY}/lattice.py",
        "label = join_patch(peaks, label, patch, keypoints)",
        "label = np.where(label >= 0, label, patch)",
        "geometry",
    ),
    Mutant(
        f"{GEOMETRY}/surface.py",
        "return fit_thin_plate(offsets, weight / (1 + (distance / spread) ** 2), smoothing)[0]",
        "return fit_thin_plate(offsets, weight, smoothing)[0]",
        "geometry",
    ),
    Mutant(f"{GEOMETRY}/grid.py", "KEYPOINT_TOLERANCE = 0.8", "KEYPOINT_TOLERANCE = 2.4", "geometry"),
    Mutant(f"{GEOMETRY}/grid.py", "    sheet[..., 0] -= mean\n", "", "slip"),
    Mutant(f"{GEOMETRY}/calibration.py", "ASPECT_TOLERANCE = 0.06", "ASPECT_TOLERANCE = 0.18", "geometry"),
    Mutant(
        f"{GEOMETRY}/slip.py",
        "columns - column - self.slant * (row - MIDDLE_ROW)",
        "columns - column + self.slant * (row - MIDDLE_ROW)",
        "slip",
    ),
    Mutant(f"{GEOMETRY}/find_slip.py", "MIN_EVIDENCE = -2.0", "MIN_EVIDENCE = -6.0", "slip"),
    Mutant(f"{GEOMETRY}/find_slip.py", "    step[~is_common(step, np.stack(bands))] = 0\n", "", "slip"),
    Mutant(
        f"{GEOMETRY}/lines.py",
        "    if canvas.columns == GRID_COLUMNS:\n",
        "    if canvas.columns < 0:\n",
        "lines",
    ),
    Mutant(f"{GEOMETRY}/line_profiles.py", "REACH = 0.11", "REACH = 0.33", "lines slip"),
    Mutant(
        f"{GEOMETRY}/rectify.py",
        "np.arange(y0, y1) / canvas.square_height",
        "(np.arange(y0, y1) + 0.5) / canvas.square_height",
        "geometry",
    ),
    # The page from stage 0's maps
    Mutant(f"{GEOMETRY}/keypoints.py", "MIN_OBJECTNESS = 0.3", "MIN_OBJECTNESS = 0.9", "geometry"),
    Mutant(f"{GEOMETRY}/locate.py", "MIN_ASPECT = 0.7", "MIN_ASPECT = 0.23", "geometry"),
    Mutant(f"{GEOMETRY}/search.py", "HEAD_EVIDENCE = 3.0", "HEAD_EVIDENCE = 9.0", "geometry"),
    Mutant(
        f"{GEOMETRY}/orientation.py",
        "mirrored, quarter_turns = 1 - mirrored, -quarter_turns",
        "mirrored = 1 - mirrored",
        "geometry",
    ),
    # What the networks are taught
    Mutant("datasets/stage0.py", "index + 1, -1, shift=4", "1, -1, shift=4", "samples"),
    Mutant("datasets/stage1.py", 'page["ends"] - (left, top)', 'page["ends"] + (left, top)', "samples"),
    Mutant("datasets/stage2.py", "        y = y + down\n", "        y = y - down\n", "samples"),
    Mutant(
        "datasets/augmentation.py",
        "image = cv2.LUT(image, lookup[:, None, :])",
        "image = np.ascontiguousarray(cv2.LUT(image, lookup[:, None, :])[:, ::-1])",
        "samples",
    ),
    Mutant(
        "datasets/labels.py",
        "off[..., 1] * along[..., 0] - off",
        "off[..., 1] * along[..., 0] + off",
        "labels",
    ),
    Mutant("training/losses.py", "weight[0] = 1.0", "pass", "samples"),
    Mutant("training/losses.py", "loss += factor * F.", "loss += 0 * F.", "samples"),
    Mutant(
        "training/losses.py",
        "known * (1 + config.steep_weight * rise.clamp(max=MAX_RISE))",
        "known * 1.0",
        "samples",
    ),
    # What is drawn for them
    Mutant(
        "synthesis/page.py",
        "LABEL_BELOW_MM = (7.0, 7.0, 7.0, 8.0)",
        "LABEL_BELOW_MM = (21.0, 21.0, 21.0, 24.0)",
        "synthesis",
    ),
    Mutant("synthesis/page.py", "        if has_pulse:\n", "        if False:\n", "synthesis"),
    Mutant(
        "synthesis/signals.py",
        "    return pace(varied, rng) if rng.random() < paced else varied",
        "    return record",
        "synthesis",
    ),
    # Networks, and files
    Mutant("models/stage2.py", "return (-0.5 * deviations", "return (0.5 * deviations", "networks"),
    Mutant(
        "models/unet.py",
        "image = (image - self.mean).div_(self.std)",
        "image = image - self.mean",
        "networks",
    ),
    Mutant("utils/submission.py", 'mode="edge"', 'mode="constant"', "submission"),
    Mutant(
        "digitization/record_files.py",
        "np.where(begins, sample, sample - 1)",
        "sample",
        "records",
    ),
)
