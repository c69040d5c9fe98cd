"""Millivolts to the y-coordinates of the traces on the rectified page, to masks, and back.

A trace is treated as the graph of its signal: one y per column. Every lead is resampled by itself,
band-limited and extended by odd reflection at its ends, so that nothing leaks from one lead into the next.
"""

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from configs.layouts import COMPETITION_ROWS, RowGroup, check_shape
from configs.page import DURATION_S, MASK_HEIGHT, MASK_WIDTH, RECTIFIED, Canvas

TIMELINE = 10_000  # samples of ten seconds, fine enough to assign every column to its lead
LOBES = 24  # zero crossings of the windowed sinc on either side
KAISER_BETA = 6.0  # shape parameter of the Kaiser window of the sinc
THICKNESS = 2.0  # px, height of a trace in a column of a mask; an integer, so that the centroid is exact


def resampling_matrix(positions: np.ndarray, length: int, step: float) -> csr_array:
    """The matrix (len(positions), length) that takes a signal to its values at fractional sample positions.

    `step` is the distance between two positions in samples. The signal is band-limited to half the lower of
    the two sampling rates.
    """
    cutoff = min(1.0, 1.0 / step)  # as a share of the input's own band
    reach = int(np.ceil(LOBES / cutoff))
    taps = np.floor(positions)[:, None].astype(int) + np.arange(-reach, reach + 1)
    distance = (positions[:, None] - taps) * cutoff
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / LOBES) ** 2, 0, None)))
    weight = np.sinc(distance) * window * (np.abs(distance) <= LOBES)
    weight /= weight.sum(axis=1, keepdims=True)
    output = np.broadcast_to(np.arange(len(positions))[:, None], taps.shape)
    last = length - 1
    entries = []  # odd reflection: x[-i] = 2 x[0] - x[i], likewise at the other end
    for outside, edge, mirrored in (
        (taps < 0, 0, -taps),
        (taps > last, last, 2 * last - taps),
    ):
        entries += [
            (2 * weight[outside], output[outside], np.full(outside.sum(), edge)),
            (-weight[outside], output[outside], mirrored[outside].clip(0, last)),
        ]
    inside = (taps >= 0) & (taps <= last)
    entries.append((weight[inside], output[inside], taps[inside]))
    values, rows, columns = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return csr_array((values, (rows, columns)), shape=(len(positions), length))


@lru_cache(maxsize=64)
def segment_columns(start: int, stop: int, length: int, canvas: Canvas) -> np.ndarray:
    """The columns x (n,) whose time falls on samples start <= s < stop, of `length` in ten seconds."""
    columns = np.arange(canvas.width)
    sample = sample_positions(columns, length, canvas)
    return columns[(sample >= start) & (sample < stop)]


def sample_positions(columns: np.ndarray, length: int, canvas: Canvas) -> np.ndarray:
    """Columns as fractional samples, of `length` in ten seconds: x = signal_start + t * px_per_second."""
    return (columns - canvas.signal_start) / canvas.px_per_second * (length / DURATION_S)


@lru_cache(maxsize=64)
def drawing_matrix(start: int, stop: int, length: int, canvas: Canvas) -> csr_array:
    """The matrix (columns, samples) that takes the samples of one lead to the columns that show it."""
    positions = sample_positions(segment_columns(start, stop, length, canvas), length, canvas) - start
    return resampling_matrix(positions, stop - start, length / DURATION_S / canvas.px_per_second)


@lru_cache(maxsize=64)
def reading_matrix(start: int, stop: int, length: int, canvas: Canvas) -> csr_array:
    """The matrix (samples, columns) that takes the columns that show one lead to its samples."""
    columns = segment_columns(start, stop, length, canvas)
    step = canvas.px_per_second * DURATION_S / length
    positions = canvas.signal_start + np.arange(start, stop) * step - columns[0]
    return resampling_matrix(positions, len(columns), step)


