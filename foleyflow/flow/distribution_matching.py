"""Distribution matching: trains the one-step generator on the reverse KL divergence of eq. 7.

Two velocity networks evaluate generated samples at random noise levels: `real`, which stands for
real data, and `fake`, a critic that is trained on the generator's samples. `real` is the flow as it
was at the start of this stage, or another one, such as the flow before its distillation, which
knows the velocity best. The difference of their data predictions is the gradient of
KL(p_generated || p_real) over all noise levels. This stage restores the fine noise that the flow
map alone leaves out. The generator must start from a flow map: a flow-matching network would
converge to another map than that of the flow.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from foleyflow.errors import ConfigError
from foleyflow.flow.conversion import convert
from foleyflow.flow.objective import (
    ObjectiveConfig,
    guided_mean_velocity,
    masked_error,
    predict,
    sample_dropout_and_guidance,
    sample_times,
    sample_uniform,
)
from foleyflow.flow.path import SMALLEST_TAU, interpolate
from foleyflow.flow.snapshot import Snapshot
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like

# Range of flow times for the comparison; the ends carry no information (no noise, or no audio).
FIRST_TAU, LAST_TAU = 0.02, 0.98
SMALLEST_DISTANCE = 1e-2  # bound of the distance that the gradient is divided by


class Critic(Snapshot):
    """The two networks that evaluate samples: `real` is frozen, `fake` is trained."""

    def __init__(self, network: FlowTransformer, real: FlowTransformer | None = None) -> None:
        """Takes a flow with the shape of the generator, and `real` if it is not the generator."""
        super().__init__()
        self._has_own_real = real is not None
        self.real = copy.deepcopy(real or network).requires_grad_(False)
        self.fake = copy.deepcopy(network)

    def start_from_(self, network: nn.Module) -> None:
        """Copy the weights of the generator into `fake`, and into `real` if it is the same flow.

        Raises:
            ConfigError: `real` is another flow with other statistics of its latents.
        """
        if not self._has_own_real:
            super().start_from_(network)
            return
        weights, real = network.state_dict(), self.real.state_dict()
        for name in ("latent_mean", "latent_deviation"):
            if not torch.allclose(weights[name], real[name].to(weights[name]), rtol=1e-4):
                raise ConfigError(
                    f"the flow of real data has another {name} than the flow that is trained",
                    hint="both must come from one training: use a flow that --init was made from",
                )
        self.fake.load_state_dict(weights)
        self.started.fill_(1)


def generate_one_step(
    network: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    drops: Tensor,
    guidance_scale: Tensor,
    path: str,
) -> Tensor:
    """One-step samples eps - u(eps, 0, 1) (paper eq. 8), (B, L, C), from new noise.

    Known frames are those of `audio`.
    """
    noise = normal_like(audio)
    one, end = torch.ones(len(audio), device=audio.device), SMALLEST_TAU[path]
    mean_velocity = predict(network, noise, one, condition, drops, guidance_scale, r=end * one)
    generated = noise - (1 - end) * mean_velocity
    return torch.where(condition.known[..., None], audio, generated)


def critic_loss(
    fake: FlowTransformer,
    generator: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
) -> tuple[Tensor, dict[str, float]]:
    """Flow matching of the critic on generated samples.

    Only `fake` is trained, and only the known frames of `audio` are used. Arguments as in
    objective.py.

    Reference: Yin et al. 2024 (DMD), eq. 6.
    """
    batch, device = len(audio), audio.device
    drops, guidance_scale = sample_dropout_and_guidance(batch, config, device)
    with torch.no_grad():
        generated = generate_one_step(
            generator, audio, condition, drops, guidance_scale, config.path
        )
    tau = sample_times(batch, config, device)
    x, velocity = interpolate(generated, normal_like(generated), tau, config.path)
    predicted = predict(fake, x, tau, condition, drops, guidance_scale)
    error = masked_error(predicted, velocity, condition.known).mean()
    return error, {"critic_error": float(error.detach())}


def distribution_matching_loss(
    generator: FlowTransformer,
    real: FlowTransformer,
    fake: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
) -> tuple[Tensor, dict[str, float]]:
    """A loss whose gradient is that of KL(p_generated || p_audio), paper eq. 7.

    The gradient of each sample is divided by the mean distance of the sample from the real data
    prediction, so that all noise levels have the same weight. Only the generator is trained, and
    only the known frames of `audio` are used. The metric "mismatch" is the root mean square of the
    normalised gradient, 0 where both networks agree. Arguments as in objective.py.

    Reference: Yin et al. 2024 (DMD), eqs. 7 and 8.
    """
    # One-step samples of the generator
    drops, guidance_scale = sample_dropout_and_guidance(len(audio), config, audio.device)
    generated = generate_one_step(generator, audio, condition, drops, guidance_scale, config.path)
    with torch.no_grad():
        # Samples with noise added
        tau = FIRST_TAU + (LAST_TAU - FIRST_TAU) * sample_uniform(len(audio), audio.device)
        x, _ = interpolate(generated, normal_like(generated), tau, config.path)
        # Data prediction of both networks
        velocities = (
            guided_mean_velocity(network, condition, drops, guidance_scale)(x, tau, tau)
            for network in (real, fake)
        )
        real_data, fake_data = (
            convert(velocity, x, tau, given="velocity", wanted="data", path=config.path)
            for velocity in velocities
        )
        # Gradient of the divergence, normalised over the frames that are not context
        weights = (~condition.known)[..., None].float()
        distance = ((generated - real_data).abs() * weights).sum((1, 2), keepdim=True)
        distance /= (weights.sum((1, 2), keepdim=True) * generated.shape[2]).clamp_min(1)
        gradient = (fake_data - real_data) / distance.clamp_min(SMALLEST_DISTANCE)
    # Squared error whose gradient is the one above
    errors = masked_error(generated, (generated - gradient).detach(), condition.known)
    return 0.5 * errors.mean(), {"mismatch": float(errors.detach().mean().sqrt())}
