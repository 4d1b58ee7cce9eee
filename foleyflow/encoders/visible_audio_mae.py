"""AudioMAE as the aligner's audio encoder: it sees visible segments only, as in its pre-training.

Dimension letters: B batch, S segments, F spectrogram frames, R patches of a segment, W width of the
trunk, D output width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.errors import ConfigError

FRAMES = 16  # per segment: one column of patches
# A 25 ms window starts with its frame every 10 ms: these last frames reach beyond their segment.
GUARD_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class VisibleAudioMaeConfig:
    """Shape of the trained part."""

    published: str  # name of the encoder whose trunk is used
    dim: int  # D
    bottleneck: int = 64  # width inside the adapters
    adapted: int = 6  # blocks at the end of the trunk with an adapter
    # Spectrogram frames per segment. 16 are those of the pre-training. Fewer ones, of any front end
    # whose windows are centred on their frames, are repeated.
    frames_per_segment: int = FRAMES
    trains_trunk: bool = False  # the published weights are only the start

    def __post_init__(self) -> None:
        if self.frames_per_segment < 1 or FRAMES % self.frames_per_segment:
            raise ConfigError(
                f"frames_per_segment={self.frames_per_segment}: expected a divisor of {FRAMES}"
            )


class Adapter(nn.Module):
    """A residual bottleneck that starts as the identity."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, bottleneck)
        self.widen = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., W) to the same shape."""
        return tokens + self.widen(functional.gelu(self.narrow(tokens)))


class VisibleAudioMae(nn.Module):
    """A timm vision transformer over spectrogram patches, with trained adapters.

    Reference: Huang et al. 2022 (AudioMAE), for the patches.
    """

    def __init__(self, trunk: nn.Module, config: VisibleAudioMaeConfig) -> None:
        """Wrap a trunk, whose weights stay frozen unless `config.trains_trunk`."""
        super().__init__()
        self.config = config
        self.trunk = trunk.requires_grad_(config.trains_trunk)
        network = cast(Any, trunk)
        width, self.depth = int(network.embed_dim), len(network.blocks)
        self.columns, self.rows = network.patch_embed.grid_size
        self.adapters = nn.ModuleList(
            Adapter(width, config.bottleneck) for _ in range(min(config.adapted, self.depth))
        )
        self.project = nn.Linear(width, config.dim)

    def forward(self, levels: Tensor, visible: Tensor) -> Tensor:
        """Features (B, S, D) of visible segments (B, S) bool; zeros for masked segments.

        `levels` are (B, F, 128) normalised log-mel levels, by default with 16 frames per segment,
        from `FbankLevels`. More segments than the trunk has positions for raise a ConfigError.
        """
        if visible.shape[1] > self.columns:
            raise ConfigError(
                f"windows of {visible.shape[1]} segments: {self.config.published} takes at most "
                f"{self.columns}",
                hint="set windows.segments lower, or student=own",
            )
        count = int(visible.sum(1).max())
        if count == 0:
            return levels.new_zeros(*visible.shape, self.config.dim)
        # Visible segments first, in their order; an attention mask hides the rest of shorter rows
        order = visible.int().argsort(dim=1, descending=True, stable=True)[:, :count]
        chosen = self._patches(levels, visible).gather(
            1, order[..., None, None].expand(-1, -1, self.rows, self.project.in_features)
        )
        trunk = cast(Any, self.trunk)
        class_token = (trunk.cls_token + trunk.pos_embed[:, :1]).expand(len(visible), -1, -1)
        tokens = torch.cat([class_token.to(chosen.dtype), chosen.flatten(1, 2)], 1)
        present = visible.gather(1, order)
        mask = functional.pad(present.repeat_interleave(self.rows, 1), (1, 0), value=True)
        # Blocks of the trunk, the last ones with adapters
        first = self.depth - len(self.adapters)
        for number, block in enumerate(trunk.blocks):
            tokens = block(tokens, attn_mask=mask[:, None, None])
            if number >= first:
                tokens = self.adapters[number - first](tokens)
        # Mean over the patches of each segment, scattered back to the segments' positions
        pooled = trunk.norm(tokens)[:, 1:].unflatten(1, (count, self.rows)).mean(2)
        features = self.project(pooled) * present[..., None]
        empty = features.new_zeros(*visible.shape, features.shape[-1])
        return empty.scatter(1, order[..., None].expand_as(features), features)

    def _patches(self, levels: Tensor, visible: Tensor) -> Tensor:
        """(B, S, R, W) tokens; frames whose windows reach into masked segments are zero."""
        per_segment = self.config.frames_per_segment
        frames = visible.repeat_interleave(per_segment, 1)
        if per_segment == FRAMES:
            later = frames[:, -1:].expand(-1, GUARD_FRAMES)
            frames = frames & torch.cat([frames[:, GUARD_FRAMES:], later], 1)
        else:  # centred windows reach one frame to either side
            before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
            frames = frames & before & torch.cat([frames[:, 1:], frames[:, -1:]], 1)
        guarded = (levels * frames[..., None]).repeat_interleave(FRAMES // per_segment, 1)
        trunk = cast(Any, self.trunk)
        maps = trunk.patch_embed.proj(guarded[:, None])  # (B, W, S, R)
        positions = trunk.pos_embed[0, 1:].unflatten(0, (self.columns, self.rows))
        return maps.permute(0, 2, 3, 1) + positions[: visible.shape[1]]
