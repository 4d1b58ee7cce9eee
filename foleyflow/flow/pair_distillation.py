"""Pair distillation: one step trained on stored pairs of noise and a solver's result.

It is a reference for `one_step.one_step_loss`. Its targets are fixed and exact, but it learns only
the single step from noise to audio, and needs a store of pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.objective import masked_error, predict
from foleyflow.flow.path import SMALLEST_TAU
from foleyflow.flow.transformer import Condition, FlowTransformer


def pair_distillation_loss(
    student: FlowTransformer,
    noise: Tensor,
    generated: Tensor,
    condition: Condition,
    *,
    guidance: float = 1.0,
    path: str = "linear",
) -> tuple[Tensor, dict[str, float]]:
    """Error of the single step u(noise, 0, 1) against noise - generated.

    `generated` (B, L, C) is what the teacher computes from `noise` (B, L, C) with this condition
    and guidance scale w. `path` is that of the teacher's training, which can end above tau = 0.

    Reference: Luhman & Luhman 2021; the second stage of Liu et al. 2023 (rectified flow) and of
        Frieren (Wang et al. 2024).
    """
    one, end = torch.ones(len(noise), device=noise.device), SMALLEST_TAU[path]
    scale = guidance * one
    predicted = predict(student, noise, one, condition, guidance_scale=scale, r=end * one)
    error = masked_error(predicted, (noise - generated) / (1 - end), condition.known).mean()
    return error, {"error": float(error.detach())}
