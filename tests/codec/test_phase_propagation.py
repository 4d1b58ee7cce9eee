"""Phase propagation, against tones with known phases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.codec.phase_propagation import PhasePropagation
from foleyflow.spectrogram import istft, stft

RATE_HZ, WINDOW, HOP = 48_000, 1920, 480
CUT = {"window_samples": WINDOW, "hop_samples": HOP}


def ring(frequency_hz: float, *, begin_s: float = 0.1, decay_s: float = 0.3) -> torch.Tensor:
    times_s = torch.arange(RATE_HZ, dtype=torch.float64) / RATE_HZ - begin_s
    tone = torch.exp(-times_s / decay_s) * torch.sin(2 * math.pi * frequency_hz * times_s)
    return torch.where(times_s > 0, tone, 0.0).float()[None]


def fraction_near(sound: torch.Tensor, frequency_hz: float) -> float:
    """Fraction of the energy of 0.2 to 0.8 s within 10 Hz of a frequency."""
    cut = sound[0, RATE_HZ // 5 : 4 * RATE_HZ // 5].numpy()
    power = np.abs(np.fft.rfft(cut * np.hanning(len(cut)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(cut), 1 / RATE_HZ) - frequency_hz) < 10
    return float(power[near].sum() / power.sum())


def random_phase(like: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * math.pi * torch.rand(like.shape, generator=generator)


def propagate(log_magnitude: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    return PhasePropagation(**CUT).propagate(log_magnitude, phase)


@pytest.mark.parametrize("frequency_hz", [220.0, 1010.0, 1012.5, 3137.0, 8003.0])
def test_a_ring_with_random_phases_becomes_one_tone(frequency_hz):
    sound = ring(frequency_hz)
    spectrum = stft(sound, **CUT)
    log_magnitude = torch.log(spectrum.abs() + 1e-5)[0]
    phase = random_phase(log_magnitude)
    propagated = propagate(log_magnitude, phase)
    decoded = {
        name: istft(torch.polar(log_magnitude.exp(), each)[None], **CUT)
        for name, each in (("random", phase), ("propagated", propagated))
    }
    assert fraction_near(sound, frequency_hz) > 0.99
    assert fraction_near(decoded["propagated"], frequency_hz) > 0.97
    assert fraction_near(decoded["random"], frequency_hz) < 0.8


def test_a_ring_continues_from_its_initial_phase():
    spectrum = stft(ring(1010.0), **CUT)
    log_magnitude, phase = torch.log(spectrum.abs() + 1e-5)[0], spectrum.angle()[0]
    begun = 14  # the first frame that contains only the ring
    given = torch.cat([phase[:begun], random_phase(phase[begun:])])
    spectrum = torch.polar(log_magnitude.exp(), propagate(log_magnitude, given))
    decoded = istft(spectrum[None], **CUT)
    true, cut = ring(1010.0), slice(RATE_HZ // 4, RATE_HZ // 2)
    error = (decoded - true)[0, cut].square().mean() / true[0, cut].square().mean()
    assert error < 0.1


def test_a_new_sound_starts_with_the_predicted_phases():
    quiet = torch.full((4, 961), -8.0)
    loud = quiet.clone()
    loud[:, 40], loud[:, (39, 41)] = 2.0, 1.3
    log_magnitude = torch.cat([quiet, loud])
    phase = random_phase(log_magnitude)
    propagated = propagate(log_magnitude, phase)
    assert torch.equal(propagated[:4], phase[:4])
    turns = (propagated[4, 38:43] - phase[4, 40]) / math.pi  # locked to the peak, in half turns
    assert torch.allclose(turns % 2, torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0]), atol=1e-5)
    assert torch.equal(propagated[4, 43:], phase[4, 43:])
    step = (propagated[5:, 40] - propagated[4:-1, 40]) / (2 * math.pi)
    assert torch.allclose(step % 1, torch.full((3,), 40 * HOP / WINDOW % 1), atol=1e-5)


def test_smooth_magnitudes_keep_the_predicted_phases():
    ripple = 0.5 * torch.sin(torch.arange(961) / 9)
    log_magnitude = torch.linspace(2, -6, 961).expand(20, -1) + ripple
    phase = random_phase(log_magnitude)
    assert torch.equal(propagate(log_magnitude, phase), phase)


def test_phases_do_not_depend_on_how_spectra_are_split():
    log_magnitude = torch.log(stft(ring(997.0) + 0.3 * ring(2411.0), **CUT).abs() + 1e-5)[0]
    phase = random_phase(log_magnitude)
    sizes, processor = [1, 0, 30, 69], PhasePropagation(**CUT)
    parts = map(processor.propagate, log_magnitude.split(sizes), phase.split(sizes))
    assert torch.equal(torch.cat(list(parts)), propagate(log_magnitude, phase))


def test_a_codec_propagates_phases_within_each_sound():
    torch.manual_seed(0)
    config = CodecConfig(
        encoder_width=8, encoder_blocks=1, decoder_width=8, decoder_blocks=1, mel_pca_bands=0
    )
    codec = Codec(config).eval().requires_grad_(False)
    codec.decoder.head.weight *= 4.0
    latents = torch.randn(2, 30, config.channels)
    both = codec.decode(latents)
    torch.testing.assert_close(both[1:], codec.decode(latents[1:]), atol=1e-4, rtol=0)
    assert not torch.allclose(both, codec.decoder(latents), atol=1e-2)
