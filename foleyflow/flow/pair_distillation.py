"""Pair distillation: one step trained on stored pairs of noise and a solver's result.

It is a fallback and a reference for `one_step.one_step_loss`. Its targets are fixed and contain no
derivative, so that training is stable, but it learns only the single step from noise to audio, and
needs a store of pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.objective import ObjectiveConfig, adaptively_weighted, masked_error, predict
from foleyflow.flow.transformer import Condition, FlowTransformer


def pair_distillation_loss(
    student: FlowTransformer,
    noise: Tensor,
    generated: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
    *,
    guidance: float = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """Error of the single step u(noise, 0, 1) against noise - generated.

    `generated` (B, L, C) is what the teacher computes from `noise` (B, L, C) with this condition
    and guidance scale w. Only `balance` and `floor` of `config` are used.

    Reference: Luhman & Luhman 2021; the second stage of Liu et al. 2023 (rectified flow) and of
        Frieren (Wang et al. 2024).
    """
    one = torch.ones(len(noise), device=noise.device)
    scale = guidance * one
    predicted = predict(student, noise, one, condition, guidance_scale=scale, r=0 * one)
    errors = masked_error(predicted, noise - generated, condition.known)
    return adaptively_weighted(errors, config), {"error": float(errors.detach().mean())}
