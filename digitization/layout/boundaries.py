"""Where the rows of a page begin and its leads follow one another, to a few ms, by close-ups of each place.

The places of all rows depend on few numbers: where the rows begin, how wide they are, and how far each begins
to the right of the one above it. Those are taken at which the close-ups are likeliest altogether, since one
alone often shows nothing: where two leads meet at the same height there is no mark at all.
"""

from dataclasses import dataclass

import numpy as np
import torch

from configs.close_ups import PLACES
from configs.layouts import Layout
from digitization.geometry.close_ups import close_ups, column_of
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import is_inside
from models.tensors import to_tensor

REACH, STEP = 1.0, 0.0125  # squares: range and step of the correction of where the rows begin
MAX_SLANT, SLANT_STEP = 0.04, 0.002  # squares per square down: prints lie askew on their paper by 2 degrees
SQUARE_SD, ASKEW_SD = 0.002, 0.02  # standard deviations of it, of prints square to their paper and askew ones
ASKEW_SHARE = 0.1  # share of prints that lie askew
MAX_WIDTH, WIDTH_STEP = 0.5, 0.025  # squares: range and step of the correction of a width that is not known
FINER = 5  # by which all steps are finer in a second search
OUTLIER_SHARE = 0.1  # share of close-ups in which something else is taken for the place
CORRELATION = 0.4  # factor of the log-likelihood: close-ups of one print mislead in the same way
BATCH = 32  # close-ups that the network sees at once
NEAR = 0.1  # squares (20 ms) about the place found that count as certain of it


@dataclass(frozen=True)
class Mark:
    """A place on a row.

    kind: its index in PLACES; share: of the row's width; (x, y): where it is expected, in squares; below: how
    many squares its row is below the middle of all rows.
    """

    kind: int
    share: float
    x: float
    y: float
    below: float


@dataclass(frozen=True)
class RowPlaces:
    """Corrections of a page's rows in squares: of their start and width, and their slant; see LayoutPage.

    certainty: 0..1, the probability that the start is right within NEAR.
    evidence: by how much likelier than not the close-ups show the places, log; 0 for those outside the image.
    """

    start: float = 0.0
    width: float = 0.0
    slant: float = 0.0
    certainty: float = 0.0
    evidence: float = 0.0


def list_marks(layout: Layout, zero_lines: np.ndarray, start: float, width: float) -> list[Mark]:
    """The beginning, the boundaries and the end of each row."""
    marks = []
    for row, y in enumerate(zero_lines):
        columns = layout.columns if row < len(layout.rows) else 1
        for number in range(columns + 1):
            kind = "start" if number == 0 else "end" if number == columns else "boundary"
            share = number / columns
            below = float(y - zero_lines.mean())
            marks.append(Mark(PLACES.index(kind), share, start + share * width, float(y), below))
    return marks


@torch.inference_mode()
def find_places(
    image: np.ndarray,
    gridpoint_xy: np.ndarray,
    marks: list[Mark],
    net: torch.nn.Module,
    device: torch.device | str = "cpu",
    width_is_known: bool = True,
) -> RowPlaces:
    """Where the rows are by close-ups of the marks on an image (H, W, 3) uint8 with its lattice (R, C, 2)."""
    xy = lattice_points(gridpoint_xy, np.array([m.y for m in marks]), np.array([m.x for m in marks]))
    marks = [mark for mark, inside in zip(marks, is_inside(xy, image.shape), strict=True) if inside]
    if not marks:
        return RowPlaces()
    shown = close_ups(image, gridpoint_xy, [(mark.x, mark.y) for mark in marks])
    logits = torch.cat(
        [
            net(torch.cat([to_tensor(image) for image in shown[first : first + BATCH]]).to(device))
            .float()
            .cpu()
            for first in range(0, len(shown), BATCH)
        ]
    )
    asked = logits[torch.arange(len(marks)), [mark.kind for mark in marks]]
    return likeliest_places(marks, asked.softmax(dim=1).numpy(), width_is_known)


def likeliest_places(marks: list[Mark], probability: np.ndarray, width_is_known: bool = True) -> RowPlaces:
    """The places at which marks with probabilities (N, W) of the columns of their close-ups are likeliest."""
    columns = probability.shape[1]
    likelihood = np.log((1 - OUTLIER_SHARE) * columns * probability + OUTLIER_SHARE)
    share, down = np.array([mark.share for mark in marks]), np.array([mark.below for mark in marks])
    centre, reach, step = np.zeros(3), np.array([REACH, MAX_WIDTH, MAX_SLANT]), (STEP, WIDTH_STEP, SLANT_STEP)
    if width_is_known:
        reach[1] = 0.0
    if np.ptp(down) == 0:
        reach[2] = 0.0
    certainty = evidence = 0.0
    for factor in (1, FINER):
        steps = np.array(step) / factor
        starts, widths, slants = (
            middle + size * np.arange(-round(far / size), round(far / size) + 1)
            for middle, far, size in zip(centre, reach, steps, strict=True)
        )
        total = log_prior(slants) / CORRELATION + np.zeros((len(starts), len(widths), 1))
        for row, part, below in zip(likelihood, share, down, strict=True):
            off = starts[:, None, None] + part * widths[:, None] + below * slants
            total += np.interp(column_of(off), np.arange(columns), row)
        posterior = np.exp(CORRELATION * (total - total.max()))
        posterior /= posterior.sum()
        if factor == 1:
            best = np.unravel_index(total.argmax(), total.shape)
            centre = np.array([starts[best[0]], widths[best[1]], slants[best[2]]])
            near = np.abs(starts - centre[0]) <= NEAR
            evidence = CORRELATION * float(total.max())
            certainty = float(posterior.sum(axis=(1, 2))[near].sum())
            reach = np.minimum(reach, 4 * steps)
        else:
            centre = np.array(
                [
                    posterior.sum(axis=(1, 2)) @ starts,
                    posterior.sum(axis=(0, 2)) @ widths,
                    posterior.sum(axis=(0, 1)) @ slants,
                ]
            )
    return RowPlaces(float(centre[0]), float(centre[1]), float(centre[2]), certainty, evidence)


def log_prior(slants: np.ndarray) -> np.ndarray:
    """The logarithm of how often prints have these slants (N,), to a constant."""
    square, askew = (np.exp(-0.5 * (slants / sd) ** 2) / sd for sd in (SQUARE_SD, ASKEW_SD))
    return np.log((1 - ASKEW_SHARE) * square + ASKEW_SHARE * askew)
