"""Progressive distillation: a one-step map learns from several steps of a frozen teacher.

After the one-step loss, the flow map is better in two steps than in one: a single step leaves more
noise. The student starts as a copy of the teacher. Its targets come from the teacher alone, so they
vary less than those of the one-step loss, and each sample gets new noise, unlike the stored pairs
of pair_distillation.py. Samples with r = tau preserve the velocity, and shorter intervals preserve
few-step sampling.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from foleyflow.flow.objective import (
    ObjectiveConfig,
    guided_mean_velocity,
    masked_error,
    mean_velocity_of_jumps,
    predict,
    sample_dropout_and_guidance,
    sample_intervals,
    sample_uniform,
)
from foleyflow.flow.path import SMALLEST_TAU, interpolate
from foleyflow.flow.snapshot import Snapshot
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like

INTERVAL_FRACTION = 0.9  # of the samples have an interval; the others preserve the velocity
GENERATION_FRACTION = 0.8  # of those have an interval of generation in equal steps
NOISE_FRACTION = 0.5  # of the other ones start at tau = 1


class Teacher(Snapshot):
    """The frozen flow that is distilled."""

    def __init__(self, network: FlowTransformer) -> None:
        super().__init__()
        self.flow = copy.deepcopy(network).requires_grad_(False)


def progressive_distillation_loss(
    network: FlowTransformer,
    teacher: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
    *,
    teacher_steps: int,
    student_steps: int = 1,
) -> tuple[Tensor, dict[str, float]]:
    """Error of one step against the teacher's mean velocity over several steps.

    Only `network`, the student, is trained, to generate in `student_steps` equal steps. The teacher
    is a flow of the same path and takes `teacher_steps` (at least 2) equal steps within each of
    them: of its flow map, or of Euler's method if it has none. Other arguments as in objective.py.

    Reference: Salimans & Ho 2022; for a two-time map this is the identity of SplitMeanFlow (Guo et
        al. 2025) with a frozen teacher.
    """
    batch, device = len(audio), audio.device
    # Interval, condition dropout, guidance scale and starting point of each sample
    intervals = replace(config, interval_share=INTERVAL_FRACTION, noise_share=NOISE_FRACTION)
    tau, r = sample_intervals(batch, intervals, 1.0, device, longest=1 / student_steps)
    of_generation = (sample_uniform(batch, device) < GENERATION_FRACTION) & (tau > r)
    number = (sample_uniform(batch, device) * student_steps).floor().clamp_max(student_steps - 1)
    smallest = SMALLEST_TAU[config.path]
    tau, r = (
        torch.where(of_generation, smallest + (1 - smallest) * place / student_steps, times)
        for times, place in ((tau, number + 1), (r, number))
    )
    drops, guidance_scale = sample_dropout_and_guidance(batch, config, device)
    noise = normal_like(audio)
    x, _ = interpolate(audio, noise, tau, config.path)
    with torch.no_grad():
        # Mean velocity of the teacher over its steps
        target = mean_velocity_of_jumps(
            guided_mean_velocity(teacher, condition, drops, guidance_scale),
            audio,
            noise,
            condition,
            tau=tau,
            r=r,
            jumps=teacher_steps,
            path=config.path,
        )
    # One step of the student
    predicted = predict(network, x, tau, condition, drops, guidance_scale, r=r)
    error = masked_error(predicted, target, condition.known).mean()
    return error, {"merge_error": float(error.detach())}
