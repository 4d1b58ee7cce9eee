"""The trained part behind a frozen picture network: its features of a frame to one vector.

The frozen trunk's features are computed once and stored; this is what alignment trains in the place
of the motion encoder. Where frames come in, as in generation, both stand one behind the other.

Dimension letters: B batch, T frames, K tokens of a frame, W their width, D width given out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.encoders.frozen import FrozenVideo


@dataclass(frozen=True, kw_only=True)
class FrameAdapterConfig:
    """Shape of the adapter.

    Attributes:
        published: name of the encoder whose features it takes.
        tokens: K.
        token_width: W.
        dim: D.
        bottleneck: width inside the residual adapter.
    """

    published: str
    tokens: int
    token_width: int
    dim: int
    bottleneck: int = 64


class FrameAdapter(nn.Module):
    """Tokens pooled by one learned query, then a projection with a residual bottleneck.

    It computes in the type of its weights (fp32) within any autocast, in training too, so that
    features stored beforehand and those of frames as they come agree under every precision. It is
    small beside everything around it.

    Source: method section B.3 (one-query attention pool; adapters of 64).
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
        """Stored features of frames to what alignment contextualises.

        Args:
            tokens: (B, T, K, W), any floating-point type.

        Returns:
            (B, T, D).
        """
        with torch.autocast(tokens.device.type, enabled=False):
            normed = self.norm(tokens.to(self.query.dtype))
            scores = normed @ self.query / self.config.token_width**0.5
            pooled = torch.einsum("btk,btkw->btw", scores.softmax(-1), normed)
            hidden = self.project(pooled)
            return hidden + self.widen(functional.gelu(self.narrow(hidden)))


class AdaptedVideo(nn.Module):
    """A frozen picture network with its trained adapter: frames in, features out."""

    window = 0  # it sees frames one by one

    def __init__(self, frozen: FrozenVideo, adapter: FrameAdapter, *, rate_hz: float) -> None:
        """Takes the two, and how many frames a second the adapter was trained on."""
        super().__init__()
        self.frozen = frozen
        self.adapter = adapter
        self.rate_hz = rate_hz

    def forward(self, squared: Tensor) -> Tensor:
        """Features of frames, as from stored ones.

        Args:
            squared: (B, T, 3, side, side) uint8, of `FrozenVideo.squares`.

        Returns:
            (B, T, D).
        """
        seen = self.frozen(squared.flatten(0, 1)).unflatten(0, squared.shape[:2])
        features: Tensor = self.adapter(seen.half())  # as they are stored
        return features
