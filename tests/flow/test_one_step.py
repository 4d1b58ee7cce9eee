"""The one-step loss with exact networks, whose errors are zero or known."""

from __future__ import annotations

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
from foleyflow.flow.one_step import (
    derivative_along_flow,
    one_step_loss,
    some_rows,
)
from foleyflow.flow.path import PATHS, interpolate

AUDIO = torch.full((64, 8, 2), ConstantAudioFlow.mean)


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
def test_the_meanflow_identity_holds_for_the_exact_map(path):
    torch.manual_seed(0)
    network = GaussianMap(path)
    tau = torch.tensor([0.9, 0.6, 0.3, 0.2], dtype=torch.float64)
    r = torch.tensor([0.1, 0.5, 0.05, 0.8], dtype=torch.float64)  # the last interval is reversed
    x = torch.randn(4, 8, 2, dtype=torch.float64)
    velocity = network.velocity(x, tau[:, None, None])
    derivative = derivative_along_flow(
        network,
        x,
        velocity,
        r=r,
        tau=tau,
        guidance_scale=torch.ones(4),
        embedded=torch.zeros(4, 8, 1),
        condition=zero_condition(4),
        half_step=1e-4,
    )
    compound = network(x, r=r, tau=tau) + (tau - r)[:, None, None] * derivative
    assert float((compound - velocity).abs().max()) < 1e-5


def test_context_frames_have_no_tangent():
    def identity(x, **rest):  # its derivative is the tangent
        return x

    one = torch.ones(2)
    derivative = derivative_along_flow(
        identity,
        torch.randn(2, 8, 2, dtype=torch.float64),
        torch.full((2, 8, 2), 3.0, dtype=torch.float64),
        r=0 * one,
        tau=one,
        guidance_scale=one,
        embedded=torch.zeros(2, 8, 1),
        condition=zero_condition(2, known=5),
        half_step=2e-3,
    )
    assert float(derivative[:, :5].abs().max()) == 0.0
    torch.testing.assert_close(derivative[:, 5:], torch.full((2, 3, 2), 3.0, dtype=torch.float64))


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


def test_fast_derivatives_of_an_exact_map_are_not_changed():
    # Where audio varies little, the velocity changes fast near it, and so does the mean velocity.
    torch.manual_seed(0)
    network = GaussianMap(deviation=0.05)

    class Exact(Unconditional):
        def forward(self, x, *, r, tau, **rest):
            return network(x.double(), r=r.double(), tau=tau.double()).float()

    rows, deviation = 4096, 0.05
    audio = network.mean + deviation * torch.randn(rows, 8, 2)
    config = ObjectiveConfig(interval_share=1.0, difference=5e-4, tau_mean=-2.0)
    _, figures = one_step_loss(Exact(), audio, zero_condition(rows), config, progress=1.0)
    assert figures["slope"] > 1.0
    assert figures["error"] < 1e-3
    # Without an interval, the variance of the conditional velocity remains: s^2 / (alpha^2 s^2 +
    # sigma^2).
    config = ObjectiveConfig(interval_share=0.0, tau_mean=-2.0)
    torch.manual_seed(1)
    _, figures = one_step_loss(Exact(), audio, zero_condition(rows), config, progress=1.0)
    torch.manual_seed(1)
    tau, _ = sample_intervals(rows, config, 1.0, torch.device("cpu"))
    variance = deviation**2 / ((1 - tau) ** 2 * deviation**2 + tau**2)
    assert figures["error"] == pytest.approx(float(variance.mean()), rel=0.05)


def test_the_derivative_carries_a_gradient_and_the_tangent_does_not():
    class Affine(Unconditional):
        """u = a x + b tau: along the velocity v = (a x + b tau), du/dtau = a v + b."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.tensor(value)) for value in (0.3, -0.2))

        def forward(self, x, *, r, tau, **rest):
            return self.a * x + self.b * tau[:, None, None]

    torch.manual_seed(0)
    network, rows = Affine(), 16
    config = ObjectiveConfig(
        interval_share=1.0, largest_guidance=1.0, drop_all=0.0, drop_timing=0.0
    )
    audio = torch.randn(rows, 8, 2)
    torch.manual_seed(1)
    value, _ = one_step_loss(network, audio, zero_condition(rows), config, progress=1.0)
    value.backward()
    found = [float(parameter.grad) for parameter in (network.a, network.b)]
    # The same random numbers, and the derivative in closed form
    torch.manual_seed(1)
    tau, r = sample_intervals(rows, config, 1.0, torch.device("cpu"))
    sample_dropout_and_guidance(rows, config, torch.device("cpu"))
    x, _ = interpolate(audio, torch.randn_like(audio), tau)
    a, b = (torch.tensor(value, requires_grad=True) for value in (0.3, -0.2))
    times, gap = tau[:, None, None], (tau - r)[:, None, None]
    tangent = 0.3 * x - 0.2 * times
    compound = a * x + b * times + gap * (a * tangent + b)
    (compound - tangent).square().mean().backward()
    assert found == pytest.approx([float(a.grad), float(b.grad)], rel=1e-3)


def test_rows_of_a_mask_without_other_processes():
    assert some_rows(torch.tensor([False, True, True])).tolist() == [1, 2]
    assert some_rows(torch.tensor([False, False])).tolist() == []
