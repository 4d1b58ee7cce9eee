"""A small judge of sound: which material sounds, in what kind of scene; and 64 numbers a second.

Trained on simulated clips alone (`foleyflow train judge --recipe tagger`), so that figures exist
on machines without the published judges. Their names end in -sim: they compare with nothing
published.

Dimension letters: B batch, T frames, M mel bands, E embedding, U coarse frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import ConfigError
from foleyflow.judges.networks.log_mel import BANDS, FRAME_RATE_HZ

NOTHING = "nothing"  # the class of clips in which nothing sounds
HALVINGS = 4  # of time, from mel frames to coarse ones


@dataclass(frozen=True, kw_only=True)
class TaggerConfig:
    """Shape of the network, and what its classes are called.

    Attributes:
        materials: names of the material classes, "nothing" among them.
        kinds: names of the kinds of scenes.
        widths: channels after each halving of time and bands.
        embedding: numbers given out per stretch of sound.
    """

    materials: tuple[str, ...]
    kinds: tuple[str, ...]
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    embedding: int = 64

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
    """Convolutions over log-mel levels.

    Source: ours.
    """

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
        """Of the embeddings."""
        return FRAME_RATE_HZ / 2**HALVINGS

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is heard.

        Args:
            levels: (B, T, 64) of `relative`.

        Returns:
            (B, materials) and (B, kinds) logits, (B, U, E) embeddings.
        """
        maps = self.trunk(levels[:, None])
        frames = functional.gelu(self.embed(maps.transpose(1, 2).flatten(2)))
        pooled = torch.cat([frames.mean(1), frames.amax(1)], 1)
        return self.materials(pooled), self.kinds(pooled), frames


def joint_logits(materials: Tensor, kinds: Tensor) -> Tensor:
    """Both answers as one: logits of every pair of a material and a kind.

    The divergence of two of them is the sum of the divergences of materials and of kinds.

    Args:
        materials: (B, K) logits.
        kinds: (B, J) logits.

    Returns:
        (B, K J) log probabilities.

    Source: ours; the two answers are independent.
    """
    both = materials.log_softmax(1)[:, :, None] + kinds.log_softmax(1)[:, None, :]
    return both.flatten(1)
