"""AdamW, the learning-rate schedule, and the moving average of weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from foleyflow.training.task import TrainConfig


def make_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, not on norms, biases and gains."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2))


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, a constant part, and linear decay to zero over the last steps.

    Reference: Hägele et al. 2024 (trapezoidal schedule).
    """
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay_steps = max(1.0, config.decay_fraction * config.steps)
    decay = min(1.0, (config.steps - step) / decay_steps) if config.decay_fraction else 1.0
    return config.learning_rate * min(warmup, decay)


class MovingAverage:
    """Exponential moving average of a module's weights, with a shorter memory at the start.

    `module` is a copy with the averaged weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update_(self, module: nn.Module, step: int) -> None:
        """Moves the average towards the weights of `module`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, value in zip(
            self.module.state_dict().values(), module.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), 1 - decay)
            else:
                average.copy_(value)
