"""Colour and capture augmentation of training images; geometric augmentation is in each stage's samples."""

from functools import cache

import cv2
import numpy as np

from synthesis.scene import jpeg_roundtrip


def augment_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply random gain, gamma, tint, greyscale, blur, noise and JPEG: (H, W, 3) uint8 RGB to the same."""
    if rng.random() < 0.8:
        gain = rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)
        ramp = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.7, 1.4)
        lookup = np.clip(ramp * gain * 255 + rng.uniform(-15, 15), 0, 255).astype(np.uint8)
        image = cv2.LUT(image, lookup[:, None, :])
    if rng.random() < 0.15:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.15:
        image = np.ascontiguousarray(image[..., rng.permutation(3)])
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.1))
    if rng.random() < 0.3:
        noise = rng.integers(0, 256, image.shape[:2], dtype=np.uint8).astype(np.int16) - 128
        image = np.clip(image + (noise * rng.uniform(0.02, 0.12))[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        quality = int(rng.integers(40, 90))
        image = jpeg_roundtrip(image, quality)
    return image


@cache
def capture_augmentation():
    """Defects of cameras and scanners as an albumentations pipeline; synthetic pages already have them."""
    import albumentations as A  # imported here, as training on synthetic pages does not need it

    return A.Compose(
        [
            A.OneOf([A.MotionBlur(blur_limit=(3, 5)), A.Defocus(radius=(1, 2))], p=0.15),
            A.ISONoise(p=0.2),
            A.RandomShadow(shadow_roi=(0, 0, 1, 1), p=0.15),
            A.CoarseDropout(
                num_holes_range=(1, 6), hole_height_range=(8, 60), hole_width_range=(8, 60), p=0.15
            ),
            A.ImageCompression(quality_range=(40, 95), p=0.3),
        ]
    )


def augment_capture(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply random blur, sensor noise, shadow, holes and JPEG: (H, W, 3) uint8 RGB to the same."""
    pipeline = capture_augmentation()
    pipeline.set_random_seed(int(rng.integers(2**31)))
    return pipeline(image=image)["image"]
