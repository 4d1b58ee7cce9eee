"""Pair distillation: one step trained on stored pairs of noise and a solver's result.

The fallback for `one_step.one_step_loss`, and a reference for it. Its targets are fixed and contain
no derivative, so that training is stable; but it learns only the single step from noise to audio,
and needs a store of pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.objective import ObjectiveConfig, adaptively_weighted, masked_error
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

    Args:
        student: the flow that is trained.
        noise: (B, L, C) standard normal, the teacher's start.
        generated: (B, L, C) standardised latents, the teacher's result.
        condition: the teacher's.
        config: only `balance` and `floor` are used.
        guidance: the teacher's guidance scale w, an input of the student.

    Reference: Luhman & Luhman 2021; the second stage of Liu et al. 2023 (rectified flow) and of
        Frieren (Wang et al. 2024).
    """
    one = torch.ones(len(noise), device=noise.device)
    predicted = student(
        noise,
        r=0 * one,
        tau=one,
        guidance_scale=guidance * one,
        embedded=student.embed(condition),
        condition=condition,
    )
    errors = masked_error(predicted, noise - generated, condition.known)
    return adaptively_weighted(errors, config), {"error": float(errors.detach().mean())}
