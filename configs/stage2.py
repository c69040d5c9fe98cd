"""Stage 2: the four rows of traces on the rectified page."""

from dataclasses import dataclass

from configs.network import NetworkConfig, check_ranges
from configs.page import MASK_HEIGHT, MASK_WIDTH, RECTIFIED, ROWS

ROW_CHANNELS = len(ROWS) + 1  # three rows of leads and the rhythm strip
HEADROOM_MV = 4.4  # mV kept above the zero line of the top row; the header above is cropped
LOSSES = ("column", "bce")  # distribution over y, its mean and the metric; independent pixels
STEEP_REACH = 3  # columns on either side over which the rise of a trace is measured
MULTIPLE = 64  # px, coarsest stride of the encoders in use


def crop_top() -> int:
    """First row of the rectified page in stage 2's input, whose height is a multiple of MULTIPLE."""
    top = RECTIFIED.zero_lines[0] - HEADROOM_MV * RECTIFIED.px_per_mv
    return int(MASK_HEIGHT - -((top - MASK_HEIGHT) // MULTIPLE) * MULTIPLE)


CROP_TOP = crop_top()
INPUT_HEIGHT = MASK_HEIGHT - CROP_TOP
INPUT_WIDTH = MASK_WIDTH


@dataclass(frozen=True)
class Stage2Config(NetworkConfig):
    backbone: str = "compact"
    stem_stride: tuple[int, int] = (4, 2)
    row_coordinate: bool = True  # whether the coarsest features have a channel with their y-coordinate
    prior_mv: float = 0.0  # mV, SD of the prior of a trace around its zero line; 0: no prior
    crop_columns: int = 544  # columns, width of a training crop
    target_sigma: float = 0.8  # output bins, SD of a column's target distribution over y
    slope_sigma: float = 0.3  # columns, SD of a stroke's x, which widens that target where it is steep
    loss: str = "column"  # one of LOSSES
    positive_weight: float = 10.0  # for "bce": a trace covers under 1 % of the page
    argmax_weight: float = 0.2  # weight of the error of the mean, per output bin
    steep_weight: float = 0.8  # weight added to a column per bin by which its trace rises nearby
    noise_weight: float = 0.3  # weight of the term of the metric
    horizontal_flip: float = 0.1  # probability
    shift: int = 6  # px up or down, random, so that the grid's phase does not reveal the rows

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            {
                "prior_mv": (0, 1000),
                "crop_columns": (MULTIPLE // 2, MASK_WIDTH),
                "target_sigma": (0.05, 50),
                "slope_sigma": (0, 50),
                "positive_weight": (1e-3, 1e6),
                "argmax_weight": (0, 1e6),
                "steep_weight": (0, 1e6),
                "noise_weight": (0, 1e6),
                "horizontal_flip": (0, 1),
                "shift": (0, 200),
            },
        )
        if self.loss not in LOSSES:
            raise ValueError(f"loss {self.loss!r}: must be one of {', '.join(LOSSES)}")
