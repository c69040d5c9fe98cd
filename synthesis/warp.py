"""The geometric map between a page and its capture, and its exact inverse for the labels."""

from dataclasses import dataclass

import cv2
import numpy as np

NODE_PX = 8  # spacing of the nodes between which the map is interpolated linearly, px of the capture
FIXED_POINT_STEPS = 30  # iterations


@dataclass(frozen=True)
class Warp:
    """The map between page px and px of the capture.

    homography: (3, 3) float64, page px to px of the capture, for a flat page and a lens without distortion.
    displacement: (h, w, 2) float32 page px, on nodes `cell` page px apart, the first at `origin`. The capture
        shows at the point q of a flat page what the page has at q + displacement(q).
    lens: radial distortion; the undistorted point of p is centre + (p - centre) * (1 + lens * r^2), with the
        distance r of p from the centre in halves of the diagonal.
    size: (width, height) of the capture in px.
    feed: two non-decreasing arrays (n,) px of the capture: x under a steady feed, and the x at which it was
        scanned; where only the first increases, paper was lost. None stands for a steady feed.
    """

    homography: np.ndarray
    displacement: np.ndarray
    cell: float
    origin: float
    lens: float
    size: tuple[int, int]
    feed: tuple[np.ndarray, np.ndarray] | None = None

    def to_page(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from px of the capture to page px."""
        return self.steady_to_page(self.map_feed(points, 1, 0))

    def steady_to_page(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from px of a capture with a steady feed to page px."""
        flat = project(np.linalg.inv(self.homography), self.undistort(points))
        return flat + self.displace(flat)

    def to_capture(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from page px to px of the capture, by fixed-point iteration."""
        points = np.asarray(points, np.float64)
        flat = points
        for _ in range(FIXED_POINT_STEPS):
            flat = points - self.displace(flat)
        straight = project(self.homography, flat)
        bent = straight
        for _ in range(FIXED_POINT_STEPS if self.lens else 0):
            bent = bent + straight - self.undistort(bent)
        return self.map_feed(bent, 0, 1)

    def map_feed(self, points: np.ndarray, source: int, target: int) -> np.ndarray:
        """Points (..., 2) px with x mapped from one array of `feed` to the other, given their indices."""
        if self.feed is None:
            return points
        moved = np.array(points, np.float64)
        moved[..., 0] = np.interp(moved[..., 0], self.feed[source], self.feed[target])
        return moved

    def undistort(self, points: np.ndarray) -> np.ndarray:
        centre = (np.array(self.size) - 1) / 2
        offset = (points - centre) / np.hypot(*centre)
        radius = (offset**2).sum(axis=-1, keepdims=True)
        return points + (points - centre) * (self.lens * radius)

    def displace(self, points: np.ndarray) -> np.ndarray:
        x, y = ((points.reshape(-1, 2) - self.origin) / self.cell).T
        return bilinear(self.displacement, x, y).reshape(points.shape)

    def resample(
        self,
        page: np.ndarray,
        interpolation: int,
        border: tuple[int, ...],
        scale: np.ndarray | float = 1.0,
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> np.ndarray:
        """The capture of `page` (H, W, C) uint8 by a single remap, with the value `border` outside it.

        `page` has `scale` px per page px and its top left corner at `origin` page px.
        """
        width, height = self.size
        columns, rows = -(-width // NODE_PX) + 2, -(-height // NODE_PX) + 2
        x = (np.arange(columns) - 0.5) * NODE_PX - 0.5
        y = (np.arange(rows) - 0.5) * NODE_PX - 0.5
        fine_width, left = columns * NODE_PX, NODE_PX
        if self.feed is not None:  # it may jump anywhere, so each px gets a column of nodes
            x = np.interp(np.arange(width), self.feed[1], self.feed[0])
            fine_width, left = width, 0
        nodes = self.steady_to_page(np.stack(np.meshgrid(x, y), axis=-1))
        nodes = ((nodes + 0.5 - origin) * scale - 0.5).astype(np.float32)
        full = cv2.resize(nodes, (fine_width, rows * NODE_PX), interpolation=cv2.INTER_LINEAR)
        full = full[NODE_PX : NODE_PX + height, left : left + width]
        return cv2.remap(  # type: ignore[call-overload]  # the stubs want a second map
            page, full, None, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=border
        )


def project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transform points (..., 2) by a homography (3, 3)."""
    homogeneous = np.asarray(points, np.float64) @ homography[:, :2].T + homography[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def bilinear(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A field (h, w, c) interpolated bilinearly at (N,) nodes x and y, clamped to its border: (N, c)."""
    height, width = field.shape[:2]
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    dx, dy = (x - left)[:, None], (y - top)[:, None]
    upper = field[top, left] * (1 - dx) + field[top, left + 1] * dx
    lower = field[top + 1, left] * (1 - dx) + field[top + 1, left + 1] * dx
    return upper * (1 - dy) + lower * dy
