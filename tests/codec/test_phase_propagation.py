"""Tones that go on from frame to frame: against tones whose phases are known."""

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


def share_near(sound: torch.Tensor, frequency_hz: float) -> float:
    """Of the energy of 0.2 to 0.8 s, within 10 Hz of a frequency."""
    cut = sound[0, RATE_HZ // 5 : 4 * RATE_HZ // 5].numpy()
    power = np.abs(np.fft.rfft(cut * np.hanning(len(cut)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(cut), 1 / RATE_HZ) - frequency_hz) < 10
    return float(power[near].sum() / power.sum())


def chance(like: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * math.pi * torch.rand(like.shape, generator=generator)


@pytest.mark.parametrize("frequency_hz", [220.0, 1010.0, 1012.5, 3137.0, 8003.0])
def test_a_ring_is_one_tone_again_whatever_the_network_says_of_its_phases(frequency_hz):
    sound = ring(frequency_hz)
    spectrum = stft(sound, **CUT)
    log_size = torch.log(spectrum.abs() + 1e-5)[0]
    phase = chance(log_size)
    carried = PhasePropagation(**CUT).carry(log_size, phase)
    heard = {
        name: istft(torch.polar(log_size.exp(), each)[None], **CUT)
        for name, each in (("chance", phase), ("carried", carried))
    }
    assert share_near(sound, frequency_hz) > 0.99
    assert share_near(heard["carried"], frequency_hz) > 0.97
    assert share_near(heard["chance"], frequency_hz) < 0.8


def test_a_ring_keeps_the_phase_that_it_begins_with():
    spectrum = stft(ring(1010.0), **CUT)
    log_size, phase = torch.log(spectrum.abs() + 1e-5)[0], spectrum.angle()[0]
    begun = 14  # the first frame that holds nothing but the ring
    told = torch.cat([phase[:begun], chance(phase[begun:])])
    heard = istft(
        torch.polar(log_size.exp(), PhasePropagation(**CUT).carry(log_size, told))[None], **CUT
    )
    true, cut = ring(1010.0), slice(RATE_HZ // 4, RATE_HZ // 2)
    error = (heard - true)[0, cut].square().mean() / true[0, cut].square().mean()
    assert error < 0.1


def test_a_new_sound_has_the_phases_of_the_network():
    quiet = torch.full((4, 961), -8.0)
    loud = quiet.clone()
    loud[:, 40], loud[:, (39, 41)] = 2.0, 1.3
    log_size = torch.cat([quiet, loud])
    phase = chance(log_size)
    carried = PhasePropagation(**CUT).carry(log_size, phase)
    assert torch.equal(carried[:4], phase[:4])
    turns = (carried[4, 38:43] - phase[4, 40]) / math.pi  # locked to the peak, by half turns
    assert torch.allclose(turns % 2, torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0]), atol=1e-5)
    assert torch.equal(carried[4, 43:], phase[4, 43:])
    step = (carried[5:, 40] - carried[4:-1, 40]) / (2 * math.pi)
    assert torch.allclose(step % 1, torch.full((3,), 40 * HOP / WINDOW % 1), atol=1e-5)


def test_smooth_magnitudes_have_no_tones():
    log_size = torch.linspace(2, -6, 961).expand(20, -1) + 0.5 * torch.sin(torch.arange(961) / 9)
    phase = chance(log_size)
    assert torch.equal(PhasePropagation(**CUT).carry(log_size, phase), phase)


def test_stretches_are_carried_like_the_whole():
    log_size = torch.log(stft(ring(997.0) + 0.3 * ring(2411.0), **CUT).abs() + 1e-5)[0]
    phase = chance(log_size)
    whole = PhasePropagation(**CUT).carry(log_size, phase)
    tones = PhasePropagation(**CUT)
    parts = [
        tones.carry(*pair)
        for pair in zip(log_size.split([1, 0, 30, 69]), phase.split([1, 0, 30, 69]), strict=True)
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_a_codec_carries_the_tones_of_each_sound_by_itself():
    torch.manual_seed(0)
    config = CodecConfig(
        encoder_width=8, encoder_blocks=1, decoder_width=8, decoder_blocks=1, skeleton_bands=0
    )
    codec = Codec(config).eval().requires_grad_(False)
    codec.decoder.head.weight *= 4.0
    latents = torch.randn(2, 30, 48)
    both = codec.decode(latents)
    torch.testing.assert_close(both[1:], codec.decode(latents[1:]), atol=1e-4, rtol=0)
    assert not torch.allclose(both, codec.decoder(latents), atol=1e-2)
