"""Print styles of a page: ECG-image-kit's own, the competition's, or a random one."""

from dataclasses import dataclass, field, replace

import numpy as np

from configs.page import FLAT_TYPES, PAGE_DPI, SAMPLING_RATES
from synthesis.ink import font_names

POINT_PX = PAGE_DPI / 72  # px of a typographic point

KIT_MAJOR, KIT_MINOR = (255.0, 0.0, 0.0), (254.0, 223.0, 219.0)  # RGB of ECG-image-kit's grid lines
GRID_COLOURS = (  # RGB of major (5 mm) and minor (1 mm) lines
    ((255, 90, 90), (250, 205, 205)),
    ((230, 120, 140), (250, 215, 222)),
    ((240, 140, 60), (252, 220, 190)),
    ((70, 110, 220), (205, 218, 248)),
    ((40, 150, 90), (200, 232, 212)),
    ((160, 110, 70), (228, 210, 190)),
)
GREY_GRIDS = (((120, 120, 120), (215, 215, 215)), ((60, 60, 60), (150, 150, 150)))
COMPETITION_SHARE = 0.55  # share of pages other than type 0001 in the competition's style; the others vary
QR_CODE_SHARE = 0.4  # share of varied pages with a QR code
PULSE_RATES = (100, *SAMPLING_RATES)  # Hz; at 100 Hz the pulse falls 10 to 20 ms after the leads begin
END_DASH_SHARE = 0.12  # share of pages other than type 0001 with dark dashes near the ends of the rows
KIT_COLOURS_SHARE = 0.55  # share of varied pages with the grid of ECG-image-kit


@dataclass(frozen=True)
class Style:
    """How a page is printed; the defaults are those of ECG-image-kit.

    Colours are RGB in 0..255, line widths in points, other lengths in px unless a name gives the unit.
    """

    paper: tuple[float, float, float] = (255.0, 255.0, 255.0)
    major: tuple[float, float, float] = KIT_MAJOR
    minor: tuple[float, float, float] = KIT_MINOR
    major_width: float = 0.5
    minor_width: float = 0.5
    snapped: bool = True  # whether grid lines lie on whole pixels
    dashed_share: float = 0.0  # share of the major lines that are partly dark and dashed
    ink: float = 10.0  # grey value of the traces
    text_ink: float = 0.0  # grey value of the text
    trace_width: float = 0.75
    pulse_width: float = 1.125
    pulse_step_s: float | None = None  # sampling interval of the pulse; None: the record's, 0: vertical edges
    end_dashes: bool = False  # whether major lines have dark dashes near the ends of the rows
    separator_width: float = 2.25
    separators: bool = True
    frame: bool = True
    font: str = field(default_factory=lambda: font_names()[0])
    text_size: float = 11 * POINT_PX
    label_shift_mm: tuple[float, float] = (0.0, 0.0)
    label_jitter_px: float = 0.0
    row_shift_px: float = 0.0  # standard deviation of the zero lines' y
    header: bool = True
    scale_texts: bool = True
    qr_code: bool = False
    misregistration: float = 0.0  # distance between the magenta and yellow ink of vertical lines, px
    gaps: float = 0.0  # share of the ink missing from vertical major lines, see page.break_lines
    competition: bool = False  # whether the page is also captured in the competition's style


def choose_style(rng: np.random.Generator, image_type: str) -> Style:
    """A random style: ECG-image-kit's for type 0001, the competition's or a varied one for other types."""
    step = 1 / float(rng.choice(PULSE_RATES)) if rng.random() < 0.4 else None
    if image_type == "0001":
        return Style(ink=kit_ink(rng), pulse_step_s=step)
    dashes = bool(rng.random() < END_DASH_SHARE)
    if rng.random() < COMPETITION_SHARE:
        return replace(competition_style(rng, image_type), pulse_step_s=step, end_dashes=dashes)
    return replace(
        varied_style(rng, image_type),
        qr_code=bool(rng.random() < QR_CODE_SHARE),
        pulse_step_s=0.0 if rng.random() < 0.2 else step,
        end_dashes=dashes,
    )


