"""The tiny model's frame encoder: appearance and motion of each frame to one feature vector.

Each frame is combined with the changes of brightness around it: an impact is an acceleration, which
a single image does not show. Coarse maps of neighbouring frames are mixed at each place before the
places are pooled, so that two objects that move at the same time stay separate. Longer temporal
context is the aligner's. All operations are 2-D, because 3-D convolutions are slow on CPUs.

Dimension letters: B batch, T frames, P images (T and their neighbours), S image side, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import ConfigError

PATCH = 4  # side of a patch in pixels
GREY_MEAN, GREY_DEVIATION = 118.0, 64.0
CHANGE_GAIN = 4.0  # changes of brightness are small compared to the image
LARGEST_CHANGE = 6.0


@dataclass(frozen=True, kw_only=True)
class MotionEncoderConfig:
    """Shape of the encoder."""

    size: int = 112  # side of the square images, pixels
    widths: tuple[int, int, int] = (64, 64, 128)  # of maps at 1/4, 1/8 and 1/16 of the side
    dim: int = 192  # width of the output features
    changes: int = 4  # differences between neighbouring images around a frame, an even number
    reach: int = 2  # frames on each side whose coarse maps are mixed into a frame's
    middle_reach: int = 0  # the same for the maps at 1/8 of the side, where motion is finer
    middle_pairs: int = 0  # further residual pairs on the maps at 1/8 of the side
    rounds: int = 0  # further rounds of a mix of `reach` and a residual pair on the coarse maps

    def __post_init__(self) -> None:
        depths = (self.reach, self.middle_reach, self.middle_pairs, self.rounds)
        if self.size % 16 or self.changes % 2 or min(depths) < 0:
            raise ConfigError(
                f"size={self.size}, changes={self.changes}, reach={self.reach}, "
                f"middle_reach={self.middle_reach}, middle_pairs={self.middle_pairs}, "
                f"rounds={self.rounds}: expected size as a multiple of 16, an even number of "
                "changes, and the others as 0 or more"
            )

    @property
    def window(self) -> int:
        """Number of neighbouring images that a feature depends on, half of them before it."""
        return self.changes + 2 * (self.middle_reach + self.reach * (1 + self.rounds))


class ResidualPair(nn.Module):
    """Two 3x3 convolutions with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, D, H, W) to the same shape."""
        return hidden + self.second(functional.gelu(self.first(functional.gelu(self.norm(hidden)))))


class PlacewiseMix(nn.Module):
    """A linear mix of the maps of neighbouring frames at each place, with a residual."""

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


class MixRound(nn.Module):
    """A mix of the maps of neighbouring frames and a residual pair, the identity at first."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.neighbours = PlacewiseMix(width, reach)
        self.places = ResidualPair(width)
        _start_as_identity(self.neighbours.mix)
        _start_as_identity(self.places.second)

    def forward(self, maps: Tensor, batch: int) -> Tensor:
        """(B * (T + 2 reach), D, H, W) to (B * T, D, H, W)."""
        mixed: Tensor = self.places(_mix(self.neighbours, maps, batch))
        return mixed


class MotionEncoder(nn.Module):
    """RGB frames, resized to squares, to per-frame features."""

    def __init__(self, config: MotionEncoderConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.widths
        self.stem = nn.Linear((3 + config.changes) * PATCH**2, fine)
        self.stages = nn.Sequential(
            nn.ReLU(),  # on the largest maps GELU would take a fifth of a training step
            nn.Conv2d(fine, middle, 3, stride=2, padding=1),
            ResidualPair(middle),
            nn.Conv2d(middle, coarse, 3, stride=2, padding=1),
        )
        if config.middle_reach:
            self.middle_neighbours = PlacewiseMix(middle, config.middle_reach)
            _start_as_identity(self.middle_neighbours.mix)
        pairs = [ResidualPair(middle) for _ in range(config.middle_pairs)]
        for pair in pairs:
            _start_as_identity(pair.second)
        self.middle_pairs = nn.Sequential(*pairs)
        self.neighbours = PlacewiseMix(coarse, config.reach)
        self.places = ResidualPair(coarse)
        self.rounds = nn.ModuleList(MixRound(coarse, config.reach) for _ in range(config.rounds))
        self.attend = nn.Conv2d(coarse, 4, 1)
        self.project = nn.Linear(coarse * 10, config.dim)
        self.window = config.window

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of T consecutive frames, (B, T, dim).

        `pixels` (B, T + window, 3, S, S) uint8 have window / 2 neighbours on each side; at the ends
        of a video the end frame is repeated.
        """
        # Convolutions at a quarter to a sixteenth of the side, channels last in memory (fastest)
        patches = self._patches(pixels)
        batch = len(patches)
        maps = self.stem(patches).flatten(0, 1).permute(0, 3, 1, 2)
        # Mix the maps of neighbouring frames at each place, at 1/8 and at 1/16 of the side
        maps = self.stages[:3](maps)
        if self.config.middle_reach:
            maps = _mix(self.middle_neighbours, maps, batch)
        maps = self.middle_pairs(maps)
        maps = self.places(_mix(self.neighbours, self.stages[3](maps), batch))
        for mix_round in self.rounds:
            maps = mix_round(maps, batch)
        # Pool over places: mean, maximum, quarters and four attention maps
        weights = self.attend(maps).flatten(2).softmax(-1)
        attended = torch.einsum("nkp,ncp->nkc", weights, maps.flatten(2)).flatten(1)
        pooled = [
            maps.mean((2, 3)),
            maps.amax((2, 3)),
            functional.adaptive_avg_pool2d(maps, 2).flatten(1),
            attended,
        ]
        features = self.project(torch.cat([p.to(attended.dtype) for p in pooled], 1))
        return features.unflatten(0, (batch, -1))

    def _patches(self, pixels: Tensor) -> Tensor:
        """Patches of colours and changes, (B, P, S / 4, S / 4, 16 (3 + changes)).

        P is T and the neighbours that the mixes of maps need, T + window - changes.
        """
        changes = self.config.changes
        count = pixels.shape[1] - changes
        dtype = self.stem.weight.dtype
        if torch.is_autocast_enabled(pixels.device.type):
            dtype = torch.get_autocast_dtype(pixels.device.type)
        tiles = pixels.permute(0, 1, 3, 4, 2).unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
        tiles = tiles.transpose(3, 4).flatten(4, 5)  # (B, P, S / 4, S / 4, 16, 3)
        half = changes // 2
        colour = tiles[:, half : half + count].flatten(4)
        # Changes of brightness; sums and differences of bytes are exact in int16
        exact = tiles.to(torch.int16)
        grey = exact[..., 0] + exact[..., 1] + exact[..., 2]
        change = (grey[:, 1:] - grey[:, :-1]).to(dtype) * (CHANGE_GAIN / 3 / GREY_DEVIATION)
        change = change.clamp_(-LARGEST_CHANGE, LARGEST_CHANGE)
        parts = [(colour.to(dtype) - GREY_MEAN) / GREY_DEVIATION]
        parts += [change[:, k : k + count] for k in range(changes)]
        return torch.cat(parts, -1)


def _mix(neighbours: PlacewiseMix, maps: Tensor, batch: int) -> Tensor:
    """(B * T, D, H, W) maps to (B * (T - 2 reach), D, H, W)."""
    mixed = neighbours(maps.permute(0, 2, 3, 1).unflatten(0, (batch, -1)))
    return mixed.flatten(0, 1).permute(0, 3, 1, 2)


def _start_as_identity(last: nn.Linear | nn.Conv2d) -> None:
    """Zero the last layer of a residual branch: a model without the branch can be the start."""
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
