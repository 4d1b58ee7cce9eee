"""The trained adapter of a frozen image encoder: its tokens of a frame to one vector.

The frozen encoder's features are computed once and stored; the adapter takes the place of the
motion encoder in training. In generation `AdaptedVideo` applies both to the frames.

Dimension letters: B batch, T frames, K tokens of a frame, W their width, D output width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.encoders.frozen import FrozenVideo


@dataclass(frozen=True, kw_only=True)
class FrameAdapterConfig:
    """Shape of the adapter."""

    published: str  # name of the encoder whose features it takes
    tokens: int  # K
    token_width: int  # W
    dim: int  # D
    bottleneck: int = 64  # width inside the residual adapter


class FrameAdapter(nn.Module):
    """Attention pooling by one learned query, then a projection with a residual bottleneck.

    It computes in the type of its weights (float32) inside any autocast, so that stored features
    and those of decoded frames agree under every precision.
    """

    def __init__(self, config: FrameAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.token_width)
        self.query = nn.Parameter(torch.zeros(config.token_width))
        self.project = nn.Linear(config.token_width, config.dim)
        self.narrow = nn.Linear(config.dim, config.bottleneck)
        self.widen = nn.Linear(config.bottleneck, config.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, K, W) tokens of any floating-point type to (B, T, D)."""
        with torch.autocast(tokens.device.type, enabled=False):
            normed = self.norm(tokens.to(self.query.dtype))
            scores = normed @ self.query / self.config.token_width**0.5
            pooled = torch.einsum("btk,btkw->btw", scores.softmax(-1), normed)
            hidden = self.project(pooled)
            return hidden + self.widen(functional.gelu(self.narrow(hidden)))


class AdaptedVideo(nn.Module):
    """A frozen image encoder with its trained adapter: frames to features."""

    window = 0  # frames are encoded one by one

    def __init__(self, frozen: FrozenVideo, adapter: FrameAdapter, *, rate_hz: float) -> None:
        """Combine both; `rate_hz` is the frame rate that the adapter was trained on."""
        super().__init__()
        self.frozen = frozen
        self.adapter = adapter
        self.rate_hz = rate_hz

    def forward(self, squares: Tensor) -> Tensor:
        """(B, T, 3, side, side) uint8, from `FrozenVideo.resize_and_crop`, to (B, T, D)."""
        tokens = self.frozen(squares.flatten(0, 1)).unflatten(0, squares.shape[:2])
        return self.adapter(tokens.half())  # the type of stored features
