"""A slip of the scanner: vertical slices of the paper that passed the sensor without being scanned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.page import (
    GRID_ROWS,
    SIGNAL_START_SQUARES,
    SQUARE_MM,
    SQUARES_PER_SECOND,
)

MIDDLE_ROW = (GRID_ROWS - 1) / 2
MAX_UNCERTAINTY_SQUARES = 0.2  # squares (1 mm), standard deviation up to which a slice counts as placed


@dataclass(frozen=True)
class Slip:
    """Slices of paper that a scanner lost, in the same columns of all rows of the page.

    columns: (n,) float64, grid columns of the paper at MIDDLE_ROW where the slices begin, increasing.
    lost: (n,) float64 above 0, their widths in squares.
    slant: columns by which the slices begin further right in each grid row than in the row above, as the
        sensor is not quite parallel to the grid on a page that was fed at an angle.
    uncertainty: (n,) float64, standard deviations of `columns` in squares; empty if they are known exactly.
    """

    columns: np.ndarray
    lost: np.ndarray
    slant: float = 0.0
    uncertainty: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def lost_mm(self) -> float:
        """Total width of the slices in mm."""
        return float(self.lost.sum()) * SQUARE_MM

    @property
    def is_placed(self) -> bool:
        """Whether the positions of all slices within their squares are known."""
        return bool((self.uncertainty < MAX_UNCERTAINTY_SQUARES).all())

    def __str__(self) -> str:
        """The width of each slice and its time on the page, such as "0.49 mm at 8.31 s"."""
        seconds = (self.columns - SIGNAL_START_SQUARES) / SQUARES_PER_SECOND
        pairs = zip(self.lost * SQUARE_MM, seconds, strict=True)
        return ", ".join(f"{lost:.2f} mm at {second:.2f} s" for lost, second in pairs)

    def is_near(self, columns: np.ndarray, reach: float) -> np.ndarray:
        """Whether columns (n,) of the paper lie within `reach` squares of a slice: (n,) bool."""
        off = np.asarray(columns)[:, None] - self.columns
        return ((off > -reach) & (off < self.lost + reach)).any(axis=1)

    def scanned_columns(self, columns: np.ndarray, row: float = MIDDLE_ROW) -> np.ndarray:
        """Columns of the paper as columns of the paper without the lost slices, in one grid row: same shape.

        All columns inside a lost slice are mapped to its edge.
        """
        columns = np.asarray(columns, np.float64)
        shifted = columns.copy()
        for column, lost in zip(self.columns, self.lost, strict=True):
            shifted -= np.clip(columns - column - self.slant * (row - MIDDLE_ROW), 0, lost)
        return shifted


def slip_arrays(slip: Slip | None) -> dict[str, Any]:
    """A slip as arrays for a file: slip_columns and slip_lost (n,), slip_slant (); n is 0 without a slip."""
    slip = slip or Slip(np.zeros(0), np.zeros(0))
    return {
        "slip_columns": slip.columns,
        "slip_lost": slip.lost,
        "slip_slant": np.array(slip.slant),
    }


def slip_of_arrays(arrays: Mapping[str, np.ndarray]) -> Slip | None:
    """The inverse of slip_arrays; None for arrays without a slip. `uncertainty` is not stored."""
    if "slip_columns" not in arrays or not len(arrays["slip_columns"]):
        return None
    return Slip(arrays["slip_columns"], arrays["slip_lost"], float(arrays["slip_slant"]))