def columns_from_rows(rows: np.ndarray, canvas: Canvas = RECTIFIED) -> np.ndarray:
    """The graph of four rows (4, L) mV of ten seconds: (4, canvas.width) float32, the y in px of each column.

    NaN outside the signal. Column x shows the time (x - signal_start) / px_per_second.
    """
    check_shape(rows, len(canvas.zero_lines))
    length = rows.shape[1]
    y = np.full((len(rows), canvas.width), np.nan, np.float32)
    for row, (zero_line, spans) in enumerate(
        zip(canvas.zero_lines, COMPETITION_ROWS.spans(length), strict=True)
    ):
        for start, stop in spans:
            columns = segment_columns(start, stop, length, canvas)
            millivolts = drawing_matrix(start, stop, length, canvas) @ rows[row, start:stop]
            y[row, columns] = zero_line - canvas.px_per_mv * millivolts
    return y


def rows_from_columns(
    y: np.ndarray, length: int, canvas: Canvas = RECTIFIED, group: RowGroup = COMPETITION_ROWS
) -> np.ndarray:
    """The inverse: y (R, W) px, finite within the signal, to (R, L) float32 mV of a group's R rows.

    `length` is the number of samples in ten seconds, L in the duration of the group's layout.
    """
    check_shape(y, len(group.rows))
    rows = np.empty((len(y), round(group.layout.duration_s * length / DURATION_S)), np.float32)
    for row, (zero_line, spans) in enumerate(zip(canvas.zero_lines, group.spans(length), strict=False)):
        for start, stop in spans:
            columns = segment_columns(start, stop, length, canvas)
            millivolts = (zero_line - y[row, columns].astype(np.float64)) / canvas.px_per_mv
            rows[row, start:stop] = reading_matrix(start, stop, length, canvas) @ millivolts
    return rows


def draw_traces(
    rows: np.ndarray, canvas: Canvas = RECTIFIED, crop: tuple[int, int] = (MASK_WIDTH, MASK_HEIGHT)
) -> np.ndarray:
    """Four rows (4, L) mV of ten seconds as a mask (H, W, 4) uint8, for a crop (W, H) of the canvas.

    In each column a trace covers THICKNESS px. 255 is a pixel covered entirely; the first and the last are
    covered in part, so that the centroid is exactly y. Traces beyond the crop are drawn at its edge.
    """
    width, height = crop
    y = columns_from_rows(rows, canvas)[:, :width]
    mask = np.zeros((height, width, len(rows)), np.uint8)
    row, column = np.nonzero(np.isfinite(y))
    centre = y[row, column].clip(THICKNESS / 2, height - 1 - THICKNESS / 2)
    reach = int(THICKNESS / 2) + 1
    for offset in range(-reach, reach + 1):
        pixel = np.round(centre).astype(int) + offset
        covered = np.clip((THICKNESS + 1) / 2 - np.abs(pixel - centre), 0, 1)
        drawn = covered > 0
        mask[pixel[drawn], column[drawn], row[drawn]] = np.round(255 * covered[drawn])
    return mask


def columns_from_mask(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W, R) of any numeric dtype to the y of its traces: (R, W) float64 px, NaN without one."""
    y = np.full((mask.shape[2], mask.shape[1]), np.nan)
    for row in range(len(y)):
        weight = mask[..., row].astype(np.float32)
        mass = weight.sum(axis=0)
        moment = np.arange(mask.shape[0], dtype=np.float64) @ weight
        np.divide(moment, mass, out=y[row], where=mass > 0)
    return y


def read_traces(mask: np.ndarray, fs: int, canvas: Canvas = RECTIFIED) -> np.ndarray:
    """The inverse: a mask (H, W, 4) of any numeric dtype to (4, 10 * fs) float32 mV.

    Columns without a trace are interpolated linearly. Raises ValueError for a row without any trace.
    """
    y = columns_from_mask(mask)
    x = np.arange(mask.shape[1])
    for row, drawn in enumerate(np.isfinite(y)):
        if not drawn.any():
            raise ValueError(f"the mask has no trace in row {row + 1}")
        y[row] = np.interp(x, x[drawn], y[row, drawn])
    return rows_from_columns(y, int(DURATION_S * fs), canvas)
