"""What is written on a page of any layout: lead labels, speed and gain, a header, and notes by hand."""

import numpy as np

from configs.layouts import Layout, Segment
from synthesis.ink import CAP_HEIGHT, put_ink, put_text, rasterize_text, stroke, text_fonts
from synthesis.layouts.sheet import Print

TEXT_MM = (1.9, 4.2)  # range of the height of letters
# Where a lead's label stands, seen from the start of its trace.
LABEL_PLACES = ("above", "above", "over", "over", "below", "left")
HEADER_SHARE = 0.6  # share of pages with a header where there is room
SCALES_SHARE = 0.75  # share of pages with the paper speed and the gain
BOLD_COPIES = 2  # copies of a bold text, a third of a stroke apart

SPEED_TEXTS = (
    *("{:g} mm/s", "{:g}mm/s", "{:g} mm/sec", "{:g}mm/sec", "Speed: {:g} mm/sec", "{:g} MM/S"),
    *("{:.1f} mm/s", "Speed:{:g}mm/s", "{:g} mm/sec."),
)
GAIN_TEXTS = (
    *("{:g} mm/mV", "{:g}mm/mV", "{:.1f} mm/mV", "Limb: {:g} mm/mV", "Gain {:g} mm/mV", "{:g} MM/MV"),
    *("Limb:{:g}mm/mV", "{:.1f}mm/mV", "Sens. {:g} mm/mV"),
)
OTHER_TEXTS = (
    *("0.05-150 Hz", "40 Hz", "50 Hz", "AC 60", "100 Hz", "0.5~35 Hz", "W 0.05-40 Hz", "05.10.25", "25 Hz"),
    *("F 60~ 0.15-100 Hz", "~40Hz", "12SL v239", "PH100B"),
)
HEADER_WORDS = (
    *("Name:", "ID: 4711", "Male, 61 yrs", "HR 72 /min", "PR 160 ms", "QRS 92 ms", "QT/QTc 380/412 ms"),
    *("Axis 42", "Normal sinus rhythm", "Unconfirmed", "Dept: Cardiology", "P-R-T 50 30 45"),
)
NOTES = ("ST elevation", "P wave", "V1", "aVR", "Q", "II", "delta", "LBBB", "1", "A", "B", "280 ms", "III?")


def write_labels(
    image: np.ndarray, layout: Layout, place: Print, rng: np.random.Generator
) -> tuple[tuple[str, float, float], ...]:
    """Write each segment's label, in place; the labels as in LayoutPage."""
    where, font = str(rng.choice(LABEL_PLACES)), str(rng.choice(text_fonts()))
    size_mm = rng.uniform(*TEXT_MM)
    upper, bold, ink = rng.random() < 0.2, rng.random() < 0.3, (float(rng.uniform(0, 70)),) * 3
    pitch = place.pitch
    dx, dy = {
        "above": (rng.uniform(0, 4), -rng.uniform(0.15, 0.45) * pitch),
        "over": (rng.uniform(0, 2), -rng.uniform(-0.5, 3)),
        "below": (rng.uniform(0, 2), min(rng.uniform(3, 9), 0.45 * pitch)),
        "left": (-rng.uniform(2.2, 3.5) * size_mm, 0.4 * size_mm),
    }[where]
    # Vendors that write the first lead beside the pulse write the others above or over their traces.
    others = rng.uniform(0, 2), -rng.uniform(0.05, 0.3) * pitch
    labels = []
    for segment in layout.segments:
        text = label_text(segment, upper)
        across, down = (dx, dy) if where != "left" or segment.column == 0 else others
        column_mm = segment.column / segment.columns * layout.duration_s * layout.mm_per_second
        x, y = place.start + column_mm + across, place.zero_lines[segment.row] + down
        middle = write(image, text, (x, y), font, size_mm, place.px_per_mm, ink, bold)
        signed = ("-" if segment.sign < 0 else "") + segment.lead
        labels.append((signed, *middle))
    return tuple(labels)


def write(
    image: np.ndarray, text: str, xy_mm: tuple[float, float], font: str, size_mm: float, px_per_mm: float,
    ink: tuple[float, float, float], bold: bool = False,
) -> tuple[float, float]:  # fmt: skip
    """Write a text of capitals `size_mm` high, its baseline beginning at `xy_mm`; (x, y) px of its middle."""
    size = size_mm / CAP_HEIGHT * px_per_mm
    x, y = xy_mm[0] * px_per_mm, xy_mm[1] * px_per_mm
    for copy in range(BOLD_COPIES if bold else 1):
        put_text(image, text, (x + copy * max(1.0, 0.03 * size), y), font, size, ink)
    width = rasterize_text(text, font, size)[0].shape[1]
    return x + width / 2, y - 0.5 * size_mm * px_per_mm


