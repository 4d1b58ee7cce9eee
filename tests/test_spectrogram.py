"""Framing on the clip's clock, the exact inverse, and closed forms of mel filters."""

from __future__ import annotations

import math

import pytest
import torch

from foleyflow.clock import centres_s
from foleyflow.spectrogram import (
    LOG_FLOOR,
    frame,
    istft,
    log_magnitude,
    magnitude,
    mel_filters,
    stft,
)

# Every (window, hop) that the project uses, and one with a window of four hops.
FRAMINGS = [(1920, 960), (1920, 480), (2400, 600), (960, 480), (960, 240), (480, 120), (240, 60)]
RATE_HZ = 48_000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("window", "hop"), FRAMINGS)
def test_istft_inverts_stft(window, hop):
    sound = noise(2, 9 * hop)
    spectrum = stft(sound, window_samples=window, hop_samples=hop)
    assert spectrum.shape == (2, 9, window // 2 + 1)
    back = istft(spectrum, window_samples=window, hop_samples=hop)
    torch.testing.assert_close(back, sound, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("window", "hop"), FRAMINGS)
def test_frame_centres_agree_with_the_clock(window, hop):
    count = 7
    for index, centre_s in enumerate(centres_s(count, RATE_HZ / hop)):
        sound = torch.zeros(1, count * hop)
        sound[0, round(centre_s * RATE_HZ)] = 1.0
        frames = frame(sound, window_samples=window, hop_samples=hop)[0]
        assert frames.shape == (count, window)
        # The middle of the window, where a Hann window is 1
        assert frames[index, window // 2] == 1.0
        energy = stft(sound, window_samples=window, hop_samples=hop)[0].abs().square().sum(-1)
        assert int(energy.argmax()) == index


def test_audio_of_a_fraction_of_a_hop_is_refused():
    with pytest.raises(ValueError, match="1001 samples: expected a multiple of 480"):
        frame(torch.zeros(1, 1001), window_samples=960, hop_samples=480)


@pytest.mark.parametrize("window", [961, 240])
def test_windows_that_can_not_be_centred_are_refused(window):
    with pytest.raises(ValueError, match=f"window of {window} samples: expected 480 plus an even"):
        frame(torch.zeros(1, 960), window_samples=window, hop_samples=480)


def test_magnitude_of_a_sinusoid():
    window, hop, amplitude, index = 960, 240, 0.3, 40
    time_s = torch.arange(4800, dtype=torch.float64) / RATE_HZ
    sine = amplitude * torch.sin(2 * math.pi * index * RATE_HZ / window * time_s)
    spectrum = stft(sine[None].float(), window_samples=window, hop_samples=hop)[0, 10]
    # Half the amplitude times the sum of the window, which is half its length
    assert float(spectrum[index].abs()) == pytest.approx(amplitude * window / 4, rel=1e-4)
    assert int(spectrum.abs().argmax()) == index


MEL_SETTINGS = [
    {"bands": 128, "window_samples": 1920, "rate_hz": 48_000, "low_hz": 30.0, "high_hz": 24_000.0},
    {"bands": 40, "window_samples": 480, "rate_hz": 48_000, "low_hz": 30.0, "high_hz": 24_000.0},
    {"bands": 64, "window_samples": 960, "rate_hz": 48_000, "low_hz": 50.0, "high_hz": 20_000.0},
    {"bands": 64, "window_samples": 320, "rate_hz": 16_000, "low_hz": 50.0, "high_hz": 8_000.0},
]


@pytest.mark.parametrize("settings", MEL_SETTINGS)
def test_no_mel_band_is_empty(settings):
    filters = mel_filters(**settings)
    assert filters.shape == (settings["window_samples"] // 2 + 1, settings["bands"])
    assert bool((filters.sum(0) > 0).all())
    assert float(filters.min()) >= 0 and float(filters.max()) <= 1


@pytest.mark.parametrize("settings", MEL_SETTINGS)
def test_mel_filters_are_triangles_on_the_htk_scale(settings):
    filters = mel_filters(**settings)
    low, high = (2595 * math.log10(1 + settings[k] / 700) for k in ("low_hz", "high_hz"))
    edges_mel = [low + (high - low) * k / (settings["bands"] + 1) for k in range(200)]
    edges_hz = [700 * (10 ** (mel / 2595) - 1) for mel in edges_mel[: settings["bands"] + 2]]
    bin_hz = settings["rate_hz"] / settings["window_samples"]
    for band in range(settings["bands"] // 2, settings["bands"]):
        left, centre, right = edges_hz[band : band + 3]
        for index in range(math.ceil(left / bin_hz), math.floor(right / bin_hz) + 1):
            hertz = index * bin_hz
            wanted = (hertz - left) / (centre - left)
            if hertz > centre:
                wanted = (right - hertz) / (right - centre)
            assert float(filters[index, band]) == pytest.approx(wanted, abs=2e-3)


def test_a_sinusoid_peaks_in_its_own_band():
    settings = MEL_SETTINGS[0]
    filters = mel_filters(**settings)
    low, high = (2595 * math.log10(1 + settings[k] / 700) for k in ("low_hz", "high_hz"))
    time_s = torch.arange(9600, dtype=torch.float64) / RATE_HZ
    for band in (60, 90, 127):
        mel = low + (high - low) * (band + 1) / (settings["bands"] + 1)
        sine = torch.sin(2 * math.pi * 700 * (10 ** (mel / 2595) - 1) * time_s)[None].float()
        spectrum = stft(sine, window_samples=1920, hop_samples=480)
        level = log_magnitude(spectrum, filters)[0, 10]
        assert int(level.argmax()) == band


def test_silence_is_at_the_floor():
    spectrum = stft(torch.zeros(1, 960), window_samples=960, hop_samples=480)
    floor = torch.full((1, 2, 481), math.log(LOG_FLOOR))
    torch.testing.assert_close(log_magnitude(spectrum), floor, atol=2e-3, rtol=0)


def test_magnitudes_agree_with_abs_and_have_gradients_at_zero():
    spectrum = torch.randn(3, 5, dtype=torch.complex64)
    torch.testing.assert_close(magnitude(spectrum), spectrum.abs())
    silent = torch.zeros(2, 4, dtype=torch.complex64, requires_grad=True)
    magnitude(silent).sum().backward()
    assert bool(torch.isfinite(torch.view_as_real(silent.grad)).all())
