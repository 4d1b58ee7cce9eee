"""Preprocessing of video frames for the published image encoders: resize, crop and normalise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ImagePreprocessing:
    """Preprocessing of one encoder; colours are on a scale of 0..1."""

    side: int = 224  # of the cropped square, pixels
    short_side: int = 224  # length that the shorter side of a frame is resized to first, pixels
    mean: tuple[float, float, float] = CLIP_MEAN
    deviation: tuple[float, float, float] = CLIP_DEVIATION


def resize_and_crop(pixels: Tensor, settings: ImagePreprocessing) -> Tensor:
    """Resize the shorter side (bicubic, antialiased) and crop the central square.

    (N, 3, H, W) uint8 RGB to (N, 3, side, side) uint8.

    Reference: Resize and CenterCrop in the published transforms of CLIP, MAE and ImageBind.
    """
    height, width = pixels.shape[-2:]
    size = [int(settings.short_side * k / min(height, width)) for k in (height, width)]
    scaled = pixels.float()
    # Published pipelines resize one axis after the other and round to bytes after each
    for shape in ([height, size[1]], size):
        if shape != list(scaled.shape[-2:]):
            scaled = functional.interpolate(scaled, shape, mode="bicubic", antialias=True)
            scaled = scaled.round().clamp(0, 255)
    top, left = (round((k - settings.side) / 2) for k in size)
    return scaled[..., top : top + settings.side, left : left + settings.side].to(torch.uint8)


def normalise(squares: Tensor, settings: ImagePreprocessing) -> Tensor:
    """(N, 3, side, side) uint8 from `resize_and_crop` to normalised float32 of the same shape."""
    mean, deviation = (
        torch.tensor(v, device=squares.device)[:, None, None]
        for v in (settings.mean, settings.deviation)
    )
    return (squares / 255 - mean) / deviation
