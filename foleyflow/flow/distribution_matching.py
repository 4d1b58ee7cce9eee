"""Distribution matching: the one-step generator towards the reverse Kullback-Leibler of eq. 7.

The one-step map makes samples; two velocity networks look at them under added noise: `real`, the
flow as it stood when this part of training began, and `fake`, a critic that keeps learning the
flow of what the generator makes now. Where they expect different audio, the sample moves along the
difference, which is the gradient of the divergence of p_generated from p_real over all levels of
noise. It restores the fine noise that the flow map alone leaves out, and needs a good flow map to
start from: from plain DCF it finds another map than the flow's.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from foleyflow.flow.conversion import convert
from foleyflow.flow.objective import (
    ObjectiveConfig,
    balanced,
    masked_error,
    sample_dropout_and_guidance,
)
from foleyflow.flow.path import interpolate, sample_tau
from foleyflow.flow.snapshot import Snapshot
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like, sample_for_full_batch

# Flow times at which real and fake are compared; the ends tell nothing (no noise, or no audio).
SMALLEST_TAU, LARGEST_TAU = 0.02, 0.98


class Critic(Snapshot):
    """The two judges of the generator's samples: `real` never learns, `fake` does."""

    def __init__(self, network: FlowTransformer) -> None:
        super().__init__()
        self.real = copy.deepcopy(network).requires_grad_(False)
        self.fake = copy.deepcopy(network)


def generate_once(
    network: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    *,
    guidance_scale: Tensor,
    drops: Tensor,
) -> Tensor:
    """One-step samples (B, L, C) from fresh noise; known frames are those of `audio`.

    Source: paper eq. 8: X = eps - u(eps, 0, 1).
    """
    noise = normal_like(audio)
    one = torch.ones(len(audio), device=audio.device)
    made = noise - network(
        noise,
        r=0 * one,
        tau=one,
        guidance_scale=guidance_scale,
        embedded=network.embed(condition, drops),
        condition=condition,
    )
    return torch.where(condition.known[..., None], audio, made)


def critic_loss(
    fake: FlowTransformer,
    generator: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
) -> tuple[Tensor, dict[str, float]]:
    """Flow matching of the critic on what the generator makes.

    Args:
        fake: learns.
        generator: does not.
        audio: (B, L, C) standardised latents; only known frames are used.
        condition: of the same rows.
        config: settings of the objectives.

    Returns:
        The loss and figures for the journal.

    Source: Yin et al. 2024 (DMD), eq. 6; method section C.4, stage 2c.
    """
    drops, guidance_scale = sample_dropout_and_guidance(len(audio), config, audio.device)
    with torch.no_grad():
        made = generate_once(
            generator, audio, condition, guidance_scale=guidance_scale, drops=drops
        )
    tau = sample_tau(
        len(audio), mean=config.tau_mean, deviation=config.tau_deviation, device=audio.device
    )
    x, velocity = interpolate(made, normal_like(made), tau, config.path)
    predicted = fake(
        x,
        r=tau,
        tau=tau,
        guidance_scale=guidance_scale,
        embedded=fake.embed(condition, drops),
        condition=condition,
    )
    errors = masked_error(predicted, velocity, condition.known)
    return balanced(errors, config), {"critic_error": float(errors.detach().mean())}


def distribution_matching_loss(
    generator: FlowTransformer,
    real: FlowTransformer,
    fake: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
) -> tuple[Tensor, dict[str, float]]:
    """A loss whose gradient moves samples from where `fake` expects audio to where `real` does.

    The gradient of each row is divided by the mean distance of its sample from the real
    expectation, so that all levels of noise count alike.

    Args:
        generator: learns.
        real, fake: do not; their diagonals are used.
        audio: (B, L, C) standardised latents; only known frames are used.
        condition: of the same rows.
        config: settings of the objectives.

    Returns:
        The loss and figures: "mismatch" is the root mean square of the normalised gradient, 0
        where the judges agree.

    Source: paper eq. 7, KL(p_generated || p_audio); Yin et al. 2024 (DMD), eqs. 7 and 8; method
        section C.4, stage 2c.
    """
    drops, guidance_scale = sample_dropout_and_guidance(len(audio), config, audio.device)
    made = generate_once(generator, audio, condition, guidance_scale=guidance_scale, drops=drops)
    with torch.no_grad():
        span = LARGEST_TAU - SMALLEST_TAU
        even = sample_for_full_batch(lambda rows: torch.rand(rows, device=audio.device), len(audio))
        tau = SMALLEST_TAU + span * even
        x, _ = interpolate(made, normal_like(made), tau, config.path)
        expected = []
        for judge in (real, fake):
            velocity = judge(
                x,
                r=tau,
                tau=tau,
                guidance_scale=guidance_scale,
                embedded=judge.embed(condition, drops),
                condition=condition,
            )
            expected.append(
                convert(velocity, x, tau, given="velocity", wanted="data", path=config.path)
            )
        wanted = (~condition.known)[..., None].float()
        distance = ((made - expected[0]).abs() * wanted).sum((1, 2), keepdim=True)
        distance = distance / (wanted.sum((1, 2), keepdim=True) * made.shape[2]).clamp_min(1)
        gradient = (expected[1] - expected[0]) / distance.clamp_min(config.floor)
        target = made - gradient
    errors = masked_error(made, target, condition.known)
    return 0.5 * errors.mean(), {"mismatch": float(errors.detach().mean().sqrt())}
