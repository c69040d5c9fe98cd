"""Stage 1: the grid points of the upright page, in a frame of its own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from configs.network import NetworkConfig, check_ranges
from configs.page import GRID_COLUMNS, GRID_ROWS, GRID_TOP_MM, PAGE_PX_PER_MM, SQUARE_MM

FRAME_WIDTH, FRAME_HEIGHT = 1440, 1152  # px
FRAME_SCALE = 1280 / 2200  # frame px per px of a 200 dpi page, as in the public weights
FRAME_SHIFT = np.array([80.0 - 6.0, 80.0 + 10.0])  # (x, y) px of the page's top left corner
FRAME_PX_PER_SQUARE = SQUARE_MM * PAGE_PX_PER_MM * FRAME_SCALE  # 22.9


def reference_points(rows_columns: ArrayLike) -> np.ndarray:
    """Nominal positions of grid points (..., 2) (row, column) in the stage-1 frame: (..., 2) (x, y) px."""
    column_row = np.asarray(rows_columns, dtype=np.float64)[..., ::-1]
    millimetres = column_row * SQUARE_MM + np.array([0.0, GRID_TOP_MM])
    return millimetres * PAGE_PX_PER_MM * FRAME_SCALE + FRAME_SHIFT


HEAD_CLASSES = {  # output channels of each head
    "gridpoint": 1,
    "gridhline": GRID_ROWS + 1,
    "gridvline": GRID_COLUMNS + 1,
    "marker": 14,
    "leadend": 1,  # lead boundaries on the zero lines; not in the public weights
}


@dataclass(frozen=True)
class Stage1Config(NetworkConfig):
    heads: tuple[str, ...] = ("gridpoint", "leadend")
    keypoint_error: float = 0.2  # squares, SD of the error of the keypoints behind a sample's homography
    crop: int = 448  # px, side of a training crop
    point_sigma: float = 1.6  # px of the frame, sigma of the target at a grid point
    positive_weight: float = 8.0  # weight of positive pixels in the loss
    boundary_sigma: float = 4.0  # px of the frame, sigma of the target at a lead boundary
    boundary_weight: float = 2.0  # weight of the lead boundaries in the loss

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            {
                "keypoint_error": (0, 10),
                "crop": (64, FRAME_HEIGHT),
                "point_sigma": (0.1, 50),
                "positive_weight": (1e-3, 1e6),
                "boundary_sigma": (0.1, 50),
                "boundary_weight": (0, 1e6),
            },
        )
        if self.crop % 32:
            raise ValueError(f"crop {self.crop}: must be a multiple of 32")
        if unknown := sorted(set(self.heads) - set(HEAD_CLASSES)) or not self.heads:
            raise ValueError(f"heads {unknown or 'none'}: must be among {', '.join(HEAD_CLASSES)}")


# The interface of the public weights stage1-last.checkpoint.pth (hengck23).
published = Stage1Config(
    backbone="resnet34",
    skip_stem_pool=True,
    decoder_channels=(256, 128, 64, 32),
    heads=("gridpoint", "gridhline", "gridvline", "marker"),
)
