"""Optimisers, the learning-rate schedule, and the moving average of weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from foleyflow.training.task import TrainConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the iteration
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
ADAMW_RMS = 0.2  # usual root mean square of an update of AdamW at a learning rate of 1


def make_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, or Muon for the matrices of blocks and AdamW for all other parameters.

    Weight decay is on matrices only, not on norms, biases and gains.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    in_blocks = {name for name, p in named if p.ndim == 2 and "blocks." in name}
    if not config.muon:
        in_blocks = set()
    groups: list[dict[str, Any]] = [
        {
            "params": [p for name, p in named if chosen(name, p)],
            "weight_decay": weight_decay,
            "muon": muon,
        }
        for chosen, weight_decay, muon in (
            (lambda name, _: name in in_blocks, config.weight_decay, True),
            (lambda name, p: name not in in_blocks and p.ndim >= 2, config.weight_decay, False),
            (lambda name, p: name not in in_blocks and p.ndim < 2, 0.0, False),
        )
    ]
    groups = [group for group in groups if group["params"]]
    return MuonAdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2))


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose parameter groups with "muon" set to True follow Muon.

    A momentum of the gradient of a matrix is replaced by the nearest orthogonal matrix, scaled to
    the usual size of AdamW's updates, so that both take the same learning rate. `torch.optim.Muon`
    can't share an optimiser, and so a checkpoint, with AdamW.

    Reference: Jordan et al. 2024 (Muon); Liu et al. 2025, "Muon is Scalable for LLM Training".
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        # AdamW's own method expects its state for every parameter
        torch.optim.Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters."""
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["muon"]]
            super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            for matrix in group["params"] if group["muon"] else ():
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum"] = torch.zeros_like(matrix)
                momentum = state["momentum"].lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonalise(matrix.grad.lerp(momentum, MOMENTUM))  # Nesterov
                scale = ADAMW_RMS * max(matrix.shape) ** 0.5
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * scale)


def orthogonalise(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T of a matrix (m, n).

    The iteration leaves singular values between 0.7 and 1.2.
    """
    a, b, c = NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if is_tall else x).to(matrix.dtype)


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
