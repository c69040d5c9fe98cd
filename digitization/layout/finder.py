"""Pages of any layout found in images: first the paper, then its landmarks, from these the layout."""

from dataclasses import replace

import numpy as np
import torch

from configs.landmarks import PX_PER_SQUARE
from configs.page import SQUARE_MM
from configs.stage0 import ORIENTATIONS
from digitization.geometry.lines import refine_lattice
from digitization.geometry.locate import PageNotFound
from digitization.geometry.orientation import MIRRORED, points_to_upright, undo_orientation
from digitization.geometry.paper import PaperGrid, find_paper
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import StraightPaper, straighten_paper
from digitization.layout.boundaries import RowPlaces, find_places, list_marks
from digitization.layout.landmarks import Landmarks, find_landmarks, merge_labels
from digitization.layout.match import match_layout, pitch_of
from digitization.layout.page import (
    DURATION_TOLERANCE,
    MAX_DURATION_S,
    MUCH_LONGER,
    NOTHING_KNOWN,
    Known,
    LayoutPage,
    place_layout,
    usual_duration,
)
from digitization.layout.printed_scales import read_scales, search_scales
from digitization.layout.scales import ASSUMED

# Labels by which another orientation has to be more legible: one if it is turned, three if it is mirrored,
# which few images are, and in which a V looks like an A.
TURNED_LEGIBILITY, MIRRORED_LEGIBILITY = 1.0, 3.0
UPRIGHT_LEGIBILITY = 4.0  # labels that have to be legible for no other orientation to be tried
SECOND_LOOK_SCORE = 0.75  # score below which the labels are looked at in a second scale
LARGER_PX_PER_SQUARE = 1.2 * PX_PER_SQUARE  # that scale: its letters are no larger than those trained on
LEAST_LAYOUT_SCORE = 0.2  # score below which lead names would be guesses
MIN_PLACE_CERTAINTY = 0.5  # certainty of where the rows begin below which it is doubtful
MIN_PART_PX = 32  # px, height of a part of an image below which nothing could be printed in it
DARK_PAPER = 110.0  # grey value of paper above which its ink cannot be lighter by much


