"""Stage 2: the four rows of traces on the rectified page."""

from dataclasses import dataclass

from configs.network import NetworkConfig, check_ranges
from configs.page import MASK_HEIGHT, MASK_WIDTH, RECTIFIED, ROWS

ROW_CHANNELS = len(ROWS) + 1  # three rows of leads and the rhythm strip
HEADROOM_MV = 4.4  # kept above the top row's zero line; the header is cut off
LOSSES = ("column", "bce")  # the distribution over y, its mean, the metric; plain pixels
STEEP_REACH = 3  # columns on either side over which the rise of a trace is taken
MULTIPLE = 64  # px, the coarsest stride of the encoders in use


def crop_top() -> int:
    """First row of the rectified page that stage 2 sees; a multiple of MULTIPLE above the last."""
    top = RECTIFIED.zero_lines[0] - HEADROOM_MV * RECTIFIED.px_per_mv
    return int(MASK_HEIGHT - -((top - MASK_HEIGHT) // MULTIPLE) * MULTIPLE)


CROP_TOP = crop_top()
INPUT_HEIGHT = MASK_HEIGHT - CROP_TOP
INPUT_WIDTH = MASK_WIDTH


@dataclass(frozen=True)
class Stage2Config(NetworkConfig):
    backbone: str = "compact"
    stem_stride: tuple[int, int] = (4, 2)
    row_coordinate: bool = True  # the coarsest features learn at which height they are
    prior_mv: float = 0.0  # SD of the prior that a row's trace lies near its zero line; 0: no prior
    crop_columns: int = 544  # width of a training crop
    target_sigma: float = 0.8  # of a column's target over y, in output bins
    slope_sigma: float = 0.3  # columns: how far a stroke's place in x blurs that target
    loss: str = "column"  # one of LOSSES
    positive_weight: float = 10.0  # of "bce": a trace covers under 1 % of the page
    argmax_weight: float = 0.2  # of the mean's error, per output bin
    steep_weight: float = 0.8  # added to a column's weight per bin that its trace rises nearby
    noise_weight: float = 0.3  # of the metric's term
    horizontal_flip: float = 0.1
    shift: int = 6  # px up or down that a sample may lie, so that rows are not told by the grid's phase

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
