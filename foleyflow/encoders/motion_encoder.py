"""Frames to one feature vector each, by what moves and how it looks: the tiny model's video trunk.

Each frame is seen with the changes of brightness before and after it: an impact is an
acceleration, and a single picture shows none. Coarse maps of neighbouring frames are mixed place
by place before places are pooled, so that two things that move at once stay apart. Time at large
belongs to alignment. 2-D operations on stacked frames only; 3-D ones are slow on CPUs.

Dimension letters: B batch, T frames, P pictures (T and their neighbours), S picture side, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import ConfigError

PATCH = 4  # pixels on a side
GREY_MEAN, GREY_DEVIATION = 118.0, 64.0
CHANGE_GAIN = 4.0  # changes are small beside pictures
LARGEST_CHANGE = 6.0


@dataclass(frozen=True, kw_only=True)
class MotionEncoderConfig:
    """Shape of the trunk.

    Attributes:
        size: side of the square pictures, pixels.
        widths: channels of the maps at a quarter, an eighth and a sixteenth of the side.
        dim: width of the features given out.
        changes: differences between neighbouring pictures that a frame is seen with, an even
            number: half before it.
        reach: frames on each side whose coarse maps are mixed into a frame's.
    """

    size: int = 112
    widths: tuple[int, int, int] = (64, 64, 128)
    dim: int = 192
    changes: int = 4
    reach: int = 2

    def __post_init__(self) -> None:
        if self.size % 16 or self.changes % 2 or self.reach < 0:
            raise ConfigError(
                f"size={self.size} (a multiple of 16), changes={self.changes} (an even number), "
                f"reach={self.reach} (0 or more)"
            )

    @property
    def window(self) -> int:
        """Neighbouring pictures that a feature depends on, half of them before its frame."""
        return self.changes + 2 * self.reach


class ResidualPair(nn.Module):
    """Two 3x3 convolutions added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, D, H, W) to the same shape."""
        return hidden + self.second(functional.gelu(self.first(functional.gelu(self.norm(hidden)))))


class PlacewiseMix(nn.Module):
    """Maps of neighbouring frames mixed at each place, added to the frame's own."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.mix = nn.Linear(width * (2 * reach + 1), width)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, T + 2 reach, H, W, D) to (B, T, H, W, D)."""
        count = maps.shape[1] - 2 * self.reach
        active = functional.gelu(maps)
        around = [active[:, k : k + count] for k in range(2 * self.reach + 1)]
        return maps[:, self.reach : self.reach + count] + self.mix(torch.cat(around, -1))


class MotionEncoder(nn.Module):
    """Squashed RGB frames to per-frame features.

    Source: ours (method section B.3, tiny: frame and frame differences, 2x2 and global pooling).
    """

    def __init__(self, config: MotionEncoderConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.widths
        self.stem = nn.Linear((3 + config.changes) * PATCH**2, fine)
        self.stages = nn.Sequential(
            nn.ReLU(),  # on the largest maps GELU costs a fifth of the training step
            nn.Conv2d(fine, middle, 3, stride=2, padding=1),
            ResidualPair(middle),
            nn.Conv2d(middle, coarse, 3, stride=2, padding=1),
        )
        self.neighbours = PlacewiseMix(coarse, config.reach)
        self.places = ResidualPair(coarse)
        self.attend = nn.Conv2d(coarse, 4, 1)
        self.project = nn.Linear(coarse * 10, config.dim)

    @property
    def window(self) -> int:
        """Neighbouring pictures that a feature depends on, half of them before its frame."""
        return self.config.window

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of consecutive frames.

        Args:
            pixels: (B, T + window, 3, S, S) uint8: the T frames with window / 2 neighbours on
                each side (at the ends of a video, its end frame again).

        Returns:
            (B, T, dim).
        """
        patches = self._patches(pixels)
        batch, seen = patches.shape[:2]
        # Channels lie last in memory all the way: what CPUs convolve fastest.
        maps = self.stages(self.stem(patches).flatten(0, 1).permute(0, 3, 1, 2))
        mixed = self.neighbours(maps.permute(0, 2, 3, 1).unflatten(0, (batch, seen)))
        maps = self.places(mixed.flatten(0, 1).permute(0, 3, 1, 2))
        weights = self.attend(maps).flatten(2).softmax(-1)
        attended = torch.einsum("nkp,ncp->nkc", weights, maps.flatten(2)).flatten(1)
        pooled = [
            maps.mean((2, 3)),
            maps.amax((2, 3)),
            functional.adaptive_avg_pool2d(maps, 2).flatten(1),
            attended,
        ]
        features = self.project(torch.cat([p.to(attended.dtype) for p in pooled], 1))
        return features.reshape(batch, seen - 2 * self.config.reach, -1)

    def _patches(self, pixels: Tensor) -> Tensor:
        """Patches of colours and changes, (B, T + 2 reach, S / 4, S / 4, 16 (3 + changes))."""
        changes = self.config.changes
        count = pixels.shape[1] - changes
        dtype = self.stem.weight.dtype
        if torch.is_autocast_enabled(pixels.device.type):
            dtype = torch.get_autocast_dtype(pixels.device.type)
        tiles = pixels.permute(0, 1, 3, 4, 2).unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
        tiles = tiles.transpose(3, 4).flatten(4, 5)  # (B, P, S / 4, S / 4, 16, 3)
        half = changes // 2
        colour = tiles[:, half : half + count].flatten(4)
        whole = tiles.to(torch.int16)  # sums and differences of bytes are exact in it
        grey = whole[..., 0] + whole[..., 1] + whole[..., 2]
        change = (grey[:, 1:] - grey[:, :-1]).to(dtype) * (CHANGE_GAIN / 3 / GREY_DEVIATION)
        change = change.clamp_(-LARGEST_CHANGE, LARGEST_CHANGE)
        parts = [(colour.to(dtype) - GREY_MEAN) / GREY_DEVIATION]
        parts += [change[:, k : k + count] for k in range(changes)]
        return torch.cat(parts, -1)
