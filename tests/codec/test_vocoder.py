"""Vocoders of the paper's spectrogram: Griffin-Lim and the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foleyflow.codec.paper_mel import BANDS, HOP_SAMPLES, RATE_HZ, PaperMel
from foleyflow.codec.vocoder import GriffinLim, NeuralVocoder, VocoderConfig
from foleyflow.errors import ConfigError
from foleyflow.training.tasks.vocoder import VocoderLossConfig, VocoderTask

SMALL = VocoderConfig(width=16, blocks=1, fine_width=16, fine_blocks=1)


def tone(hertz: float = 1000.0, seconds: float = 2.0) -> torch.Tensor:
    """A tone that begins in the middle, (1, N)."""
    times_s = torch.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = 0.3 * torch.sin(2 * torch.pi * hertz * times_s)
    return torch.where(times_s < seconds / 2, 0.0, sound)[None]


@pytest.mark.parametrize("vocoder", [GriffinLim(), NeuralVocoder(SMALL)], ids=["gl", "neural"])
def test_vocoders_decode_25_ms_per_frame(vocoder):
    levels = PaperMel()(torch.cat([tone(), tone(500.0)]))
    with torch.no_grad():
        audio = vocoder(levels)
        again = vocoder(levels)
    assert audio.shape == (2, levels.shape[1] * HOP_SAMPLES) and audio.dtype == torch.float32
    assert audio.isfinite().all()
    torch.testing.assert_close(audio, again, atol=0, rtol=0)


def test_griffin_lim_restores_levels_and_the_onset():
    mel, sound = PaperMel(), tone()
    audio = GriffinLim()(mel(sound))
    levels, found = mel(sound)[:, 42:-2], mel(audio)[:, 42:-2]
    audible = levels > levels.max() - 5.0  # 43 dB below the strongest band
    assert (found - levels).abs()[audible].mean() < 0.2
    energy = audio[0].square().cumsum(0)
    onset_s = float((energy < 0.01 * energy[-1]).sum()) / RATE_HZ
    assert abs(onset_s - 1.0) < 0.05
    spectrum = np.abs(np.fft.rfft(audio[0, RATE_HZ:].numpy()))
    assert abs(float(spectrum.argmax()) - 1000.0) < 15  # bins of 1 Hz


def test_griffin_lim_keeps_known_samples_and_continues_them():
    sound, mel = tone(700.0), PaperMel()
    known = sound[:, : 3 * RATE_HZ // 2]
    audio = GriffinLim()(mel(sound), known)
    torch.testing.assert_close(audio[:, : known.shape[1]], known, atol=0, rtol=0)
    after = slice(known.shape[1], known.shape[1] + 400)
    similarity = torch.nn.functional.cosine_similarity(audio[0, after], sound[0, after], dim=0)
    assert similarity > 0.8


def test_a_frame_depends_on_the_context_frames_only():
    torch.manual_seed(0)
    vocoder = NeuralVocoder(SMALL)
    levels = torch.randn(1, 120, BANDS) - 4
    changed = levels.clone()
    changed[:, 60] += 1.0
    with torch.no_grad():
        difference = (vocoder(levels) - vocoder(changed))[0].abs()
    frames = (difference.unflatten(0, (-1, HOP_SAMPLES)).amax(1) > 0).nonzero()[:, 0]
    assert 60 - vocoder.context_frames <= frames.min() <= 60
    assert 60 <= frames.max() <= 60 + vocoder.context_frames


def test_an_untrained_network_has_the_levels_of_its_bands():
    """Its magnitudes start from the mel bands, so that noise comes out about as loud."""
    torch.manual_seed(0)
    mel, sound = PaperMel(), 0.1 * torch.randn(1, 4 * RATE_HZ)
    levels = mel(sound)
    with torch.no_grad():
        decoded = NeuralVocoder(SMALL)(levels)
    assert abs(float((mel(decoded) - levels).mean())) < 1.5


def test_spectra_must_divide_a_frame():
    with pytest.raises(ConfigError, match="spectra_per_frame=3"):
        VocoderConfig(spectra_per_frame=3)


def test_training_lowers_every_distance():
    """A few steps on tones of one frequency."""
    torch.manual_seed(0)
    sounds = (tone().numpy() * 32767).round().astype(np.int16).repeat(4, 0)
    losses = VocoderLossConfig(crop_s=1.0, level_noise=0.0)
    task = VocoderTask(NeuralVocoder(SMALL), losses, sounds=sounds, validation_sounds=sounds)
    vocoder = task.modules["vocoder"]
    optimiser = torch.optim.Adam(vocoder.parameters(), 3e-3)
    with torch.no_grad():
        before = task.validate(task.modules)
    rng = np.random.default_rng(0)
    for step in range(60):
        loss, _ = task.loss("vocoder", task.sample_batch(rng, 4), step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        after = task.validate(task.modules)
    assert all(after[name] < before[name] for name in before), (before, after)
    assert after["mel"] < 0.7 * before["mel"]