def label_text(segment: Segment, upper: bool) -> str:
    """A segment's label as it is printed."""
    text = segment.lead.upper() if upper else segment.lead
    return f"-{text}" if segment.sign < 0 else text


def write_scales(
    image: np.ndarray, layout: Layout, place: Print, rng: np.random.Generator
) -> tuple[tuple[str, float, float], ...]:
    """Write speed, gain and the like near the rows or at the sheet's bottom, in place; sometimes none.

    Returns what is written, (text, x, y) with the px of its middle: the speed and the gain as LayoutPage has
    them, for others "".
    """
    if rng.random() >= SCALES_SHARE:
        return ()
    font, ink, size_mm = (
        str(rng.choice(text_fonts())),
        (float(rng.uniform(0, 80)),) * 3,
        rng.uniform(*TEXT_MM),
    )
    speed, gain = str(rng.choice(SPEED_TEXTS)), str(rng.choice(GAIN_TEXTS))
    texts = [(f"{layout.mm_per_second:g} mm/s", speed.format(layout.mm_per_second))]
    texts.append((f"{layout.mm_per_mv:g} mm/mV", gain.format(layout.mm_per_mv)))
    if gain.startswith("Limb"):
        texts.append((texts[-1][0], gain.replace("Limb", "Chest").format(layout.mm_per_mv)))
    texts += [("", str(text)) for text in rng.choice(OTHER_TEXTS, rng.integers(0, 3), replace=False)]
    below = min(place.zero_lines[-1] + rng.uniform(0.5, 0.9) * place.pitch, place.height - 1.5)
    y = below if rng.random() < 0.7 else place.height - rng.uniform(1.5, 5)
    x = place.start + rng.uniform(-6, 30)
    spread, found = rng.uniform(2, 40) if rng.random() < 0.7 else 2.0, []
    for number in rng.permutation(len(texts)):
        name, text = texts[number]
        middle = write(image, text, (x, y), font, size_mm, place.px_per_mm, ink)
        found.append((name, *middle))
        x += 2 * (middle[0] / place.px_per_mm - x) + spread
    return tuple(found)


def write_header(
    image: np.ndarray, place: Print, rng: np.random.Generator
) -> tuple[tuple[str, float, float], ...]:
    """Write a header above the rows, in place, on some of the sheets with room for it.

    Returns ("", x, y) with the px of the middle of each text.
    """
    room = place.zero_lines[0] - 12
    if rng.random() >= HEADER_SHARE or room <= 8:
        return ()
    words = []
    font, ink, size_mm = (
        str(rng.choice(text_fonts())),
        (float(rng.uniform(0, 80)),) * 3,
        rng.uniform(*TEXT_MM),
    )
    columns = int(rng.integers(2, 5))
    for index, word in enumerate(rng.permutation(HEADER_WORDS)):
        y = 5 + (index // columns) * rng.uniform(4.5, 6)
        if y > room:
            break
        x = 4 + (index % columns) * (image.shape[1] / place.px_per_mm - 8) / columns
        words.append(("", *write(image, str(word), (x, y), font, size_mm, place.px_per_mm, ink)))
    return tuple(words)


def annotate(image: np.ndarray, place: Print, rng: np.random.Generator) -> None:
    """Draw arrows, ellipses and short words among the rows, in place, as teaching files have them."""
    left, right = place.start, image.shape[1] / place.px_per_mm - 10
    top, bottom = place.zero_lines[0] - 10, place.zero_lines[-1] + 10
    colour = ((200.0, 20.0, 20.0), (20.0, 20.0, 20.0), (20.0, 60.0, 190.0))[rng.integers(3)]
    coverage = np.zeros(image.shape[:2], np.float32)
    for _ in range(int(rng.integers(1, 7))):
        at = np.array([rng.uniform(left, right), rng.uniform(top, bottom)])
        kind = rng.integers(3)
        if kind == 0:  # an arrow: its shaft and the two strokes of its head
            along = np.exp(1j * rng.uniform(0, 2 * np.pi))
            head = 2 * along * np.exp(2.6j * np.array([1, -1]))
            ends = np.array([-rng.uniform(5, 12) * along, 0, head[0], 0, head[1]])
            points = at + np.stack([ends.real, ends.imag], axis=1)
        elif kind == 1:
            turn = np.linspace(0, 2 * np.pi, 40)
            points = at + np.stack(
                [rng.uniform(3, 9) * np.cos(turn), rng.uniform(3, 7) * np.sin(turn)], axis=1
            )
        else:
            write(image, str(rng.choice(NOTES)), (at[0], at[1]), str(rng.choice(text_fonts())),
                  rng.uniform(*TEXT_MM), place.px_per_mm, colour)  # fmt: skip
            continue
        stroke(coverage, points * place.px_per_mm, rng.uniform(2, 5))
    put_ink(image, coverage, colour)
