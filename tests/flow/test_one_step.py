"""The one-step loss with exact networks, whose errors are zero or known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.flow_networks import ConstantAudioFlow, Unconditional, zero_condition
from support.gaussian_mixture import GaussianMap
from torch import nn

from foleyflow.flow.objective import (
    ObjectiveConfig,
    sample_dropout_and_guidance,
    sample_intervals,
)
from foleyflow.flow.one_step import one_step_loss, some_rows
from foleyflow.flow.path import PATHS, interpolate

AUDIO = torch.full((64, 8, 2), ConstantAudioFlow.mean)


class Network(Unconditional):
    """u(x, r, tau) by a function or a module, called like the network of the flow."""

    def __init__(self, mean_velocity) -> None:
        super().__init__()
        self.mean_velocity = mean_velocity

    def forward(self, x, *, r, tau, **rest):
        if isinstance(self.mean_velocity, GaussianMap):
            return self.mean_velocity(x.double(), r=r.double(), tau=tau.double()).float()
        return self.mean_velocity(x, r, tau)


def seeded_loss(network, audio, config):
    """Flow times and figures of a loss with the random numbers of `seeded_position`."""
    torch.manual_seed(1)
    _, figures = one_step_loss(network, audio, zero_condition(len(audio)), config, progress=1.0)
    torch.manual_seed(1)
    return *sample_intervals(len(audio), config, 1.0, torch.device("cpu")), figures


def seeded_position(audio, config):
    """The points on the path, and the lengths of the intervals (B, 1, 1), of `seeded_loss`."""
    torch.manual_seed(1)
    tau, r = sample_intervals(len(audio), config, 1.0, torch.device("cpu"))
    sample_dropout_and_guidance(len(audio), config, torch.device("cpu"))
    x, _ = interpolate(audio, torch.randn_like(audio), tau, config.path)
    return x, (tau - r)[:, None, None]


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_network_has_no_error(seed):
    torch.manual_seed(seed)
    value, figures = one_step_loss(
        ConstantAudioFlow(), AUDIO, zero_condition(64), ObjectiveConfig(), progress=1.0
    )
    assert figures["error"] < 1e-5
    assert float(value) < 1e-3


def test_the_guided_velocity_is_the_fixed_point():
    # On the diagonal the target is v + (1 - 1/w)(v_c - v_0); v_c of this network satisfies it.
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.0, drop_all=0.0, drop_timing=0.0)
    network, condition = ConstantAudioFlow(off=0.6), zero_condition(64)
    _, guided = one_step_loss(network, AUDIO, condition, config, progress=1.0)
    assert guided["error"] < 1e-5
    # At the start of the stage w is 1, and the same network is exact as well.
    _, plain = one_step_loss(network, AUDIO, condition, config, progress=0.1)
    assert plain["error"] < 1e-5


def test_samples_without_condition_are_not_guided():
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.0, drop_all=1.0)
    network = ConstantAudioFlow(off=0.6)
    _, figures = one_step_loss(network, AUDIO, zero_condition(64), config, progress=1.0)
    assert figures["error"] == pytest.approx(0.36, rel=1e-3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("deviation", [0.4, 0.05])
def test_an_exact_map_has_no_error_over_intervals(path, deviation):
    # Also where the flow is stiff: close to audio that varies little, velocities change fast, by
    # more than the bound of 3 that an earlier loss had for derivatives along the flow.
    torch.manual_seed(0)
    exact = Network(GaussianMap(path, deviation=deviation))
    config = ObjectiveConfig(interval_share=1.0, halvings=2, path=path)
    audio = GaussianMap.mean + deviation * torch.randn(512, 8, 2)
    # The shortest intervals have Euler's error; here they are known.
    tau, r, figures = seeded_loss(exact, audio, config)
    euler = tau - r < 0.3
    assert 0.1 < float(euler.float().mean()) < 0.5
    assert figures["interval_error"] < 0.05
    config = replace(config, halvings=10)
    _, _, finer = seeded_loss(exact, audio, config)
    assert finer["interval_error"] < 1e-3


def test_the_target_is_two_jumps_of_half_the_length():
    torch.manual_seed(0)
    network = Network(lambda x, r, tau: torch.sin(3 * x + r[:, None, None]) * tau[:, None, None])
    config = ObjectiveConfig(interval_share=1.0, halvings=3, drop_all=0.0)
    audio = torch.randn(256, 8, 2)
    tau, r, figures = seeded_loss(network, audio, config)
    x, _ = seeded_position(audio, config)
    middle = (tau + r) / 2
    short = tau - r < 0.2
    assert 0 < int(short.sum()) < 256
    # Short intervals follow the velocity, the others shorter jumps
    first = network(x, r=torch.where(short, tau, middle), tau=tau)
    position = x - (tau - middle)[:, None, None] * first
    last = network(position, r=torch.where(short, middle, r), tau=middle)
    error = (network(x, r=r, tau=tau) - (first + last) / 2).square().mean()
    assert figures["interval_error"] == pytest.approx(float(error), rel=1e-4)


def test_known_frames_are_placed_on_the_path_between_the_jumps():
    torch.manual_seed(0)
    calls = []

    def recorded(x, r, tau):
        calls.append((x, tau))
        return torch.full_like(x, 5.0)

    audio = torch.full((64, 8, 2), 2.0)
    config = ObjectiveConfig(interval_share=1.0)
    one_step_loss(Network(recorded), audio, zero_condition(64, known=5), config, progress=1.0)
    (first, tau), (second, middle), _ = calls
    noises = [
        (x - (1 - t)[:, None, None] * 2.0) / t[:, None, None]
        for x, t in ((first, tau), (second, middle))
    ]
    torch.testing.assert_close(noises[0][:, :5], noises[1][:, :5], atol=1e-3, rtol=1e-3)
    assert not torch.isclose(noises[0][:, 5:], noises[1][:, 5:], atol=1e-3).all()


def test_the_target_carries_no_gradient():
    class Affine(Unconditional):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.3))

        def forward(self, x, *, r, tau, **rest):
            return self.slope * x

    torch.manual_seed(0)
    network, config = Affine(), ObjectiveConfig(interval_share=1.0)
    audio = torch.randn(64, 8, 2)
    torch.manual_seed(1)
    value, _ = one_step_loss(network, audio, zero_condition(64), config, progress=1.0)
    value.backward()
    x, gap = seeded_position(audio, config)
    # Two jumps multiply x by 1 - 0.15 gap each
    target = 0.5 * (0.3 * x + 0.3 * (x - 0.5 * gap * 0.3 * x))
    expected = (2 * (0.3 * x - target) * x).mean()
    assert float(network.slope.grad) == pytest.approx(float(expected), rel=1e-4)


def test_guidance_scales_are_sampled_from_one_to_the_largest():
    scales = []

    class Recorder(ConstantAudioFlow):
        def __call__(self, x, *, guidance_scale, **rest):
            scales.append(guidance_scale)
            return super().__call__(x, guidance_scale=guidance_scale, **rest)

    torch.manual_seed(0)
    config, condition = ObjectiveConfig(largest_guidance=3.0), zero_condition(64)
    one_step_loss(Recorder(), AUDIO, condition, config, progress=0.5)
    assert float(scales[-1].min()) == 1.0  # samples without condition
    assert 2.0 < float(scales[-1].max()) <= 3.0
    one_step_loss(Recorder(), AUDIO, condition, config, progress=0.1)
    assert torch.equal(scales[-1], torch.ones(64))


def test_rows_of_a_mask_without_other_processes():
    assert some_rows(torch.tensor([False, True, True])).tolist() == [1, 2]
    assert some_rows(torch.tensor([False, False])).tolist() == []
