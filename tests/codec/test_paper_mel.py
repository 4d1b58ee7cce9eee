"""The paper's spectrogram and its inversion."""

from __future__ import annotations

import torch

from foleyflow.codec.paper_mel import BANDS, FRAME_RATE_HZ, HOP_SAMPLES, RATE_HZ, PaperMel
from foleyflow.spectrogram import LOG_FLOOR, magnitude, stft


def some_sound() -> torch.Tensor:
    """Two seconds of decaying tones over noise, (1, N)."""
    torch.manual_seed(0)
    times_s = torch.arange(2 * RATE_HZ) / RATE_HZ
    tones = sum(torch.sin(2 * torch.pi * hertz * times_s) for hertz in (310.0, 1240.0, 2900.0))
    return (0.1 * tones * torch.exp(-4 * (times_s % 0.5)) + 0.01 * torch.randn(len(times_s)))[None]


def test_ten_seconds_have_400_frames_of_128_bands():
    assert FRAME_RATE_HZ == 40.0
    levels = PaperMel()(torch.zeros(2, 10 * RATE_HZ))
    assert levels.shape == (2, 400, BANDS)
    torch.testing.assert_close(levels, torch.full_like(levels, LOG_FLOOR).log(), atol=0.01, rtol=0)


def test_a_tone_is_loudest_in_its_band():
    mel = PaperMel()
    times_s = torch.arange(RATE_HZ) / RATE_HZ
    bins_hz = torch.linspace(0, RATE_HZ / 2, len(mel.filters))
    for hertz in (200.0, 900.0, 3000.0):
        levels = mel(torch.sin(2 * torch.pi * hertz * times_s)[None])[0, 5:-5]
        band = int(levels.mean(0).argmax())
        assert abs(float(bins_hz[mel.filters[:, band].argmax()]) - hertz) < 60


def test_inverted_magnitudes_are_non_negative_and_have_the_levels():
    mel, sound = PaperMel(), some_sound()
    levels = mel(sound)
    magnitudes = mel.magnitudes(levels)
    assert magnitudes.shape == (1, sound.shape[1] // HOP_SAMPLES, len(mel.filters))
    assert (magnitudes >= 0).all()
    torch.testing.assert_close(
        (magnitudes @ mel.filters + LOG_FLOOR).log(), levels, atol=0.02, rtol=0
    )


def test_inversion_finds_magnitudes_where_the_bands_determine_them():
    """The bands of one column of magnitudes that is smooth over the bins."""
    mel = PaperMel()
    bins = torch.arange(len(mel.filters), dtype=torch.float32)
    smooth = 1 + 0.5 * torch.cos(2 * torch.pi * bins / 80)
    found = mel.magnitudes((smooth @ mel.filters + LOG_FLOOR).log()[None, None])[0, 0]
    inner = slice(40, 190)  # bins that two or more wide bands cover
    torch.testing.assert_close(found[inner], smooth[inner], atol=0.05, rtol=0)


def test_levels_of_the_spectrum_are_those_of_its_magnitudes():
    mel, sound = PaperMel(), some_sound()
    magnitudes = magnitude(stft(sound, window_samples=400, hop_samples=200))
    expected = (magnitudes @ mel.filters + LOG_FLOOR).log()
    torch.testing.assert_close(mel(sound), expected)
