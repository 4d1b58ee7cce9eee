"""Likelihood and inversion of flows with a known density, and of a network."""

from __future__ import annotations

import math

import pytest
import torch
from support.flow_networks import random_condition, random_flow
from support.gaussian_mixture import Mixture

from foleyflow.flow.guided_model import flow_map, velocity_field
from foleyflow.flow.likelihood import (
    decode,
    encode,
    exact_divergence,
    hutchinson,
    invert,
    log_likelihood,
)
from foleyflow.flow.transformer import FlowConfig, FlowTransformer

NORMAL = {"means": (0.7,), "deviations": (0.4,), "weights": (1.0,)}


@pytest.mark.parametrize("path", ["linear", "gvp", "vp"])
def test_the_likelihood_of_normal_audio(path):
    torch.manual_seed(0)
    flow = Mixture(path, **NORMAL)
    audio = flow.sample(6, 4, 4)
    found = log_likelihood(flow.velocity, audio, steps=50 if path != "vp" else 100)
    known = flow.log_density(audio).mean((1, 2))
    # On the vp path e^-5 of the audio remains at tau = 1, which is not exactly standard normal.
    within = 1e-3 if path != "vp" else 6e-3
    torch.testing.assert_close(found.nats_per_dimension, known, atol=within, rtol=0)
    torch.testing.assert_close(found.bits_per_dimension, -found.nats_per_dimension / math.log(2))
    if path != "vp":
        torch.testing.assert_close(found.noise, (audio - 0.7) / 0.4, atol=5e-3, rtol=0)


def test_the_likelihood_of_a_network_on_the_variance_preserving_path():
    # With this prior and no residual the network is the flow of normal latents.
    torch.manual_seed(0)
    deviation = torch.tensor([0.4, 1.0])
    config = FlowConfig(channels=2, width=16, layers=1, heads=2, condition_width=8, prior_path="vp")
    network = FlowTransformer(config).eval().requires_grad_(False)
    network.latent_scale.copy_(deviation)
    audio = deviation * torch.randn(2, 4, 2)
    known = torch.distributions.Normal(torch.zeros(2), deviation).log_prob(audio).mean((1, 2))
    velocity = velocity_field(network, random_condition(2, 4, width=8, channels=2))
    found = log_likelihood(velocity, audio, steps=40, path="vp")
    torch.testing.assert_close(found.nats_per_dimension, known, atol=0.05, rtol=0)
    back = decode(velocity, encode(velocity, audio, steps=40, path="vp"), steps=40, path="vp")
    assert float((back - audio).norm() / audio.norm()) < 0.05
    # A small error of the network has a small effect. At tau = 0, where the velocity has a gain of
    # 5e4, the same error would move the audio by several deviations in the first step.
    network.output_conv.bias.normal_(std=0.01)
    near = log_likelihood(velocity, audio, steps=40, path="vp")
    torch.testing.assert_close(near.nats_per_dimension, known, atol=0.2, rtol=0)
    far = log_likelihood(velocity, audio, steps=40)  # starts at 0
    assert float((far.nats_per_dimension - known).abs().min()) > 1


def test_the_likelihood_of_a_mixture_and_of_outliers():
    torch.manual_seed(0)
    flow = Mixture()
    audio = flow.sample(4, 4, 4)
    found = log_likelihood(flow.velocity, audio, steps=50)
    known = flow.log_density(audio).mean((1, 2))
    torch.testing.assert_close(found.nats_per_dimension, known, atol=1e-3, rtol=0)
    outlier = log_likelihood(flow.velocity, audio + 2.0, steps=50)
    assert bool((outlier.log_density < found.log_density - 10).all())


def test_likelihoods_integrate_to_one():
    flow = Mixture()
    grid = torch.linspace(-4, 4, 801, dtype=torch.float64)
    found = log_likelihood(flow.velocity, grid[:, None, None], steps=50)
    assert float(found.log_density.exp().sum() * (grid[1] - grid[0])) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("path", ["linear", "gvp"])
def test_encoding_and_decoding_in_25_steps_returns_the_audio(path):
    torch.manual_seed(0)
    flow = Mixture(path, **NORMAL)
    audio = flow.sample(4, 50, 4)
    noise = encode(flow.velocity, audio)
    back = decode(flow.velocity, noise)
    assert float((back - audio).norm() / audio.norm()) < 1e-3
    assert float((noise - audio).norm() / audio.norm()) > 0.5


@pytest.mark.parametrize("stiffness", [2.0, 25.0, 45.0])
def test_invert_is_exact_for_steps_that_are_too_long_for_encode(stiffness):
    # Each of the 25 Heun steps multiplies a sample by a factor, 4.4 for a stiffness of 45, for
    # which a fixed-point iteration with full corrections diverges.
    torch.manual_seed(0)
    audio = torch.randn(2, 5, 4, dtype=torch.float64)
    rates = torch.tensor([-1.0, stiffness], dtype=torch.float64)[:, None, None]

    def velocity(x, tau):
        return -rates * x

    factor = 1 + rates / 25 + (rates / 25) ** 2 / 2
    noise = invert(velocity, audio, tolerance=1e-9, max_iterations=200)
    torch.testing.assert_close(noise, audio / factor**25, rtol=1e-6, atol=0)
    torch.testing.assert_close(decode(velocity, noise), audio, rtol=1e-6, atol=1e-9)
    returned = decode(velocity, encode(velocity, audio))
    error = (returned - audio).square().mean((1, 2)).sqrt()
    assert float(error[1]) > (1e-4 if stiffness == 2 else 1)


