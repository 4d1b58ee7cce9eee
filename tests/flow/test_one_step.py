"""The one-step loss with exact networks, whose errors are zero or known."""

from __future__ import annotations

import pytest
import torch
from support.flow_networks import ConstantAudioFlow, zero_condition
from support.gaussian_mixture import GaussianMap

from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.one_step import (
    MAX_DERIVATIVE_RMS,
    bound_derivative,
    derivative_along_flow,
    one_step_loss,
)
from foleyflow.flow.path import PATHS

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
    config = ObjectiveConfig(interval_share=0.0, drop_all=0.0, drop_timing=0.0, balance=0.0)
    network, condition = ConstantAudioFlow(off=0.6), zero_condition(64)
    _, guided = one_step_loss(network, AUDIO, condition, config, progress=1.0)
    assert guided["error"] < 1e-5
    # At the start of the stage w is 1, and the same network is exact as well.
    _, plain = one_step_loss(network, AUDIO, condition, config, progress=0.1)
    assert plain["error"] < 1e-5


def test_samples_without_condition_are_not_guided():
    torch.manual_seed(0)
    config = ObjectiveConfig(interval_share=0.0, drop_all=1.0, balance=0.0)
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


def test_derivatives_are_bounded_per_sample_and_keep_their_direction():
    torch.manual_seed(0)
    derivative = torch.randn(3, 40, 8) * torch.tensor([0.5, 2.0, 500.0])[:, None, None]
    bounded = bound_derivative(derivative)
    assert torch.equal(bounded[:2], derivative[:2])
    assert float(bounded[2].square().mean().sqrt()) == pytest.approx(MAX_DERIVATIVE_RMS, rel=1e-5)
    torch.testing.assert_close(bounded[2] / bounded[2].norm(), derivative[2] / derivative[2].norm())
    assert torch.equal(bound_derivative(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))
