"""Preconditioning: the exact solution for Gaussian latents, against Monte Carlo statistics."""

from __future__ import annotations

import pytest
import torch
from support.flow_networks import random_condition

from foleyflow.errors import ConfigError
from foleyflow.flow import preconditioning
from foleyflow.flow.path import PATHS, interpolate
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer

SCALE = torch.tensor([1.0, 0.4, 0.1])


def network(**settings) -> FlowTransformer:
    torch.manual_seed(0)
    config = FlowConfig(channels=3, width=8, layers=1, heads=2, condition_width=4, **settings)
    result = FlowTransformer(config).eval().requires_grad_(False)
    result.fit_latents_(torch.randn(5000, 3) * torch.tensor([3.0, 1.0, 0.2]) + 5.0, SCALE)
    return result


def condition() -> Condition:
    return random_condition(2, 20, width=4, channels=3)


def test_standardised_latents_have_the_given_scale():
    flow = network(prior_path="linear")
    latents = torch.randn(200, 20, 3) * torch.tensor([3.0, 1.0, 0.2]) + 5.0
    standard = flow.standardise(latents)
    torch.testing.assert_close(standard.std((0, 1)), SCALE, atol=0.02, rtol=0.05)
    torch.testing.assert_close(flow.restore(standard), latents)


@pytest.mark.parametrize("path", list(PATHS))
@pytest.mark.parametrize("level", [0.02, 0.3, 0.7, 0.98])
def test_the_prediction_is_optimal_for_gaussian_latents(path, level):
    """The residual does not correlate with x, and `outward` is its standard deviation."""
    generator = torch.Generator().manual_seed(1)
    audio, noise = (torch.randn(1, 200_000, 3, generator=generator) for _ in range(2))
    tau = torch.tensor([level])
    x, velocity = interpolate(audio * SCALE, noise, tau, path)
    for target, factors in (
        (velocity, preconditioning.for_velocity(tau, tau, SCALE, path)),
        (noise, preconditioning.for_noise(tau, SCALE, path)),
    ):
        residual = target - factors.skip * x
        correlation = (residual * x).mean((0, 1)) / (residual.std((0, 1)) * x.std((0, 1)))
        assert correlation.abs().max() < 0.01
        torch.testing.assert_close(
            residual.std((0, 1)), factors.outward[0, 0], rtol=0.01, atol=1e-5
        )
        torch.testing.assert_close(
            (factors.inward * x).std((0, 1)), torch.ones(3), rtol=0.01, atol=0
        )


@pytest.mark.parametrize("path", list(PATHS))
def test_the_mean_velocity_preserves_gaussian_quantiles(path):
    tau, r = torch.tensor([0.9, 0.5, 0.5005, 1.0]), torch.tensor([0.2, 0.4, 0.5, 0.0])
    skip = preconditioning.for_velocity(r, tau, SCALE, path).skip

    def deviation(times):
        c = PATHS[path](times[:, None, None])
        return ((c.alpha * SCALE) ** 2 + c.sigma**2).sqrt()

    x = deviation(tau)
    torch.testing.assert_close(
        x - (tau - r)[:, None, None] * skip * x, deviation(r), atol=1e-4, rtol=1e-4
    )


def test_a_new_flow_generates_gaussian_latents_in_any_number_of_steps():
    flow, chosen = network(prior_path="linear"), condition()
    flow.record_training_(guidance=False)  # a new network is an exact map as well
    noise = torch.randn(2, 20, 3)
    for solver, steps, bound in (("map", 1, 1e-5), ("map", 4, 1e-5), ("heun", 200, 1e-2)):
        result = sample(flow, chosen, noise, steps=steps, guidance=1.0, solver=solver)
        torch.testing.assert_close(result, SCALE * noise, atol=bound, rtol=bound)


def test_a_new_diffusion_network_generates_gaussian_latents():
    flow = network(prior_path="vp", predicts="noise")
    noise = torch.randn(2, 20, 3)
    result = sample(flow, condition(), noise, steps=200, guidance=1.0)
    torch.testing.assert_close(result / noise, SCALE.expand_as(noise), atol=0.03, rtol=0.1)


def test_factorised_segments_are_preconditioned_once():
    settings = {"prior_path": "linear", "factorised": True}
    flow, noise = network(**settings), torch.randn(2, 20, 3)
    flow.record_training_(guidance=False)
    result = sample(flow, condition(), noise, steps=1, guidance=1.0, solver="map")
    torch.testing.assert_close(result, SCALE * noise, atol=1e-5, rtol=1e-5)


def test_an_unknown_path_is_refused():
    with pytest.raises(ConfigError, match="prior_path='cubic': expected one of linear, gvp, vp"):
        FlowConfig(prior_path="cubic")
