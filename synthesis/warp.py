"""The one geometric map between a page and its capture, and its exact inverse for the labels."""

from dataclasses import dataclass

import cv2
import numpy as np

NODE_PX = 8  # pitch of the lattice on which the map is evaluated; linear between its nodes
FIXED_POINT_STEPS = 30


@dataclass(frozen=True)
class Warp:
    """How the page lies before the lens.

    homography: (3, 3) float64, page px to px of the capture, for a flat page and a plain lens.
    displacement: (h, w, 2) float32 page px, on nodes `cell` page px apart, the first at `origin`. The ink
        seen at a place q of the flat page is that of the page at q + displacement(q).
    lens: radial distortion; an undistorted point lies at centre + (p - centre) * (1 + lens * r^2), with r
        in halves of the diagonal.
    size: (width, height) of the capture.
    feed: how the paper passed a scanner: x of a steady feed, and x at which it was scanned, both (n,) px of
        the capture and not decreasing; where x goes on and the scanned x does not, paper was lost. None:
        steady.
    """

    homography: np.ndarray
    displacement: np.ndarray
    cell: float
    origin: float
    lens: float
    size: tuple[int, int]
    feed: tuple[np.ndarray, np.ndarray] | None = None

    def to_page(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) px of the capture to page px."""
        return self.steady_to_page(self.map_feed(points, 1, 0))

    def steady_to_page(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) px of a capture with a steady feed to page px."""
        flat = project(np.linalg.inv(self.homography), self.undistort(points))
        return flat + self.displace(flat)

    def to_capture(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) page px to px of the capture; solved by fixed-point iteration."""
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
        """(..., 2) px from one of the two x of `feed` to the other, by their places 0 and 1."""
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
        """What the capture sees of (H, W, C) uint8 `page`: one remap from its pixels, `border` outside.

        The image has `scale` px per page px and its left top corner at `origin` page px.
        """
        width, height = self.size
        columns, rows = -(-width // NODE_PX) + 2, -(-height // NODE_PX) + 2
        x = (np.arange(columns) - 0.5) * NODE_PX - 0.5
        y = (np.arange(rows) - 0.5) * NODE_PX - 0.5
        fine_width, left = columns * NODE_PX, NODE_PX
        if self.feed is not None:  # its steps may lie between any two nodes: a column of nodes for each px
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
    """(..., 2) points through a (3, 3) projective map."""
    homogeneous = np.asarray(points, np.float64) @ homography[:, :2].T + homography[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def bilinear(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(h, w, c) field at (N,) nodes x and y, its border carried on outwards: (N, c)."""
    height, width = field.shape[:2]
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    dx, dy = (x - left)[:, None], (y - top)[:, None]
    upper = field[top, left] * (1 - dx) + field[top, left + 1] * dx
    lower = field[top + 1, left] * (1 - dx) + field[top + 1, left + 1] * dx
    return upper * (1 - dy) + lower * dy
