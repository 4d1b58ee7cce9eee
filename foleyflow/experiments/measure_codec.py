"""Measure a codec on simulated test sounds: onsets, spectra, materials, tones and pre-echo."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.interface import SoundCodec
from foleyflow.data.clips import SimulatedClips
from foleyflow.evaluation.metrics.spectral import log_spectral_distance, paper_griffin_lim
from foleyflow.evaluation.metrics.synchrony import detect_onsets, onset_f1
from foleyflow.experiments.measure_aligner import WINDOW_S
from foleyflow.judges.interface import MaterialJudge
from foleyflow.pretrained import load_codec

NARROW_WINDOW_S = 0.01
BASELINE_EVERY = 8  # clips
TONES_HZ = (220, 500, 1000, 2000, 4000, 8000)
TONE_WINDOW = 8192  # samples; bins of 6 Hz
PRE_ECHO_HZ = (100, 200, 400, 1000)
PRE_ECHO_S, GUARD_S = 0.04, 0.002  # before an onset, without the last moment


def measure_codec(
    model: Path, data: Path, *, clips: int, judge: MaterialJudge | None
) -> dict[str, Any]:
    """Measure the reconstruction of sounds, the energy kept of tones, and pre-echo.

    The baseline is Griffin-Lim from the paper's 128 x 128 spectrogram (8 kHz). With a judge, the
    material of original and decoded sounds is classified; "by_material" counts the sounds of each
    material, those recognised in the original and those recognised after decoding. At most `clips`
    test clips are used.
    """
    codec = load_codec(model)
    source = SimulatedClips(data, "test")
    rate_hz, hop = codec.config.rate_hz, codec.config.hop_samples
    scores: dict[str, list[float]] = defaultdict(list)
    baseline: list[float] = []
    same_clips: list[float] = []
    by_material: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for index in range(min(clips, len(source))):
        labels, sound = source.labels(index), source.load_sound(index).mono()
        sound = sound[: len(sound) // hop * hop]
        with torch.inference_mode():
            decoded = codec.decode(codec.encode(torch.from_numpy(sound)[None]))[0].numpy()
        # Onsets
        true_s, decoded_s = (detect_onsets(each, rate_hz).times_s for each in (sound, decoded))
        if len(true_s):
            scores["f1_50ms"].append(onset_f1(true_s, decoded_s, WINDOW_S))
            scores["f1_10ms"].append(onset_f1(true_s, decoded_s, NARROW_WINDOW_S))
        # Spectrum, also of the baseline
        distance = log_spectral_distance(sound, decoded)
        scores["distance_db"].append(distance)
        if index % BASELINE_EVERY == 0:
            inverted = paper_griffin_lim(sound, rate_hz)
            baseline.append(log_spectral_distance(sound, inverted[: len(sound)]))
            same_clips.append(distance)
        # Material
        if judge is not None and labels.material is not None:
            counts = by_material[labels.material]
            counts[0] += 1
            for place, (name, each) in enumerate((("original", sound), ("decoded", decoded)), 1):
                correct = judge.material(each) == labels.material
                scores[f"material_recognised_{name}"].append(float(correct))
                counts[place] += correct
    result: dict[str, Any] = {name: round(float(np.mean(each)), 4) for name, each in scores.items()}
    return result | {
        "clips": len(scores["distance_db"]),
        "clips_with_onsets": len(scores["f1_50ms"]),
        "griffin_lim_distance_db": round(float(np.mean(baseline)), 4),
        "codec_distance_on_these_db": round(float(np.mean(same_clips)), 4),
        "griffin_lim_clips": len(baseline),
        "by_material": dict(sorted(by_material.items())),
        "tones_db": {str(hz): round(tone_energy_change_db(codec, hz), 1) for hz in TONES_HZ},
        "pre_echo_db": {str(hz): round(pre_echo_db(codec, hz), 1) for hz in PRE_ECHO_HZ},
    }


@torch.inference_mode()
def tone_energy_change_db(codec: SoundCodec, frequency_hz: float) -> float:
    """Energy within 30 Hz of a tone that decays by 60 dB in 1.4 s, decoded relative to true."""
    rate_hz, begin = codec.config.rate_hz, codec.config.rate_hz // 2
    true = torch.from_numpy(_decaying_tone(frequency_hz, rate_hz, begin=begin))
    decoded = codec.decode(codec.encode(true.float()[None]))[0]
    after = slice(begin + rate_hz // 20, begin + rate_hz // 20 + TONE_WINDOW)
    near = np.abs(np.fft.rfftfreq(TONE_WINDOW, 1 / rate_hz) - frequency_hz) < 30
    energies = [
        np.square(np.abs(np.fft.rfft(each[after].numpy() * np.hanning(TONE_WINDOW)))[near]).sum()
        for each in (decoded, true)
    ]
    return float(10 * np.log10(energies[0] / energies[1]))


@torch.inference_mode()
def pre_echo_db(codec: SoundCodec, frequency_hz: float) -> float:
    """Highest energy that decoding puts before a tone that starts suddenly, in dB.

    Relative to the energy of as long a time after its start, over four starts in a latent frame.
    """
    rate_hz, hop = codec.config.rate_hz, codec.config.hop_samples
    count, guard = round(PRE_ECHO_S * rate_hz), round(GUARD_S * rate_hz)
    found = []
    for quarter in range(4):
        begin = rate_hz // 2 + quarter * hop // 4
        sound = torch.from_numpy(_decaying_tone(frequency_hz, rate_hz, begin=begin)).float()
        decoded = codec.decode(codec.encode(sound[None]))[0].numpy()
        before = np.square(decoded[begin - count : begin - guard]).sum()
        found.append(before / np.square(decoded[begin : begin + count]).sum())
    return float(10 * np.log10(max(found) + 1e-12))


def _decaying_tone(frequency_hz: float, rate_hz: int, *, begin: int) -> NDArray[np.float64]:
    """Two seconds of faint noise with a tone of one second that starts at a sample."""
    times_s = np.arange(rate_hz) / rate_hz
    sound = 1e-4 * np.random.default_rng(0).standard_normal(2 * rate_hz)
    tone = 0.5 * np.exp(-times_s / 0.2) * np.sin(2 * np.pi * frequency_hz * times_s)
    sound[begin : begin + rate_hz] += tone[: len(sound) - begin]
    return sound
