"""The frame of stage 1: the page roughly straightened, and where the grid points lie on it."""

import cv2
import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, LEAD_LABEL_POINTS
from configs.stage1 import FRAME_HEIGHT, FRAME_WIDTH, reference_points
from digitization.geometry.projective import map_points

CELLS = np.stack(list(np.indices((GRID_ROWS, GRID_COLUMNS))), axis=-1)  # (44, 57, 2) row, column
REFERENCE = reference_points(CELLS)  # (44, 57, 2) px of the stage-1 frame
LABEL_ROWS, LABEL_COLUMNS = np.array(LEAD_LABEL_POINTS).T


def warp_to_frame(image: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """the upright image in the stage-1 frame: (FRAME_HEIGHT, FRAME_WIDTH, 3) uint8, black outside.

    homography (3, 3): px of the image to px of the frame. A larger image is averaged down first, so that
    thin lines do not alias.
    """
    centre = np.array([FRAME_WIDTH / 2, FRAME_HEIGHT / 2])
    inverse = np.linalg.inv(homography)
    across, down = (map_points(centre + step, inverse) - map_points(centre, inverse) for step in np.eye(2))
    shrink = np.sqrt(abs(across[0] * down[1] - across[1] * down[0]))  # image px per frame px
    if shrink > 1.3:
        height, width = image.shape[:2]
        size = (max(round(width / shrink), 1), max(round(height / shrink), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        x, y = width / size[0], height / size[1]
        enlarge = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
        homography = homography @ enlarge
    return cv2.warpPerspective(image, homography, (FRAME_WIDTH, FRAME_HEIGHT), flags=cv2.INTER_LINEAR)
