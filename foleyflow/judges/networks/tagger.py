"""The tagger: a small classifier of the material and the kind of scene of a sound.

It is trained on simulated clips only (`foleyflow train judge --recipe tagger`). Its metrics end
in -sim, because they are not comparable with published ones.

Dimension letters: B batch, T frames, M mel bands, E embedding, U coarse frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import ConfigError
from foleyflow.judges.networks.log_mel import BANDS, FRAME_RATE_HZ

NOTHING = "nothing"  # the class of silent clips
HALVINGS = 4  # of the frame rate


@dataclass(frozen=True, kw_only=True)
class TaggerConfig:
    """Shape of the network, and its classes."""

    materials: tuple[str, ...]  # the classes, including "nothing"
    kinds: tuple[str, ...]  # of scenes
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)  # channels after each halving
    embedding: int = 64  # width of the embeddings

    def __post_init__(self) -> None:
        if NOTHING not in self.materials or not self.kinds:
            raise ConfigError(
                f"materials={self.materials}, kinds={self.kinds}: expected {NOTHING!r} among the "
                "materials, and at least one kind"
            )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(maps)))
        return functional.relu(maps + self.second_norm(self.second(inner)))


class Tagger(nn.Module):
    """Convolutions over log-mel levels."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        width = 1
        for index, wide in enumerate(config.widths):
            layers.append(nn.Conv2d(width, wide, 3, stride=2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(wide), nn.ReLU()]
            layers += [_Residual(wide)] if index >= HALVINGS - 2 else []
            width = wide
        self.trunk = nn.Sequential(*layers)
        self.embed = nn.Linear(width * (BANDS // 2**HALVINGS), config.embedding)
        hidden = 2 * config.embedding
        self.materials = nn.Linear(hidden, len(config.materials))
        self.kinds = nn.Linear(hidden, len(config.kinds))

    @property
    def frame_rate_hz(self) -> float:
        """Frame rate of the embeddings."""
        return FRAME_RATE_HZ / 2**HALVINGS

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Levels (B, T, 64) to logits (B, materials) and (B, kinds) and embeddings (B, U, E)."""
        maps = self.trunk(levels[:, None])
        frames = functional.gelu(self.embed(maps.transpose(1, 2).flatten(2)))
        pooled = torch.cat([frames.mean(1), frames.amax(1)], 1)
        return self.materials(pooled), self.kinds(pooled), frames


def joint_logits(materials: Tensor, kinds: Tensor) -> Tensor:
    """Log probabilities (B, K J) of pairs of a material and a kind from logits (B, K) and (B, J).

    Both are taken to be independent: the divergence of two such distributions is the sum of the
    divergences of materials and kinds.
    """
    joint = materials.log_softmax(1)[:, :, None] + kinds.log_softmax(1)[:, None, :]
    return joint.flatten(1)
