"""Video frames as the published image encoders were shown theirs: scaled, cut out, normalised."""

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
class PictureRule:
    """What is done to a frame before a network sees it.

    Attributes:
        side: of the square that is shown, pixels.
        short_side: the frame's shorter side is scaled to it first, pixels.
        mean, deviation: of the three colours, on a scale of 0..1.
    """

    side: int = 224
    short_side: int = 224
    mean: tuple[float, float, float] = CLIP_MEAN
    deviation: tuple[float, float, float] = CLIP_DEVIATION


def squares(pixels: Tensor, rule: PictureRule) -> Tensor:
    """Scales the shorter side (bicubic, antialiased) and takes the middle square.

    Args:
        pixels: (N, 3, H, W) uint8 RGB.
        rule: of the encoder.

    Returns:
        (N, 3, side, side) uint8.

    Source: the transforms that CLIP, MAE and ImageBind publish: Resize, CenterCrop.
    """
    height, width = pixels.shape[-2:]
    size = [int(rule.short_side * k / min(height, width)) for k in (height, width)]
    scaled = pixels.float()
    # Published pipelines scale rows and then columns, and bytes come out of each.
    for wanted in ([height, size[1]], size):
        if wanted != list(scaled.shape[-2:]):
            scaled = functional.interpolate(scaled, wanted, mode="bicubic", antialias=True)
            scaled = scaled.round().clamp(0, 255)
    top, left = (round((k - rule.side) / 2) for k in size)
    return scaled[..., top : top + rule.side, left : left + rule.side].to(torch.uint8)


def normalised(squared: Tensor, rule: PictureRule) -> Tensor:
    """Colours on the scale that the network was trained with.

    Args:
        squared: (N, 3, side, side) uint8, of `squares`.
        rule: of the encoder.

    Returns:
        the same shape, float32.

    Source: the transform that CLIP, MAE and ImageBind publish: Normalize.
    """
    mean, deviation = (
        torch.tensor(v, device=squared.device)[:, None, None] for v in (rule.mean, rule.deviation)
    )
    return (squared / 255 - mean) / deviation
