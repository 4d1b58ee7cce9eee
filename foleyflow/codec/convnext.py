"""The ConvNeXt block of the codec's networks that work at the rate of latents and spectra."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNextBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer network per frame, with a residual.

    Reference: Liu et al. 2022 (ConvNeXt), in one dimension as in Vocos (Siuzdak 2023).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 3 * width)
        self.contract = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        mixed = self.depthwise(hidden.transpose(1, 2)).transpose(1, 2)
        mixed = self.contract(functional.gelu(self.expand(self.norm(mixed))))
        return hidden + self.scale * mixed
