"""The frame of stage 1: the page under its homography, with the nominal positions of the grid points."""

import cv2
import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, LEAD_LABEL_POINTS
from configs.stage1 import FRAME_HEIGHT, FRAME_WIDTH, reference_points
from digitization.geometry.projective import map_points
from utils.rescaling import Rescaling

CELLS = np.stack(list(np.indices((GRID_ROWS, GRID_COLUMNS))), axis=-1)  # (44, 57, 2) int, (row, column)
REFERENCE = reference_points(CELLS)  # (44, 57, 2) nominal (x, y), px of the stage-1 frame
MAX_SHRINK = 1.3  # px of the image per px of the frame, up to which bilinear sampling hardly aliases
LABEL_ROWS, LABEL_COLUMNS = np.array(LEAD_LABEL_POINTS).T


def warp_to_frame(image: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """The upright image in the stage-1 frame: (FRAME_HEIGHT, FRAME_WIDTH, 3) uint8, black outside.

    homography (3, 3): px of the image to px of the frame. An image of more than MAX_SHRINK is scaled down
    first, so that thin lines do not alias.
    """
    centre = np.array([FRAME_WIDTH / 2, FRAME_HEIGHT / 2])
    inverse = np.linalg.inv(homography)
    across, down = (map_points(centre + step, inverse) - map_points(centre, inverse) for step in np.eye(2))
    shrink = np.sqrt(abs(across[0] * down[1] - across[1] * down[0]))  # image px per frame px
    if shrink > MAX_SHRINK:
        rescaling = Rescaling.by(image.shape, 1 / shrink)
        image = rescaling.image(image)
        homography = homography @ np.linalg.inv(rescaling.matrix)
    return cv2.warpPerspective(image, homography, (FRAME_WIDTH, FRAME_HEIGHT), flags=cv2.INTER_LINEAR)
