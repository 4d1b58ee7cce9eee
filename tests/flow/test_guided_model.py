"""Guidance and flow maps of networks that were trained with and without them."""

from __future__ import annotations

import pytest
import torch
from support.flow_networks import random_condition, random_flow

from foleyflow.errors import ConfigError
from foleyflow.flow.guided_model import flow_map, velocity_field
from foleyflow.flow.objective import predict
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import DROP_ALL, FlowConfig, FlowTransformer


@pytest.fixture
def untrained() -> FlowTransformer:
    """A random network that counts as trained by flow matching alone."""
    config = FlowConfig(channels=2, width=16, layers=1, heads=2, condition_width=4)
    network = random_flow(config, deviation=0.2)
    network.trained_intervals.zero_()
    network.trained_guidance.zero_()
    return network


def condition():
    return random_condition(3, 8, width=4, channels=2, seed=1)


def test_guidance_without_a_guided_training_takes_two_evaluations(untrained):
    x, chosen, tau = torch.randn(3, 8, 2), condition(), torch.full((3,), 0.4)
    with torch.no_grad():
        conditional = predict(untrained, x, tau, chosen)
        dropped = torch.full((3,), DROP_ALL)
        unconditional = predict(untrained, x, tau, chosen, dropped)
        guided = velocity_field(untrained, chosen, guidance=2.5)(x, 0.4)
        plain = velocity_field(untrained, chosen)(x, 0.4)
        torch.testing.assert_close(guided, unconditional + 2.5 * (conditional - unconditional))
        torch.testing.assert_close(plain, conditional)
        # The embedding of the guidance scale is not used
        scale = torch.full((3,), 2.5)
        embedded = predict(untrained, x, tau, chosen, guidance_scale=scale)
        assert not torch.allclose(guided, embedded, atol=1e-3)
        # With a guided training, the scale is an input of a single evaluation
        untrained.record_training_(guidance=True)
        torch.testing.assert_close(
            velocity_field(untrained, chosen, guidance=2.5)(x, 0.4), embedded
        )


def test_a_flow_without_a_one_step_stage_has_no_map(untrained):
    chosen, noise = condition(), torch.randn(3, 8, 2)
    with pytest.raises(ConfigError, match="flow matching alone and has no flow map"):
        flow_map(untrained, chosen)
    with pytest.raises(ConfigError, match="no flow map"):
        sample(untrained, chosen, noise, steps=4, guidance=1.0, solver="map")
    with torch.no_grad():
        default = sample(untrained, chosen, noise, steps=4, guidance=2.0)
        euler = sample(untrained, chosen, noise, steps=4, guidance=2.0, solver="euler")
    assert torch.equal(default, euler)


def test_a_map_without_a_guided_training_refuses_guidance(untrained):
    untrained.record_training_(guidance=False)
    chosen, noise = condition(), torch.randn(3, 8, 2)
    with pytest.raises(ConfigError, match=r"guidance=2.5: the one-step stage .* had no guidance"):
        sample(untrained, chosen, noise, steps=1, guidance=2.5)
    with torch.no_grad():
        default = sample(untrained, chosen, noise, steps=1, guidance=1.0)
        step = sample(untrained, chosen, noise, steps=1, guidance=1.0, solver="map")
    assert torch.equal(default, step)
