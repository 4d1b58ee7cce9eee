"""Frames to one feature vector each, by what moves and how it looks: the tiny model's video trunk.

Each frame is seen with the changes of brightness before and after it: an impact is an
acceleration, and a single picture shows none. No frame sees further than two frames away (time
at large belongs to alignment). 2-D convolutions on stacked frames only; 3-D ones are slow on CPUs.

Dimension letters: B batch, T frames, S picture side, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MotionEncoderConfig:
    """Shape of the trunk.

    Attributes:
        size: side of the square pictures, pixels.
        widths: channels of the four stages.
        dim: width of the features given out.
        window: differences between neighbouring frames that are seen, an even number: half before.
    """

    size: int = 112
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    dim: int = 192
    window: int = 4

    def __post_init__(self) -> None:
        if self.size % 16 or self.window % 2:
            raise ConfigError(
                f"size={self.size} (a multiple of 16), window={self.window} (an even number)"
            )


class ResidualPair(nn.Module):
    """Two 3x3 convolutions added to their input; large maps go without the norm, which is slow."""

    def __init__(self, width: int, *, normed: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width) if normed else nn.Identity()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, D, H, W) to the same shape."""
        return hidden + self.second(functional.gelu(self.first(functional.gelu(self.norm(hidden)))))


class MotionEncoder(nn.Module):
    """Squashed RGB frames to per-frame features.

    Source: ours (method section B.3, tiny: frame and frame differences, 2x2 and global pooling).
    """

    def __init__(self, config: MotionEncoderConfig) -> None:
        super().__init__()
        self.config = config
        one, two, three, four = config.widths
        self.stem = nn.Conv2d(3 + config.window, one, 5, stride=2, padding=2)
        self.stages = nn.Sequential(
            nn.Sequential(nn.GELU(), nn.Conv2d(one, two, 3, stride=2, padding=1), nn.GELU()),
            ResidualPair(two, normed=False),
            nn.Conv2d(two, three, 3, stride=2, padding=1),
            ResidualPair(three, normed=True),
            nn.Conv2d(three, four, 3, stride=2, padding=1),
            ResidualPair(four, normed=True),
        )
        self.attend = nn.Conv2d(four, 4, 1)
        self.project = nn.Linear(four * 9, config.dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of consecutive frames.

        Args:
            pixels: (B, T + window, 3, S, S) uint8: the T frames with window / 2 neighbours on
                each side (at the ends of a video, its end frame again).

        Returns:
            (B, T, dim).
        """
        half = self.config.window // 2
        batch, padded = pixels.shape[:2]
        count = padded - self.config.window
        with torch.autocast(pixels.device.type, enabled=False):
            colour = pixels.float().sub_(118.0).div_(64.0)
            grey = colour.mean(2)
            change = (grey[:, 1:] - grey[:, :-1]).mul_(4.0)
            change = change.clamp(-6.0, 6.0)
            stacked = torch.cat(
                [colour[:, half : half + count]]
                + [change[:, k : k + count, None] for k in range(self.config.window)],
                dim=2,
            )
        flat = stacked.flatten(0, 1).to(memory_format=torch.channels_last)
        maps = self.stages(self.stem(flat))
        weights = self.attend(maps).flatten(2).softmax(-1)
        attended = torch.einsum("nkp,ncp->nkc", weights, maps.flatten(2)).flatten(1)
        pooled = torch.cat(
            [
                maps.mean((2, 3)),
                functional.adaptive_avg_pool2d(maps, 2).flatten(1),
                attended,
            ],
            dim=1,
        )
        return self.project(pooled).reshape(batch, count, -1)