def kit_ink(rng: np.random.Generator) -> float:
    return float(rng.choice([10.0, 46.0, rng.uniform(0, 80)]))


def competition_style(rng: np.random.Generator, image_type: str) -> Style:
    """ECG-image-kit's page with a QR code, on a screen or from the competition's colour printer.

    The print's red is lighter in scans than in phone photos: RGB (235, 145, 147) in half-size scans, and
    (107, 63, 63) in photos on paper of 168, a maroon almost as dark as the trace.
    """
    if image_type == "0006":
        return Style(ink=kit_ink(rng), qr_code=True, competition=True)
    scanned = image_type in FLAT_TYPES
    major = np.array((235.0, 46, 54) if scanned else (112.0, 14, 22)) + rng.normal(0, (8, 10, 10))
    minor = np.array((240.0, 226, 232) if scanned else (235.0, 227, 229)) + rng.normal(0, 4, 3)
    return Style(
        major=tuple(major.clip(0, 255)),
        minor=tuple(minor.clip(0, 255)),
        major_width=rng.uniform(0.55, 0.9) if scanned else rng.uniform(0.6, 0.95),
        minor_width=rng.uniform(0.35, 0.6),
        ink=rng.uniform(15, 70),
        text_ink=rng.uniform(10, 60),
        trace_width=rng.uniform(0.7, 0.95),
        qr_code=True,
        misregistration=rng.uniform(-2, 2) if scanned else rng.uniform(-0.6, 0.6),
        gaps=rng.uniform(0.05, 0.4) if scanned else rng.uniform(0, 0.12),
        competition=True,
    )


def varied_style(rng: np.random.Generator, image_type: str) -> Style:
    """A style that varies ECG-image-kit's little or much."""
    trace_width = rng.uniform(0.65, 1.0)
    style = Style(
        paper=tuple(rng.uniform(244, 255) - rng.uniform(0, 8, 3)),
        ink=kit_ink(rng),
        text_ink=rng.uniform(0, 50),
        snapped=bool(rng.random() < 0.6),
        row_shift_px=rng.uniform(0, 1.2),
        frame=bool(rng.random() < 0.6),
        header=bool(rng.random() < 0.9),
        scale_texts=bool(rng.random() < 0.9),
        trace_width=trace_width,
        pulse_width=trace_width if rng.random() < 0.3 else Style.pulse_width,
    )
    if rng.random() < KIT_COLOURS_SHARE:
        return style
    grids = GREY_GRIDS if image_type in FLAT_TYPES and rng.random() < 0.4 else GRID_COLOURS
    major, minor = grids[rng.integers(len(grids))]
    strength = rng.uniform(0.2, 0.8) if rng.random() < 0.4 else rng.uniform(0, 0.25)  # of the minor lines
    return replace(
        style,
        major=tuple(np.clip(np.array(major) + rng.normal(0, 14, 3), 0, 255)),
        minor=tuple(np.array(minor) * (1 - strength) + np.array(major) * strength),
        major_width=rng.uniform(0.35, 1.0),
        minor_width=rng.uniform(0.25, 0.7),
        dashed_share=rng.uniform(0, 0.5) if rng.random() < 0.25 else 0.0,
        trace_width=rng.uniform(0.5, 1.5),
        pulse_width=rng.uniform(0.6, 1.5),
        separator_width=rng.uniform(0.7, 2.6),
        separators=bool(rng.random() < 0.75),
        font=str(rng.choice(font_names())),
        text_size=rng.uniform(8, 14) * POINT_PX,
        label_shift_mm=(rng.uniform(-0.5, 2.5), rng.uniform(-16, 3)),
        label_jitter_px=rng.uniform(0, 4),
    )
