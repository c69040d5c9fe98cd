"""Paper speed and gain of a page: from its calibration pulses, its printed text, or the width of its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs.landmarks import GAIN_NAMES, GAINS, SPEED_NAMES, SPEEDS
from configs.page import MM_PER_MV, MM_PER_SECOND, PULSE_MV, PULSE_SECONDS, SQUARE_MM
from digitization.layout.landmarks import Keypoint, Pulse

MIN_TEXT_PROBABILITY = 0.8  # probability from which a printed speed or gain is believed
MIN_PULSE_PROBABILITY = 0.5  # mean probability of a pulse's corners from which it is
SCALE_TOLERANCE = 0.15  # log of the ratio by which a pulse may be off a usual gain or speed
# Squares that a lead of 2.5 s takes at 25 mm/s: rows of four leads are printed so, whatever the device.
QUARTER_SQUARES = 2.5 * MM_PER_SECOND / SQUARE_MM
GIVEN, TEXT, PULSE, COLUMNS, ASSUMED = "given", "text", "pulse", "width of the leads", "assumed"
OTHER_TEXT = "another text"


@dataclass(frozen=True)
class Scale:
    """A speed in mm/s or a gain in mm/mV, how it is known, and what contradicts it, if anything does."""

    value: float
    source: str
    contradiction: str = ""

    @property
    def is_known(self) -> bool:
        return self.source != ASSUMED and not self.contradiction


def printed(scales: Sequence[Keypoint], names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """The values of legible texts, the most legible first: TEXT or OTHER_TEXT -> value."""
    legible = {
        value: max((keypoint.of(name) for keypoint in scales), default=0.0)
        for name, value in zip(names, values, strict=True)
    }
    found = sorted(legible, key=lambda value: -legible[value])[:2]
    return {
        source: value
        for source, value in zip((TEXT, OTHER_TEXT), found, strict=True)
        if legible[value] >= MIN_TEXT_PROBABILITY
    }


def nearest(value: float, usual: Sequence[float]) -> float | None:
    """The usual value nearest to one by ratio, None where it is more than SCALE_TOLERANCE off."""
    off = np.abs(np.log(value / np.array(usual)))
    return usual[int(off.argmin())] if off.min() <= SCALE_TOLERANCE else None


def pulse_size(pulses: Sequence[Pulse]) -> tuple[float | None, float | None]:
    """The median width and height in squares of the pulses that are seen well; None where none is."""
    seen = [pulse for pulse in pulses if pulse.probability >= MIN_PULSE_PROBABILITY]
    widths = [pulse.width for pulse in seen if pulse.width is not None]
    width = float(np.median(widths)) if widths else None
    return width, float(np.median([pulse.height for pulse in seen])) if seen else None


def agree(found: Mapping[str, float | None], default: float, unit: str) -> Scale:
    """The first value found, in the order of trust, with the sources that contradict it."""
    known = [(source, value) for source, value in found.items() if value is not None]
    if not known:
        return Scale(default, ASSUMED)
    source, value = known[0]
    others = [f"{other} {seen:g} {unit}" for other, seen in known[1:] if seen != value]
    return Scale(value, source, ", ".join(others))


def find_gain(pulses: Sequence[Pulse], scales: Sequence[Keypoint], given: float | None = None) -> Scale:
    """The gain: as given, by the height of the pulses, else as printed, else 10 mm/mV is assumed."""
    if given is not None:
        return Scale(given, GIVEN)
    _, height = pulse_size(pulses)
    measured = None if height is None else nearest(height * SQUARE_MM / PULSE_MV, GAINS)
    return agree({PULSE: measured, **printed(scales, GAIN_NAMES, GAINS)}, MM_PER_MV, "mm/mV")


def find_speed(
    pulses: Sequence[Pulse], scales: Sequence[Keypoint], lead_squares: float, columns: int,
    given: float | None = None,
) -> Scale:  # fmt: skip
    """The paper speed: as given or printed, by the width of the leads of a row of four, or by the pulses.

    Pulses last 0.2 s, but those of some devices half as long: from narrow ones nothing follows. Without any
    of these 25 mm/s are assumed.
    """
    if given is not None:
        return Scale(given, GIVEN)
    width, _ = pulse_size(pulses)
    measured = None if width is None else nearest(width * SQUARE_MM / PULSE_SECONDS, SPEEDS[1:])
    quarter = columns == 4 and abs(lead_squares / QUARTER_SQUARES - 1) < 0.05
    found = {
        **printed(scales, SPEED_NAMES, SPEEDS),
        COLUMNS: MM_PER_SECOND if quarter else None,
        PULSE: measured,
    }
    return agree(found, MM_PER_SECOND, "mm/s")
