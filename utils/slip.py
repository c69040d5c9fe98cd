"""A slip of the scanner: a slice of the paper that was moved past the sensor without being scanned."""

from dataclasses import dataclass

import numpy as np

from configs.page import GRID_ROWS, SQUARE_MM

MIDDLE_ROW = (GRID_ROWS - 1) / 2


@dataclass(frozen=True)
class Slip:
    """Slices of paper that a scanner lost, in the same columns of all rows of the page.

    columns: (n,) float64, grid columns of the paper at MIDDLE_ROW where the slices begin, increasing.
    lost: (n,) float64 above 0, their widths in squares.
    slant: columns by which the slices begin further right in each grid row than in the row above; the sensor's
        line is not quite upright on a page that was fed at an angle.
    """

    columns: np.ndarray
    lost: np.ndarray
    slant: float = 0.0

    @property
    def lost_mm(self) -> float:
        """Width of all slices together in mm."""
        return float(self.lost.sum()) * SQUARE_MM

    def scanned_columns(self, columns: np.ndarray, row: float = MIDDLE_ROW) -> np.ndarray:
        """Columns of the paper to those of the paper without the lost slices, in one grid row: same shape.

        Columns inside a lost slice all come to its edge.
        """
        columns = np.asarray(columns, np.float64)
        shifted = columns.copy()
        for column, lost in zip(self.columns, self.lost, strict=True):
            shifted -= np.clip(columns - column - self.slant * (row - MIDDLE_ROW), 0, lost)
        return shifted
