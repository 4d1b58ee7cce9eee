"""Flow matching with networks whose error is known."""

from __future__ import annotations

import math

import pytest
import torch
from support.flow_networks import ConstantAudioFlow, Unconditional, zero_condition
from torch import nn

from foleyflow.flow.distribution_matching import critic_loss
from foleyflow.flow.flow_matching import flow_matching_loss
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.one_step import one_step_loss

AUDIO = torch.full((64, 8, 2), ConstantAudioFlow.mean)


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_network_has_no_error(seed):
    torch.manual_seed(seed)
    value, figures = flow_matching_loss(
        ConstantAudioFlow(), AUDIO, zero_condition(64), ObjectiveConfig()
    )
    assert figures["error"] < 1e-5
    assert float(value) < 1e-3


def test_a_constant_error_costs_its_square():
    torch.manual_seed(0)
    network, config = ConstantAudioFlow(shift=0.3), ObjectiveConfig()
    value, figures = flow_matching_loss(network, AUDIO, zero_condition(64), config)
    assert figures["error"] == pytest.approx(0.09, rel=1e-3)
    assert float(value) == pytest.approx(0.09, rel=1e-3)


def test_the_target_is_the_velocity_of_the_path():
    # Zero error on random audio would need a network that knows audio and noise. For a network that
    # predicts 0, the error is the mean squared velocity: E (eps - x)^2 = 1 + E x^2 (linear path).
    class Zero(ConstantAudioFlow):
        def __call__(self, x, **rest):
            return torch.zeros_like(x)

    torch.manual_seed(0)
    audio, condition = 2.0 * torch.randn(256, 8, 2), zero_condition(256)
    _, figures = flow_matching_loss(Zero(), audio, condition, ObjectiveConfig(path="linear"))
    assert figures["error"] == pytest.approx(5.0, rel=0.05)
    config = ObjectiveConfig(path="gvp")
    _, figures = flow_matching_loss(Zero(), audio, condition, config)
    angle = (
        math.pi / 2 * torch.sigmoid(config.tau_mean + config.tau_deviation * torch.randn(10_000))
    )
    speed = (math.pi / 2) ** 2 * (4 * angle.sin() ** 2 + angle.cos() ** 2)
    assert figures["error"] == pytest.approx(float(speed.mean()), rel=0.1)


class Constant(Unconditional):
    """The same velocity everywhere, one parameter: each loss has its minimum at a known mean."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x, **rest):
        return self.value.expand_as(x)


@pytest.mark.parametrize("loss", ["flow matching", "critic", "one step"])
def test_the_minimum_is_the_mean_velocity_of_quiet_and_loud_audio(loss):
    # 70 % of the clips are near 0, the others near 1.3. The mean of the velocity eps - x over all
    # clips is -0.4. Weighted by powers of their own errors, clips would have another mean.
    torch.manual_seed(0)
    rows = 2000
    level = torch.where(torch.arange(rows) < 0.7 * rows, 0.0143, 1.3)
    audio, chosen = level[:, None, None].expand(-1, 8, 2), zero_condition(rows)
    mean = -float(audio.mean())
    network = Constant(mean)
    config = ObjectiveConfig(interval_share=0.0, largest_guidance=1.0)
    if loss == "critic":

        class Generator(Unconditional):
            def forward(self, x, **rest):
                return x - audio

        value, _ = critic_loss(network, Generator(), audio, chosen, config)
    elif loss == "one step":
        value, _ = one_step_loss(network, audio, chosen, config, progress=1.0)
    else:
        value, _ = flow_matching_loss(network, audio, chosen, config)
    value.backward()
    # Half of the gradient is the distance from the minimum, up to the mean of the noise
    assert abs(float(network.value.grad) / 2) < 0.02
