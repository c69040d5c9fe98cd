"""Paper speed, gain and size of print of a PDF page, by its texts, its grid and its calibration pulses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from configs.landmarks import GAINS, SPEEDS
from configs.page import MM_PER_MV, MM_PER_SECOND, PULSE_MV, PULSE_SECONDS
from digitization.layout.scales import ASSUMED, COLUMNS, GIVEN, OTHER_TEXT, PULSE, TEXT, Scale, agree
from digitization.vector.curves import PrintedPulse
from utils.pdf import Text

NUMBER = r"(\d+(?:[.,]\d+)?)"
SPEED_TEXT = re.compile(NUMBER + r"\s*mm\s*/\s*s(?:e[ck])?\b", re.IGNORECASE)
GAIN_TEXT = re.compile(
    NUMBER + r"(?:\s*[/:-]\s*" + NUMBER + r")?\s*mm\s*/\s*mV\b", re.IGNORECASE
)  # "10/5 mm/mV" has other gains for limb and chest leads
GAIN_EXCEPTION = re.compile(r"[x×*]\s*[\d½¼]|[½¼]|\bV[1-6]\b")  # "10 mm/mV (V1-V6 x0.5)"
USUAL_GAINS = (2.5, *GAINS, 40.0)  # mm/mV
EXACT = 0.02  # share by which two sources may differ in a file that holds the curve itself
PULSE_WIDTH = 0.06  # share by which a pulse may be wider: at 125 Hz its slanted edges add 0.2 mm
SHORT_PULSE_SECONDS = PULSE_SECONDS / 2  # some devices print such pulses
QUARTER_MM = 2.5 * MM_PER_SECOND  # a lead of a row of four
QUARTER_TOLERANCE = 0.02  # share; ecgtizer's quarters are 0.8 % short
SPEED_RANGE, GAIN_RANGE = (5.0, 200.0), (1.0, 80.0)  # which configs/layouts.py allows


@dataclass(frozen=True)
class PrintScales:
    """Speed in mm/s and gain in mm/mV of the paper, and how large a mm of it is on the page.

    across and up are mm of the page in a mm of the paper. `source` says how these are known, "" if assumed.
    """

    speed: Scale
    gain: Scale
    across: float
    up: float
    source: str
    doubts: tuple[str, ...] = ()

    @property
    def mm_per_second(self) -> float:
        """Of the page."""
        return self.speed.value * self.across

    @property
    def mm_per_mv(self) -> float:
        """Of the page."""
        return self.gain.value * self.up


def printed_values(texts: Sequence[Text], pattern: re.Pattern, limits: tuple[float, float]) -> list[float]:
    """The speeds or gains that the texts tell, each once, in their order."""
    found = [
        float(number.replace(",", "."))
        for text in texts
        for match in pattern.finditer(text.text.replace("\xa0", " "))
        for number in match.groups()
        if number
    ]
    return list(dict.fromkeys(value for value in found if limits[0] <= value <= limits[1]))


def near(value: float, other: float, tolerance: float = EXACT) -> bool:
    return abs(value / other - 1) <= tolerance


def usual(value: float, values: Sequence[float]) -> float:
    """The usual value that a measured one is within EXACT of, else the measured one itself."""
    return next((each for each in values if near(value, each)), round(value, 2))


def find_print_scales(
    texts: Sequence[Text],
    grid: tuple[float | None, float | None],
    pulses: Sequence[PrintedPulse],
    quarter: float | None,
    speed: float | None = None,
    gain: float | None = None,
) -> PrintScales:
    """The scales of a page, whose `grid` is of find_grid.

    `quarter` is the width of a lead in mm of the page if its rows have four; speed and gain are as given.
    """
    speeds = printed_values(texts, SPEED_TEXT, SPEED_RANGE)
    gains = printed_values(texts, GAIN_TEXT, GAIN_RANGE)
    width = float(np.median([pulse.width for pulse in pulses])) if pulses else None
    height = float(np.median([pulse.height for pulse in pulses])) if pulses else None
    across, up = grid
    source = "grid" if across or up else ""
    if not source and width and height and speeds and gains:
        by_height = height / (gains[0] * PULSE_MV)
        by_width = [width / (speeds[0] * seconds) for seconds in (PULSE_SECONDS, SHORT_PULSE_SECONDS)]
        if any(near(by_height, value, PULSE_WIDTH) for value in by_width):
            across = up = by_height
            source = PULSE
    across, up = across or up or 1.0, up or across or 1.0
    doubts = [
        f"the gain is printed with an exception: {text.text}"
        for text in texts
        if (found := GAIN_TEXT.search(text.text)) and GAIN_EXCEPTION.search(text.text[found.end() :])
    ]
    if height and any(not near(pulse.height, height) for pulse in pulses):
        doubts.append("the calibration pulses differ in height: the leads may have different gains")
    found_gain = choose(GIVEN, gain) or agree(
        {**named(gains), PULSE: None if height is None else usual(height / up / PULSE_MV, (*gains, *GAINS))},
        MM_PER_MV,
        "mm/mV",
    )
    found_speed = choose(GIVEN, speed) or agree(
        {
            **named(speeds),
            COLUMNS: MM_PER_SECOND if quarter and is_quarter(quarter / across) else None,
            PULSE: None if width is None else speed_of_pulse(width / across, speeds),
        },
        MM_PER_SECOND,
        "mm/s",
    )
    for scale, what, unit in ((found_speed, "paper speed", "mm/s"), (found_gain, "gain", "mm/mV")):
        if scale.source == PULSE and what == "gain" and scale.value not in USUAL_GAINS:
            doubts.append(f"gain {scale.value:g} mm/mV by its pulses, which is unusual")
        if scale.source == ASSUMED:
            doubts.append(f"{what} not found, {scale.value:g} {unit} is assumed")
        elif scale.contradiction:
            doubts.append(f"{what} {scale.value:g} {unit} by its {scale.source}, but {scale.contradiction}")
    return PrintScales(found_speed, found_gain, across, up, source, tuple(doubts))


def named(values: Sequence[float]) -> dict[str, float | None]:
    return dict(zip((TEXT, OTHER_TEXT), values, strict=False))


def choose(source: str, value: float | None) -> Scale | None:
    return None if value is None else Scale(value, source)


def is_quarter(width: float) -> bool:
    return abs(width / QUARTER_MM - 1) <= QUARTER_TOLERANCE


def speed_of_pulse(width: float, speeds: Sequence[float]) -> float | None:
    """The speed by the width of a pulse in mm of the paper: a printed one if it agrees, else a usual one.

    From a pulse that has neither 0.2 nor 0.1 s at a usual speed nothing follows, nor from 0.1 s alone.
    """
    for value in speeds:
        seconds = (PULSE_SECONDS, SHORT_PULSE_SECONDS)
        if any(near(width / each, value, PULSE_WIDTH) for each in seconds):
            return value
    return next((value for value in SPEEDS[1:] if near(width / PULSE_SECONDS, value, PULSE_WIDTH)), None)
