"""Distribution matching with exact networks, and on a generator with too little noise."""

from __future__ import annotations

import copy

import pytest
import torch
from support.flow_networks import ConstantAudioFlow, Unconditional, zero_condition
from support.gaussian_mixture import Exact, Mixture, TwoModes
from torch import nn

from foleyflow.errors import ConfigError
from foleyflow.flow.distribution_matching import (
    Critic,
    critic_loss,
    distribution_matching_loss,
    generate_one_step,
)
from foleyflow.flow.objective import ObjectiveConfig, guided_mean_velocity
from foleyflow.flow.transformer import KEEP_ALL, FlowConfig, FlowTransformer

CONFIG = ObjectiveConfig(largest_guidance=1.0)
FRAMES, CHANNELS = 8, 2


def normal(mean: float, deviation: float) -> Mixture:
    return Mixture(means=(mean,), deviations=(deviation,), weights=(1.0,))


class Small(Unconditional):
    """A small network of each dimension: x and tau to a velocity, or noise to audio."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1)
        )

    def forward(self, x, *, tau, **rest):
        times = tau[:, None, None].expand_as(x)
        return self.net(torch.stack([x, times], -1))[..., 0]


def test_networks_that_agree_give_no_gradient():
    torch.manual_seed(0)
    flow = Exact(Mixture())
    value, figures = distribution_matching_loss(
        flow, flow, flow, torch.zeros(16, FRAMES, CHANNELS), zero_condition(16), CONFIG
    )
    assert float(value) == figures["mismatch"] == 0.0


def test_the_gradient_points_from_the_generated_to_the_real_distribution():
    torch.manual_seed(0)
    narrow, wide, moved = normal(0.0, 0.3), normal(0.0, 0.6), normal(1.0, 0.3)

    class Scaled(Unconditional):
        """X = shift + scale eps, as u = eps - X."""

        def __init__(self) -> None:
            super().__init__()
            self.scale, self.shift = (nn.Parameter(torch.tensor(v)) for v in (0.3, 0.0))

        def forward(self, x, **rest):
            return x - self.shift - self.scale * x

    for real, signs in ((wide, (-1, 0)), (moved, (0, -1)), (narrow, (0, 0))):
        generator = Scaled()
        audio = torch.zeros(512, FRAMES, CHANNELS)
        value, _ = distribution_matching_loss(
            generator, Exact(real), Exact(narrow), audio, zero_condition(512), CONFIG
        )
        value.backward()
        slopes = [float(p.grad) for p in (generator.scale, generator.shift)]
        for slope, sign in zip(slopes, signs, strict=True):
            assert slope * sign > 0.1 if sign else abs(slope) < 0.02


def test_the_critic_learns_the_generated_distribution():
    torch.manual_seed(0)
    result = Exact(normal(0.0, 0.3))
    audio = 5.0 + torch.zeros(512, FRAMES, CHANNELS)  # not used
    _, own = critic_loss(result, result, audio, zero_condition(512), CONFIG)
    _, other = critic_loss(Exact(Mixture()), result, audio, zero_condition(512), CONFIG)
    assert own["critic_error"] < 0.8 * other["critic_error"]
    small, generator = Small(), Small()
    critic_loss(small, generator, audio, zero_condition(512), CONFIG)[0].backward()
    assert all(p.grad is not None for p in small.parameters())
    assert all(p.grad is None for p in generator.parameters())


def test_known_frames_are_copied_and_have_no_loss():
    torch.manual_seed(0)
    audio, chosen = torch.randn(4, FRAMES, CHANNELS), zero_condition(4, known=5)
    flow, one = Exact(Mixture()), torch.ones(4)
    result = generate_one_step(flow, audio, chosen, torch.full((4,), KEEP_ALL), one, "linear")
    assert torch.equal(result[:, :5], audio[:, :5])
    assert not torch.isclose(result[:, 5:], audio[:, 5:]).any()

    class OffInContext(Exact):
        def forward(self, x, **rest):
            out = super().forward(x, **rest)
            return torch.cat([out[:, :5] + 9.0, out[:, 5:]], 1)

    _, figures = distribution_matching_loss(
        flow, flow, OffInContext(Mixture()), audio, chosen, CONFIG
    )
    assert figures["mismatch"] == 0.0


def test_the_two_mode_network_agrees_with_the_mixture():
    mixture = Mixture(means=(-1.0, 1.0), deviations=(0.3, 0.3), weights=(0.5, 0.5))
    x, one = torch.randn(4, FRAMES, CHANNELS), torch.ones(4)
    times = {"r": 0.4 * one, "tau": 0.4 * one}
    result = TwoModes(1.0, 0.3)(x, **times).detach()
    torch.testing.assert_close(result, Exact(mixture)(x, **times), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("start", [0.16, 0.5])
def test_a_generator_with_too_little_or_too_much_noise_is_repaired(start):
    # One-step flow maps find the modes and lose about half of the noise around them.
    torch.manual_seed(0)
    real, fake, generator = TwoModes(1.0, 0.3), TwoModes(1.0, 0.3), TwoModes(1.05, start)
    chosen, audio = zero_condition(64), torch.zeros(64, FRAMES, CHANNELS)
    optimisers = [
        torch.optim.Adam(net.parameters(), rate, betas=(0.0, 0.95))
        for net, rate in ((fake, 2e-2), (generator, 4e-3))
    ]
    for _ in range(200):
        for _ in range(2):
            optimisers[0].zero_grad()
            critic_loss(fake, generator, audio, chosen, CONFIG)[0].backward()
            optimisers[0].step()
        optimisers[1].zero_grad()
        distribution_matching_loss(generator, real, fake, audio, chosen, CONFIG)[0].backward()
        optimisers[1].step()
    assert float(generator.deviation.detach()) == pytest.approx(0.3, abs=0.03)
    assert float(generator.middle.detach()) == pytest.approx(1.0, abs=0.03)
    assert float(real.deviation.detach()) == pytest.approx(0.3)


def test_critic_networks_start_as_copies_and_only_fake_is_trained():
    torch.manual_seed(0)
    config = FlowConfig(channels=CHANNELS, width=16, layers=1, heads=2, condition_width=4)
    critic, later = Critic(FlowTransformer(config)), FlowTransformer(config)
    assert int(critic.started) == 0
    critic.start_from_(later)
    assert int(critic.started) == 1
    kept = copy.deepcopy(later.state_dict())
    for network in (critic.real, critic.fake):
        torch.testing.assert_close(network.state_dict(), kept, rtol=0, atol=0)
    with torch.no_grad():
        later.output_conv.bias.add_(1.0)
    torch.testing.assert_close(critic.real.state_dict(), kept, rtol=0, atol=0)
    assert not any(p.requires_grad for p in critic.real.parameters())
    assert all(p.requires_grad for p in critic.fake.parameters())
    names = {name.split(".")[0] for name in critic.state_dict()}
    assert names == {"real", "fake", "started"}


def test_another_flow_can_stand_for_real_data():
    torch.manual_seed(0)
    config = FlowConfig(channels=CHANNELS, width=16, layers=1, heads=2, condition_width=4)
    network, real = FlowTransformer(config), FlowTransformer(config)
    critic, kept = Critic(network, real), copy.deepcopy(real.state_dict())
    critic.start_from_(network)
    assert int(critic.started) == 1
    torch.testing.assert_close(critic.real.state_dict(), kept, rtol=0, atol=0)
    torch.testing.assert_close(critic.fake.state_dict(), network.state_dict(), rtol=0, atol=0)
    assert not any(p.requires_grad for p in critic.real.parameters())
    network.latent_mean.add_(0.5)
    with pytest.raises(ConfigError, match="another latent_mean"):
        critic.start_from_(network)


def test_real_data_of_flow_matching_has_guidance_by_two_evaluations():
    # Velocity w v_c + (1 - w) v_0, although this network does not take w as an input.
    class Guided(ConstantAudioFlow):
        trained_intervals = trained_guidance = torch.tensor(0)

        def __call__(self, x, *, guidance_scale, **rest):
            assert bool((guidance_scale == 1).all())
            return super().__call__(x, guidance_scale=guidance_scale, **rest)

    scale = torch.tensor([1.0, 1.5, 3.0])
    flow, x, tau = Guided(off=0.2), torch.randn(3, FRAMES, CHANNELS), torch.full((3,), 0.5)
    kept = torch.full((3,), KEEP_ALL)
    velocity = guided_mean_velocity(flow, zero_condition(3), kept, scale)(x, tau, tau)
    expected = (x - flow.mean) / 0.5 + (1 - scale)[:, None, None] * flow.off
    torch.testing.assert_close(velocity, expected)
