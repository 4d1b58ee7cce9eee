"""AudioMAE as the student of alignment: it hears visible segments alone, as in its own training.

Dimension letters: B batch, S segments, F spectrogram frames, R patches of a segment, W width of the
trunk, D width given out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import ConfigError

FRAMES = 16  # of a segment: one column of patches
# Windows of 25 ms every 10 ms begin with their frame: these last ones reach beyond their segment.
GUARD_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class VisibleSoundConfig:
    """Shape of what is trained.

    Attributes:
        published: name of the encoder whose trunk it is.
        dim: D.
        bottleneck: width inside the adapters.
        adapted: last blocks of the trunk that have one.
    """

    published: str
    dim: int
    bottleneck: int = 64
    adapted: int = 6


class Adapter(nn.Module):
    """A residual bottleneck that changes nothing before it has learnt."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, bottleneck)
        self.widen = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., W) to the same shape."""
        return tokens + self.widen(functional.gelu(self.narrow(tokens)))


class VisibleSound(nn.Module):
    """A frozen vision transformer of timm over spectrogram patches, with trained adapters.

    Source: method section B.3 (E_a at full scale); AudioMAE (Huang et al. 2022) for the patches.
    """

    def __init__(self, trunk: nn.Module, config: VisibleSoundConfig) -> None:
        """Takes the trunk; its weights stay what they are."""
        super().__init__()
        self.config = config
        self.trunk = trunk.requires_grad_(False)
        network = cast(Any, trunk)
        width, self.depth = int(network.embed_dim), len(network.blocks)
        self.columns, self.rows = network.patch_embed.grid_size
        self.adapters = nn.ModuleList(
            Adapter(width, config.bottleneck) for _ in range(min(config.adapted, self.depth))
        )
        self.project = nn.Linear(width, config.dim)

    def forward(self, levels: Tensor, kept: Tensor) -> Tensor:
        """Features of visible segments.

        Args:
            levels: (B, 16 S, 128) normalised log-mel levels, of `FbankLevels`.
            kept: (B, S) bool, True where a segment is visible.

        Returns:
            (B, S, D); zeros where a segment is hidden.

        Raises:
            ConfigError: more segments than the trunk has places for.
        """
        if kept.shape[1] > self.columns:
            raise ConfigError(
                f"windows of {kept.shape[1]} segments: {self.config.published} hears "
                f"{self.columns} of them",
                hint="set windows.segments lower, or student=own",
            )
        count = int(kept.sum(1).max())
        if count == 0:
            return levels.new_zeros(*kept.shape, self.config.dim)
        # Visible segments first, in their order; what a row has fewer is told by a mask.
        order = kept.int().argsort(dim=1, descending=True, stable=True)[:, :count]
        chosen = self._patches(levels, kept).gather(
            1, order[..., None, None].expand(-1, -1, self.rows, self.project.in_features)
        )
        trunk = cast(Any, self.trunk)
        whole = (trunk.cls_token + trunk.pos_embed[:, :1]).expand(len(kept), -1, -1)
        tokens = torch.cat([whole.to(chosen.dtype), chosen.flatten(1, 2)], 1)
        present = kept.gather(1, order).repeat_interleave(self.rows, 1)
        mask = functional.pad(present, (1, 0), value=True)[:, None, None]
        first = self.depth - len(self.adapters)
        for number, block in enumerate(trunk.blocks):
            tokens = block(tokens, attn_mask=mask)
            if number >= first:
                tokens = self.adapters[number - first](tokens)
        heard = trunk.norm(tokens)[:, 1:].unflatten(1, (count, self.rows)).mean(2)
        features = self.project(heard) * kept.gather(1, order)[..., None]
        empty = features.new_zeros(*kept.shape, features.shape[-1])
        return empty.scatter(1, order[..., None].expand_as(features), features)

    def _patches(self, levels: Tensor, kept: Tensor) -> Tensor:
        """(B, S, R, W) tokens; frames that tell of a hidden segment are blank."""
        frames = kept.repeat_interleave(FRAMES, 1)
        ahead = torch.cat([frames[:, GUARD_FRAMES:], frames[:, -1:].expand(-1, GUARD_FRAMES)], 1)
        shown = levels * (frames & ahead)[..., None]
        trunk = cast(Any, self.trunk)
        maps = trunk.patch_embed.proj(shown[:, None])  # (B, W, S, R)
        places = trunk.pos_embed[0, 1:].unflatten(0, (self.columns, self.rows))
        tokens: Tensor = maps.permute(0, 2, 3, 1) + places[: kept.shape[1]]
        return tokens
