"""Offline distillation: one step taught by pairs of noise and the audio a solver made of it.

The fallback for the one-step map of `objective.one_step_loss`, and the measure of what it is worth.
Targets are fixed and hold no derivative, so it hardly can fail; but it teaches the one jump from
noise to audio and nothing of fewer or more steps, and costs a store of pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foleyflow.flow.objective import ObjectiveConfig, balanced, masked_error
from foleyflow.flow.transformer import Condition, FlowTransformer


def pair_distillation_loss(
    student: FlowTransformer,
    noise: Tensor,
    made: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
    *,
    guidance: float = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """Error of the jump from noise to what the teacher made of it.

    Args:
        student: the flow that learns u(noise, 0, 1) = noise - made.
        noise: (B, L, C) standard normal, as the teacher had it.
        made: (B, L, C) standardised latents, the end of the teacher's solve.
        condition: the teacher's.
        config: `balance` and `floor` are used.
        guidance: w of the teacher, given to the student as its input.

    Returns:
        The loss and figures for the journal.

    Source: Luhman & Luhman 2021; the second stage of Liu et al. 2023 (rectified flow) and of
        Frieren (Wang et al. 2024); method section C.4, fallback.
    """
    one = torch.ones(len(noise), device=noise.device)
    jump = student(
        noise,
        r=0 * one,
        tau=one,
        guidance_scale=guidance * one,
        embedded=student.embed(condition),
        condition=condition,
    )
    errors = masked_error(jump, noise - made, condition.known)
    return balanced(errors, config), {"error": float(errors.detach().mean())}
