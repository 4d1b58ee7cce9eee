"""Measure a codec on simulated test sounds: onsets, spectral distance, and tones."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foleyflow.codec.autoencoder import Codec
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


def measure_codec(
    model: Path, data: Path, *, clips: int, judge: MaterialJudge | None
) -> dict[str, Any]:
    """Measure the reconstruction of sounds and the energy kept of tones.

    The baseline is Griffin-Lim from the paper's 128 x 128 spectrogram (8 kHz). With a judge, the
    material of original and decoded sounds is classified. At most `clips` test clips are used.
    """
    codec = load_codec(model)
    source = SimulatedClips(data, "test")
    rate_hz, hop = codec.config.rate_hz, codec.config.hop_samples
    scores: dict[str, list[float]] = defaultdict(list)
    baseline: list[float] = []
    same_clips: list[float] = []
    for index in range(min(clips, len(source))):
        clip = source.load(index)
        sound = clip.waveform.mono()
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
        if judge is not None and clip.labels.material is not None:
            for name, each in (("original", sound), ("decoded", decoded)):
                correct = float(judge.material(each) == clip.labels.material)
                scores[f"material_heard_{name}"].append(correct)
    result: dict[str, Any] = {name: round(float(np.mean(each)), 4) for name, each in scores.items()}
    return result | {
        "clips": len(scores["distance_db"]),
        "clips_with_onsets": len(scores["f1_50ms"]),
        "griffin_lim_distance_db": round(float(np.mean(baseline)), 4),
        "codec_distance_on_these_db": round(float(np.mean(same_clips)), 4),
        "griffin_lim_clips": len(baseline),
        "tones_db": {str(hz): round(tone_energy_change_db(codec, hz), 1) for hz in TONES_HZ},
    }


@torch.inference_mode()
def tone_energy_change_db(codec: Codec, frequency_hz: float) -> float:
    """Energy within 30 Hz of a tone that decays by 60 dB in 1.4 s, decoded relative to true."""
    rate_hz, begin = codec.config.rate_hz, codec.config.rate_hz // 2
    times_s = np.arange(rate_hz) / rate_hz
    sound = 1e-4 * np.random.default_rng(0).standard_normal(2 * rate_hz)
    tone = 0.5 * np.exp(-times_s / 0.2) * np.sin(2 * np.pi * frequency_hz * times_s)
    sound[begin : begin + rate_hz] += tone
    true = torch.from_numpy(sound)
    decoded = codec.decode(codec.encode(true.float()[None]))[0]
    after = slice(begin + rate_hz // 20, begin + rate_hz // 20 + TONE_WINDOW)
    near = np.abs(np.fft.rfftfreq(TONE_WINDOW, 1 / rate_hz) - frequency_hz) < 30
    energies = [
        np.square(np.abs(np.fft.rfft(each[after].numpy() * np.hanning(TONE_WINDOW)))[near]).sum()
        for each in (decoded, true)
    ]
    return float(10 * np.log10(energies[0] / energies[1]))