def test_invert_stops_at_the_best_iterate():
    audio = torch.ones(1, 5, 4)

    def velocity(x, tau):
        return -20.0 * x

    few, more = (
        decode(velocity, invert(velocity, audio, max_iterations=count)) - audio for count in (1, 3)
    )
    assert 1e-3 < float(more.abs().max()) < float(few.abs().max())


def curved(x: torch.Tensor, tau: float) -> torch.Tensor:
    """A velocity that mixes all dimensions of a sample; its divergence is below."""
    total = x.flatten(1).sum(1)[:, None, None]
    return x**2 * total + tau * x


def curved_divergence(x: torch.Tensor, tau: float) -> torch.Tensor:
    flat = x.flatten(1)
    return (2 * flat * flat.sum(1, keepdim=True) + flat**2 + tau).sum(1)


def test_the_exact_divergence():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 2, dtype=torch.float64)
    value, divergence = exact_divergence(curved, x, 0.3)
    torch.testing.assert_close(value, curved(x, 0.3))
    torch.testing.assert_close(divergence, curved_divergence(x, 0.3))


def test_random_probes_are_unbiased_and_their_error_falls_with_the_square_root():
    torch.manual_seed(0)
    x = 0.5 * torch.randn(1, 4, 2, dtype=torch.float64)
    known = float(curved_divergence(x, 0.3))
    errors = {}
    for probes in (4, 64):
        estimates = [
            float(hutchinson(x, probes=probes)(curved, x, 0.3)[1]) - known for _ in range(100)
        ]
        spread = torch.tensor(estimates)
        assert abs(float(spread.mean())) < 4 * float(spread.std()) / math.sqrt(100)
        errors[probes] = float(spread.std())
    assert errors[4] / errors[64] == pytest.approx(4.0, rel=0.3)


def test_sign_probes_are_exact_for_diagonal_jacobians():
    torch.manual_seed(0)
    flow = Mixture()
    audio = flow.sample(2, 6, 4)
    exact = log_likelihood(flow.velocity, audio, steps=10)
    probed = log_likelihood(flow.velocity, audio, steps=10, divergence=hutchinson(audio, probes=1))
    torch.testing.assert_close(probed.log_density, exact.log_density)


# ---------------------------------------------------------------------------------- a network


@pytest.fixture(scope="module")
def network():
    config = FlowConfig(channels=4, width=16, layers=1, heads=2, condition_width=8)
    return random_flow(config, deviation=0.1)


def condition(seed: int = 0, frames: int = 8):
    return random_condition(2, frames, width=8, channels=4, seed=seed)


def test_a_network_is_inverted_and_its_volume_is_the_jacobian_determinant(network):
    torch.manual_seed(0)
    velocity = velocity_field(network, condition())
    audio = torch.randn(2, 8, 4)
    noise = encode(velocity, audio)
    assert float((decode(velocity, noise) - audio).norm() / audio.norm()) < 1e-3
    back = decode(velocity, invert(velocity, audio))
    assert float((back - audio).norm() / audio.norm()) < 5e-5
    found = log_likelihood(velocity, audio, steps=10)
    noise = encode(velocity, audio, steps=10)
    torch.testing.assert_close(found.noise, noise)
    # Independently: the determinant of the Jacobian of the complete solve

    def noise_of_first(flat):
        batch = torch.cat([flat.view(1, 8, 4), audio[1:]])
        return encode(velocity, batch, steps=10)[0].flatten()

    jacobian = torch.autograd.functional.jacobian(noise_of_first, audio[0].flatten())
    volume = float(torch.linalg.slogdet(jacobian.double()).logabsdet)
    prior = -0.5 * float((noise[0] ** 2 + math.log(2 * math.pi)).sum())
    assert float(found.log_density[0]) == pytest.approx(prior + volume, abs=5e-3)


def test_the_likelihood_depends_on_the_condition_and_not_on_other_samples(network):
    torch.manual_seed(0)
    audio = torch.randn(2, 8, 4)
    found = log_likelihood(velocity_field(network, condition()), audio, steps=4)
    other = log_likelihood(velocity_field(network, condition(5)), audio, steps=4)
    assert not torch.allclose(found.log_density, other.log_density, atol=1e-3)
    first = torch.tensor([0])
    alone = log_likelihood(velocity_field(network, condition().rows(first)), audio[:1], steps=4)
    torch.testing.assert_close(alone.log_density[0], found.log_density[0], atol=1e-3, rtol=1e-4)


def test_large_latents_use_random_probes_by_default(network):
    torch.manual_seed(0)
    frames = 72  # 288 dimensions per sample
    audio = torch.randn(2, frames, 4)
    velocity = velocity_field(network, condition(frames=frames))
    torch.manual_seed(1)
    found = log_likelihood(velocity, audio, steps=1)
    exact = log_likelihood(velocity, audio, steps=1, divergence=exact_divergence)
    torch.manual_seed(1)
    again = log_likelihood(velocity, audio, steps=1)
    assert torch.equal(found.log_density, again.log_density)
    assert not torch.equal(found.log_density, exact.log_density)
    torch.testing.assert_close(found.nats_per_dimension, exact.nats_per_dimension, atol=0.1, rtol=0)


def test_the_velocity_is_the_diagonal_of_the_map(network):
    chosen, x = condition(), torch.randn(2, 8, 4)
    velocity = velocity_field(network, chosen, guidance=2.0)
    mean_velocity = flow_map(network, chosen, guidance=2.0)
    assert torch.equal(velocity(x, 0.4), mean_velocity(x, 0.4, 0.4))
    assert not torch.equal(velocity(x, 0.4), mean_velocity(x, 0.1, 0.4))
    plain = velocity_field(network, chosen)
    assert not torch.equal(velocity(x, 0.4), plain(x, 0.4))
