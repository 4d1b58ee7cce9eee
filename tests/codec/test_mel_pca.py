"""The codec's linear part: what it preserves of a spectrum, alone and in an untrained codec."""

from __future__ import annotations

import pytest
import torch

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.codec.mel_pca import MelPca
from foleyflow.spectrogram import log_magnitude, stft

HOP = 960


def rings(count: int, *, seed: int = 0, seconds: float = 0.4) -> torch.Tensor:
    """Sounds of a few decaying modes with faint noise."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    times_s = torch.arange(round(48_000 * seconds)) / 48_000
    modes_hz = 200 * 40 ** uniform(count, 4, 1)
    falls = torch.exp(-times_s / (0.02 + 0.2 * uniform(count, 4, 1)))
    sound = (uniform(count, 4, 1) * falls * torch.sin(2 * torch.pi * modes_hz * times_s)).sum(1)
    return 0.1 * sound + 1e-4 * torch.randn(sound.shape, generator=generator)


@pytest.fixture(scope="module")
def fitted() -> MelPca:
    mel_pca = MelPca(rate_hz=48_000, hop_samples=HOP, bands=64, channels=24)
    mel_pca.fit_(mel_pca.levels(rings(64)).flatten(0, 1))
    return mel_pca


def test_latents_are_uncorrelated_and_of_unit_deviation(fitted):
    latents = fitted.latents(rings(64)).flatten(0, 1)
    assert torch.allclose(torch.cov(latents.T), torch.eye(24), atol=0.02)
    assert (fitted.deviation.diff() <= 1e-6).all()  # the strongest first


def test_a_full_set_of_components_is_lossless():
    full = MelPca(rate_hz=48_000, hop_samples=HOP, bands=16, channels=32)
    levels = full.levels(rings(64))
    full.fit_(levels.flatten(0, 1))
    again = full.levels_from(full.latents(rings(64)))
    assert torch.allclose(again, levels, atol=1e-3)


def test_errors_of_high_bands_count_twice(fitted):
    """The components minimise the weighted error: no other orthonormal basis gives a lower one."""
    bands = 64
    weights = fitted.band_weights.reshape(2, bands)
    assert torch.equal(weights[0], weights[1])
    assert (weights[0][:20] == 1).all() and (weights[0][-10:] == 2).all()
    assert (weights[0].diff() >= 0).all()
    sounds = rings(64)
    levels = fitted.levels(sounds)
    error = (fitted.levels_from(fitted.latents(sounds)) - levels) * fitted.band_weights
    centred = ((levels - fitted.mean) * fitted.band_weights).flatten(0, 1)
    singular = torch.linalg.svdvals(centred.double())
    assert float(error.square().sum()) == pytest.approx(
        float(singular[24:].square().sum()), rel=1e-3
    )


def test_magnitudes_of_noise_are_reconstructed_at_their_level(fitted):
    """The level of a band is the mean magnitude of its bins, so that flat noise stays flat."""
    mel_pca = MelPca(rate_hz=48_000, hop_samples=HOP, bands=64, channels=128)
    noise = 0.1 * torch.randn(16, 48_000, generator=torch.Generator().manual_seed(0))
    mel_pca.fit_(mel_pca.levels(noise).flatten(0, 1))
    magnitudes = mel_pca.log_magnitudes(mel_pca.latents(noise)).flatten(0, 1)
    true = log_magnitude(stft(noise, window_samples=2 * HOP, hop_samples=HOP // 2)).flatten(0, 1)
    away_from_ends = slice(4, -4)
    # The logarithm of the mean is 0.12 nepers above the mean logarithm of such magnitudes
    bias = (magnitudes - true).mean(0)[away_from_ends]
    assert abs(float(bias.mean()) - 0.16) < 0.1 and bias.std() < 0.15


def test_an_untrained_codec_preserves_the_levels_of_a_ring(fitted):
    """Without the linear part it decodes noise that is unrelated to the sound."""
    torch.manual_seed(0)
    found = {}
    sound = rings(4, seed=1)
    true = fitted.levels(sound)
    loud = true > true.amax((1, 2), keepdim=True) - 3
    for bands in (0, 64):
        codec = Codec(CodecConfig(mel_pca_bands=bands)).eval()
        codec.fit_mel_pca_(rings(64))
        with torch.no_grad():
            again = fitted.levels(codec.decode(codec.encode(sound)))
        found[bands] = float((again - true)[loud].abs().mean())
    assert found[64] < 1.0 < 1.5 < found[0], found