class LayoutFinder:
    """Finds pages of any layout with stage 1 and the networks of the landmarks and of the close-ups."""

    def __init__(
        self,
        stage1_net: torch.nn.Module,
        landmarks_net: torch.nn.Module,
        close_ups_net: torch.nn.Module,
        device: torch.device | str = "cpu",
    ):
        self.device = torch.device(device)
        self.stage1_net = stage1_net.eval().to(self.device)
        self.landmarks_net = landmarks_net.eval().to(self.device)
        self.close_ups_net = close_ups_net.eval().to(self.device)

    def see(self, upright: np.ndarray, gridpoint_xy: np.ndarray) -> Landmarks:
        """The landmarks on the paper of an upright image (H, W, 3) uint8 RGB with this lattice (R, C, 2)."""
        paper = straighten_paper(upright, gridpoint_xy, PX_PER_SQUARE)
        return find_landmarks(paper, self.landmarks_net, self.device)

    def find(self, image: np.ndarray, known: Known = NOTHING_KNOWN) -> tuple[np.ndarray, LayoutPage]:
        """The upright image, dark on light, and the page on an (H, W, 3) uint8 RGB image.

        Raises PageNotFound.
        """
        image, grid = self.find_grid(image)
        orientation, upright, grid, landmarks = self.turn(image, grid)
        match = match_layout(landmarks, known.layout)
        if match is not None and known.layout is None and match.score < SECOND_LOOK_SCORE:
            landmarks = self.look_again(upright, grid.gridpoint_xy, landmarks)
        refined = replace(grid, gridpoint_xy=refine_lattice(upright, grid.gridpoint_xy))
        return upright, self.place(upright, orientation, refined, landmarks, known)

    def place(
        self,
        upright: np.ndarray,
        orientation: int,
        grid: PaperGrid,
        landmarks: Landmarks,
        known: Known = NOTHING_KNOWN,
        searches_scales: bool = True,
    ) -> LayoutPage:
        """The page on an upright image (H, W, 3) uint8, given its grid and its landmarks.

        With `searches_scales` print above and below the rows is searched for a speed or gain not seen.
        Raises PageNotFound where the landmarks say nothing of its layout.
        """
        match = match_layout(landmarks, known.layout)
        if match is None:
            what = "no rows of traces are seen on the paper"
            if known.layout is not None and landmarks.rows:
                what = (
                    f"{len(landmarks.rows)} rows are seen, {known.layout.name} has {known.layout.row_count}"
                )
            raise PageNotFound(what)
        if known.layout is None and match.score < LEAST_LAYOUT_SCORE:
            raise PageNotFound("hardly any lead labels are seen that say what the rows show")
        scales = read_scales(upright, grid.gridpoint_xy, landmarks.texts)
        if scales is not None:
            landmarks = replace(landmarks, scales=scales)
        page = place_layout(orientation, grid, landmarks, match, known)
        if searches_scales and ASSUMED in (page.speed.source, page.gain.source):
            for part in parts_beside_rows(upright, page):
                found = search_scales(part, grid.px_per_square)
                landmarks = replace(landmarks, scales=(*landmarks.scales, *found))
            page = place_layout(orientation, grid, landmarks, match, known)
        return self.place_rows(upright, page, known)

    def look_again(self, upright: np.ndarray, gridpoint_xy: np.ndarray, landmarks: Landmarks) -> Landmarks:
        """The landmarks with labels that are seen on larger paper too: each scale misreads other ones."""
        paper = straighten_paper(upright, gridpoint_xy, LARGER_PX_PER_SQUARE)
        larger = find_landmarks(paper, self.landmarks_net, self.device)
        return replace(landmarks, labels=merge_labels(landmarks.labels, larger.labels))

    def place_rows(self, upright: np.ndarray, page: LayoutPage, known: Known) -> LayoutPage:
        """The page with its rows where close-ups of their beginnings, boundaries and ends show them.

        Rows that seem to be a little shorter or longer than usual rather begin or end elsewhere.
        """
        squares_per_second = page.speed.value / SQUARE_MM
        seconds = usual_duration(page.width / squares_per_second, known)
        usual, end = seconds * squares_per_second, page.start + page.width
        off = abs(page.width / usual - 1)
        ways = [(page.start, usual)]
        if off > DURATION_TOLERANCE:
            ways = [*ways, (end - usual, usual)] if off < MUCH_LONGER - 1 else []
            ways.append((page.start, page.width))
        best, start, width = RowPlaces(evidence=-np.inf), page.start, usual
        for first, wide in ways:
            marks = list_marks(page.layout, page.zero_lines, first, wide)
            places = find_places(
                upright,
                page.gridpoint_xy,
                marks,
                self.close_ups_net,
                self.device,
                width_is_known=wide == usual,
            )
            if places.evidence > best.evidence:
                best, start, width = places, first, wide
        doubts = page.doubts
        if width != usual:
            width += best.width
            seconds = min(width / squares_per_second, MAX_DURATION_S)
            doubts = (*doubts, f"rows of {width / squares_per_second:.2f} s, which is unusual")
        if best.certainty < MIN_PLACE_CERTAINTY:
            doubts = (*doubts, f"where the leads begin is not seen clearly ({best.certainty:.2f})")
        return replace(
            page,
            layout=replace(page.layout, duration_s=round(seconds, 3)),
            start=start + best.start,
            width=width,
            slant=best.slant,
            doubts=doubts,
        )

    def find_grid(self, image: np.ndarray) -> tuple[np.ndarray, PaperGrid]:
        """The image with dark ink on light paper, and the grid of its paper. Raises PageNotFound."""
        first = 255 - image if is_inverted(image) else image
        try:
            return first, find_paper(first, self.stage1_net, self.device)
        except PageNotFound as error:
            if not is_dark(image):
                raise
            other = image if first is not image else 255 - image
            try:
                return other, find_paper(other, self.stage1_net, self.device)
            except PageNotFound:
                raise error from None

    def turn(self, image: np.ndarray, grid: PaperGrid) -> tuple[int, np.ndarray, PaperGrid, Landmarks]:
        """The orientation in which most labels are legible, the upright image, its grid and its landmarks."""
        paper = straighten_paper(image, grid.gridpoint_xy, PX_PER_SQUARE)
        best, first = 0, find_landmarks(paper, self.landmarks_net, self.device)
        landmarks = first
        if first.legibility < UPRIGHT_LEGIBILITY:
            gain = 0.0  # of the best orientation over the image's own, beyond what it needs
            for orientation in range(1, ORIENTATIONS):
                turned = turn_paper(paper, orientation)
                seen = find_landmarks(turned, self.landmarks_net, self.device)
                needed = MIRRORED_LEGIBILITY if orientation >= MIRRORED else TURNED_LEGIBILITY
                if seen.legibility - first.legibility - needed > gain:
                    gain = seen.legibility - first.legibility - needed
                    best, landmarks = orientation, seen
        if not best:
            return 0, image, grid, landmarks
        lattice = points_to_upright(grid.gridpoint_xy, best, image.shape)
        grid = replace(
            grid, gridpoint_xy=undo_orientation(lattice, best), seen=undo_orientation(grid.seen, best)
        )
        upright = undo_orientation(image, best)
        return best, upright, grid, self.see(upright, grid.gridpoint_xy)


def is_dark(image: np.ndarray) -> bool:
    """Whether the middle of an image is too dark for paper in common light."""
    return bool(np.median(inner_half(image)) < DARK_PAPER)


def is_inverted(image: np.ndarray) -> bool:
    """Whether the paper is dark and its ink is light, as some programs show it: so is the image's middle."""
    dark, middle, light = np.percentile(inner_half(image), [2, 50, 98])
    return bool(middle < DARK_PAPER and light - middle > 2 * (middle - dark))


def inner_half(image: np.ndarray) -> np.ndarray:
    """The grey values of the middle of an image (H, W, 3) uint8, half as high and wide, in part."""
    height, width = image.shape[:2]
    part = image[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return part[::2, ::2].mean(axis=2)


def turn_paper(paper: StraightPaper, orientation: int) -> StraightPaper:
    """Straightened paper with an orientation undone, its corner left as it is: to see, not to measure."""
    return replace(
        paper,
        image=undo_orientation(paper.image, orientation),
        inside=undo_orientation(paper.inside, orientation),
    )


def parts_beside_rows(upright: np.ndarray, page: LayoutPage) -> list[np.ndarray]:
    """The parts of an upright image (H, W, 3) above and below the rows, where speed and gain are printed."""
    rows, columns = page.zero_lines, np.arange(page.gridpoint_xy.shape[1])
    beyond = pitch_of(rows) / 2
    above, below = (
        lattice_points(page.gridpoint_xy, np.full(len(columns), row), columns)[:, 1]
        for row in (rows[0] - beyond, rows[-1] + beyond)
    )
    parts = upright[: max(int(above.max()), 0)], upright[max(int(below.min()), 0) :]
    return [part for part in parts if part.shape[0] >= MIN_PART_PX]
