"""Stage 0: the orientation of the page and the keypoints of its lead labels."""

from dataclasses import dataclass

from configs.network import NetworkConfig, check_ranges
from configs.page import LEAD_LABELS

KEYPOINT_CLASSES = 1 + len(LEAD_LABELS)  # class 0: no label
ORIENTATIONS = 8  # 0-3: counter-clockwise quarter turns; 4-7: the same after an up-down flip


@dataclass(frozen=True)
class Stage0Config(NetworkConfig):
    input_width: int = 832  # px, length of the side named by scale_by
    scale_by: str = "longer"  # the side that is scaled to input_width: "longer" or "width"
    canvas_height: int = 544  # px, height of a training sample; its width is input_width
    geometric_augmentation: bool = True  # whether samples are scaled, shifted and rotated at random
    flips: bool = False  # whether the outputs are averaged over four flips
    keypoint_radius: float = 9.0  # px of the input, radius of the target at a lead label
    keypoint_weight: float = 4.0  # weight of a label's pixel relative to one of class 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            {
                "input_width": (64, 8192),
                "canvas_height": (64, 8192),
                "keypoint_radius": (0.5, 500),
                "keypoint_weight": (1e-3, 1e6),
            },
        )
        if self.input_width % 32 or self.canvas_height % 32:
            raise ValueError(
                f"input_width {self.input_width}, canvas_height {self.canvas_height}: must be multiples of 32"
            )
        if self.scale_by not in ("longer", "width"):
            raise ValueError(f"scale_by {self.scale_by!r}: must be longer or width")


# The interface of the public weights stage0-last.checkpoint.pth (hengck23).
published = Stage0Config(
    backbone="resnet18d",
    skip_stem_pool=True,
    decoder_channels=(256, 128, 64, 32),
    input_width=1440,
    scale_by="width",
    flips=True,
)
