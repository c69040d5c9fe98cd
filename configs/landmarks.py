"""The landmarks of a page of any layout: what its network finds on the straightened paper, and at what scale.

Keypoints, of which each pixel shows one or none: the lead labels, and the printed paper speed and gain. Maps,
each for itself: the rows' zero lines, where rows begin and end, where one lead of a row ends and the next
begins, and the corners of calibration pulses.
"""

from dataclasses import dataclass

from configs.network import NetworkConfig, check_ranges
from configs.page import LEADS

PX_PER_SQUARE = 20.0  # of the straightened paper: the smallest letters, 1.9 mm high, are 7.6 px high
LABELS = (*LEADS, "-aVR")
SPEEDS = (12.5, 25.0, 50.0)  # mm/s
GAINS = (5.0, 10.0, 20.0)  # mm/mV
SPEED_NAMES = tuple(f"{speed:g} mm/s" for speed in SPEEDS)
GAIN_NAMES = tuple(f"{gain:g} mm/mV" for gain in GAINS)
KEYPOINTS = (*LABELS, *SPEED_NAMES, *GAIN_NAMES)  # class 0 is none of them
PULSE_CORNERS = ("rise bottom", "rise top", "fall top", "fall bottom")
MAPS = ("zero line", "start", "end", "boundary", *PULSE_CORNERS)


@dataclass(frozen=True)
class LandmarksConfig(NetworkConfig):
    crop_squares: tuple[int, int] = (32, 40)  # squares (rows, columns), size of a training sample
    keypoint_radius: float = 6.0  # px of the input, radius of the target at a keypoint
    keypoint_weight: float = 4.0  # weight of a keypoint's pixel relative to one of class 0
    map_sigma: float = 3.5  # px of the input, standard deviation of the targets of the maps
    map_weight: float = 12.0  # weight of a pixel of those targets: they cover a few per cent of the page

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            {
                "crop_squares": (8, 80),
                "keypoint_radius": (0.5, 500),
                "keypoint_weight": (1e-3, 1e6),
                "map_sigma": (0.5, 500),
                "map_weight": (1e-3, 1e6),
            },
        )


# The shipped network.
config = LandmarksConfig(
    encoder_channels=(24, 48, 96, 160),
    stem_stride=(4, 4),
    context_blocks=(1, 2),
    decoder_channels=(96, 48, 32),
    learning_rate=3e-3,
    batch_size=8,
    layout_share=1.0,
)
