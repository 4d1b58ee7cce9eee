"""AdamW, its learning-rate schedule, and the moving average of weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from foleyflow.training.task import TrainConfig


def make_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only (norms, biases and gains are left alone)."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2))


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, a flat part, linear decay to zero over the last `decay_share` steps.

    Source: trapezoidal schedule (Hägele et al. 2024).
    """
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay_steps = max(1.0, config.decay_share * config.steps)
    fall = min(1.0, (config.steps - step) / decay_steps) if config.decay_share else 1.0
    return config.learning_rate * min(rise, fall)


class MovingAverage:
    """Exponential moving average of a module's weights, quick at first.

    `module` is a copy that holds the averaged weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update_(self, module: nn.Module, step: int) -> None:
        """Moves the average towards `module`; early steps count more."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, value in zip(
            self.module.state_dict().values(), module.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), 1 - decay)
            else:
                average.copy_(value)
