"""Close-ups of a page of any layout: where its rows begin and end, and where its leads meet.

A lead that is cut 20 ms too early or too late shows the end of its neighbour, at worst a QRS complex. The
landmarks' network finds these places within 10 to 40 ms, as its 20 px per square allow. This network looks
closely at each of them.
"""

from dataclasses import dataclass

from configs.network import NetworkConfig, check_ranges

PLACES = ("start", "boundary", "end")  # of a row, of two leads in it, of a row
PX_PER_SQUARE = 40.0  # of a close-up along the row, the resolution of a 200 dpi scan: 1 px is 5 ms at 25 mm/s
SHRINK = 2  # px along the row per px across it: what matters is where along the row a stroke lies
CLOSE_UP = (96, 160)  # px (height, width) of a close-up: 4.8 squares high, 4 squares wide


@dataclass(frozen=True)
class CloseUpsConfig(NetworkConfig):
    target_sigma: float = 1.2  # px, standard deviation of the target's distribution along the row
    place_error: float = 0.9  # squares, greatest distance of a close-up's middle from the place in training
    height_error: float = 0.15  # squares, standard deviation of the error of its zero line

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            {
                "target_sigma": (0.05, 50),
                "place_error": (0, 1.9),
                "height_error": (0, 2),
            },
        )


# The shipped network.
config = CloseUpsConfig(
    encoder_channels=(16, 32, 48, 64, 96),
    stem_stride=(2, 2),
    context_blocks=(1,),
    decoder_channels=(64, 48, 32, 24),
    learning_rate=3e-3,
    batch_size=48,
    layout_share=1.0,
    samples_per_page=48,
    pool=16,
)
