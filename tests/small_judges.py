"""Random weights for the networks of the published judges, in small."""

from __future__ import annotations

import torch
from torch import nn

from foleyflow.listeners.passt import PasstConfig

SMALL_PASST = PasstConfig(width=8, depth=2, heads=2, classes=5)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights everywhere, statistics of batch norms too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if "num_batches" in name or "conv_real" in name or "conv_imag" in name:
                continue
            if "filters" in name or "melW" in name:
                continue
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
            if "running_var" in name:
                value.abs_().add_(0.5)
    return module.eval()
