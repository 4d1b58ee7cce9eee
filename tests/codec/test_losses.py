"""The codec's losses: zero for equal sounds, increasing with the error, closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from foleyflow.codec.losses import SpectralLosses, envelope_loss, kl_to_unit, log_l1

SPECTRA = SpectralLosses(48_000)
LOSSES = {
    "spectral": lambda decoded, target: SPECTRA(decoded, target)["spectral"],
    "mel": lambda decoded, target: SPECTRA(decoded, target)["mel"],
    "envelope": envelope_loss,
}


@pytest.fixture(scope="module")
def sound():
    return 0.3 * torch.randn(2, 9600, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_zero_for_equal_sounds_and_grow_with_the_error(name, sound):
    noise = torch.randn(sound.shape, generator=torch.Generator().manual_seed(1))
    costs = [float(LOSSES[name](sound + level * noise, sound)) for level in (0.0, 0.03, 0.1, 0.4)]
    assert costs[0] == 0.0
    assert costs == sorted(costs)
    assert costs[1] > 0.0


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_gain_costs_its_logarithm(sound, gain):
    assert float(LOSSES["mel"](gain * sound, sound)) == pytest.approx(abs(math.log(gain)), rel=1e-3)
    wanted = abs(math.log(gain**2))
    assert float(envelope_loss(gain * sound, sound)) == pytest.approx(wanted, rel=1e-3)


def test_losses_have_gradients_at_silence():
    for loss in LOSSES.values():
        decoded = (1e-3 * torch.randn(1, 9600)).requires_grad_()
        loss(decoded, torch.zeros(1, 9600)).backward()
        assert bool(torch.isfinite(decoded.grad).all())


def test_divergence_from_the_unit_normal():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    wanted = kl_divergence(posterior, Normal(torch.zeros(()), torch.ones(()))).mean()
    torch.testing.assert_close(kl_to_unit(mean, log_variance), wanted)
    assert float(kl_to_unit(torch.zeros(2, 3), torch.zeros(2, 3))) == 0.0


def test_inaudible_errors_have_a_tenth_of_the_weight():
    wanted = torch.tensor([[[1.0, math.exp(-10)]]])

    def cost(loud: float, quiet: float, audible: float = 7.0) -> float:
        got = wanted * torch.tensor([loud, quiet]).exp()
        return float(log_l1(got, wanted, audible))

    assert cost(0, 0.5, audible=0.0) == pytest.approx(0.25, rel=0.2)  # the floor is close
    assert cost(-1, 0) == pytest.approx(1 / 1.1, rel=1e-2)
    assert cost(0, -1) < 0.1 * cost(-1, 0)
    assert cost(0, 10) == pytest.approx(10 / 2, rel=2e-2)  # an added sound as loud as the true one
