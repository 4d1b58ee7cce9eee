"""Train a flow on a known mixture of quiet and loud latents, and measure what it generates.

Half of the clips are quiet and half are loud: normal latents with a standard deviation of 0.25 or
1. A loss with a bias towards clips with small errors generates too few loud ones, which neither
onsets nor the loss itself would show. Network, task and training loop are those of every flow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foleyflow.experiments.machine import machine
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer
from foleyflow.training.loop import train
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.flow import FlowStageConfig, FlowTask, flow_of
from foleyflow.training.tasks.flow_batches import ContextConfig, FlowData

QUIET, LOUD = 0.25, 1.0  # standard deviations of the latents
FRAMES, CHANNELS = 8, 2
CLIPS, SAMPLES = 16_384, 8192  # for training, and generated
NETWORK = FlowConfig(
    channels=CHANNELS,
    width=64,
    layers=2,
    heads=4,
    condition_width=4,
    prior_path="linear",
)
# Without condition dropout, guidance and context: the mixture has no condition.
OBJECTIVE = ObjectiveConfig(drop_all=0.0, drop_timing=0.0, largest_guidance=1.0)
TRAINING = TrainConfig(
    steps=1500,
    batch_clips=256,
    learning_rate=2e-3,
    warmup_steps=50,
    weight_decay=0.0,
    beta2=0.95,
    ema=0.995,
    decay_fraction=0.4,
    validate_every=100_000,
    save_every=100_000,
    bf16=False,
)


@dataclass(frozen=True, kw_only=True)
class MixtureSteps:
    """Training steps of flow matching, the one-step loss and progressive distillation."""

    flow_matching: int = 1500
    one_step: int = 800
    distillation: int = 400


def measure_mixture(
    folder: Path,
    *,
    steps: MixtureSteps = MixtureSteps(),
    network: FlowConfig = NETWORK,
    frames: int = FRAMES,
    batch_clips: int = TRAINING.batch_clips,
    seed: int = 0,
) -> dict[str, Any]:
    """Train the stages of a flow on the mixture, and compare their samples with it.

    Args:
        folder: for the checkpoints of the stages.
        steps: of each stage; the next stage starts from the averaged weights of the one before.
        frames: of a clip, a multiple of 4. Quiet and loud clips are harder to tell apart in few
            numbers, and the map from noise to them is steeper in many.

    Returns:
        "true", "flow_matching" (50 steps of Heun's method), "one_step" and "distillation" (one
        step), each with "loud_fraction" of the samples and "relative_variance", their variance over
        that of the mixture; and the settings.
    """
    # Data, network and schedule
    torch.manual_seed(seed)
    windows = _windows(sample_mixture(CLIPS, frames, seed=seed))
    flow = FlowTransformer(network)
    config = replace(TRAINING, batch_clips=batch_clips, seed=seed)
    # Name -> (stages, steps, learning rate, solver, its steps)
    stages: Mapping[str, tuple[dict[str, int], int, float, str, int]] = {
        "flow_matching": (
            {"dcf_steps": steps.flow_matching},
            steps.flow_matching,
            2e-3,
            "heun",
            50,
        ),
        "one_step": ({"dcf_steps": 0}, steps.one_step, 1e-3, "map", 1),
        "distillation": (
            {"dcf_steps": 0, "merge_steps": steps.distillation},
            steps.distillation,
            7e-4,
            "map",
            1,
        ),
    }
    report: dict[str, Any] = {
        "true": mixture_figures(sample_mixture(SAMPLES, frames, seed=seed + 1))
    }
    # Each stage from the averaged weights of the one before, and its samples
    for name, (lengths, count, learning_rate, solver, solver_steps) in stages.items():
        if not count:
            continue
        task = FlowTask(
            flow,
            OBJECTIVE,
            FlowStageConfig(**lengths),
            steps=count,
            data=FlowData(windows=windows),
            validation_data=FlowData(windows=windows),
            context=ContextConfig(context_fraction=0.0),
        )
        averages = train(
            task,
            replace(config, steps=count, learning_rate=learning_rate),
            folder=folder / name,
            device=torch.device("cpu"),
        )
        flow = flow_of(averages)
        generated = generate(flow, frames, solver=solver, steps=solver_steps, seed=seed + 2)
        report[name] = mixture_figures(generated) | {"steps": count}
        flow.requires_grad_(True).train()
    return report | {
        "quiet": QUIET,
        "loud": LOUD,
        "dimensions": frames * CHANNELS,
        "samples": SAMPLES,
        "seed": seed,
        "machine": machine(),
    }


def sample_mixture(count: int, frames: int = FRAMES, *, seed: int) -> Tensor:
    """Sample clips of the mixture, (count, frames, CHANNELS); every other one is loud."""
    random = torch.Generator().manual_seed(seed)
    deviation = torch.where(torch.arange(count) % 2 == 1, LOUD, QUIET)[:, None, None]
    return deviation * torch.randn(count, frames, CHANNELS, generator=random)


def is_loud(latents: Tensor) -> Tensor:
    """Whether a clip (B, L, C) is likelier under the loud part of the mixture, (B,) bool."""
    dimensions = latents[0].numel()
    energy = latents.square().sum((1, 2))
    log_ratio = 0.5 * energy * (QUIET**-2 - LOUD**-2) - dimensions * math.log(LOUD / QUIET)
    return log_ratio > 0


def mixture_figures(latents: Tensor) -> dict[str, float]:
    """The fraction of loud clips, and the variance relative to that of the mixture."""
    variance = 0.5 * (QUIET**2 + LOUD**2)
    return {
        "loud_fraction": float(is_loud(latents).float().mean()),
        "relative_variance": float(latents.square().mean()) / variance,
    }


@torch.no_grad()
def generate(flow: FlowTransformer, frames: int, *, solver: str, steps: int, seed: int) -> Tensor:
    """Generate `SAMPLES` clips of latents, (SAMPLES, frames, CHANNELS)."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(SAMPLES, frames, CHANNELS, generator=random)
    clips = [
        sample(flow, _condition(*part.shape[:2]), part, steps=steps, guidance=1.0, solver=solver)
        for part in noise.split(1024)
    ]
    return flow.restore(torch.cat(clips))


def _condition(batch: int, frames: int) -> Condition:
    width = NETWORK.condition_width
    return Condition(
        video=torch.zeros(batch, frames, width),
        states=torch.zeros(batch, frames // NETWORK.latents_per_segment, width),
        cues=torch.zeros(batch, frames, 0),
        has_video=torch.ones(batch, dtype=torch.bool),
        context=torch.zeros(batch, frames, CHANNELS),
        known=torch.zeros(batch, frames, dtype=torch.bool),
    )


def _windows(latents: Tensor) -> ConditionWindows:
    count, frames = latents.shape[:2]
    condition = _condition(1, frames)

    def repeat(values: Tensor) -> Any:
        return np.broadcast_to(values.numpy(), (count, *values.shape[1:]))

    return ConditionWindows(
        video=repeat(condition.video),
        states=repeat(condition.states),
        latents=latents.numpy(),
        clip=np.arange(count),
        start_s=np.zeros(count),
    )
