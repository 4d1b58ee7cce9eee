"""Measures the codec on the simulated test sounds: onsets kept, spectral distance, the baseline.

    python scripts/measure_codec.py data/sim --model foleyflow/assets/model [--clips 320]
        [--judge foleyflow/assets/judges]

The baseline is Griffin-Lim from the paper's 128 x 128 spectrogram (8 kHz). With --judge the tagger
says in how many clips the material is still heard. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from foleyflow.codec.autoencoder import Codec
from foleyflow.data.clips import SimulatedClips
from foleyflow.evaluation.metrics.spectral import log_spectral_distance, paper_griffin_lim
from foleyflow.evaluation.metrics.synchrony import detect_onsets, onset_f1
from foleyflow.judges.adapters import load_judge
from foleyflow.pretrained import load_codec

BASELINE_EVERY = 8
TONES_HZ = (220, 500, 1000, 2000, 4000, 8000)
TONE_WINDOW = 8192  # samples; bins of 6 Hz


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=Path("foleyflow/assets/model"))
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--judge", type=Path, help="folder of the tagger, to hear materials by")
    arguments = parser.parse_args()
    codec = load_codec(arguments.model)
    clips = SimulatedClips(arguments.data, "test")
    rate_hz = codec.config.rate_hz
    judge = None if arguments.judge is None else load_judge("tagger-sim", arguments.judge)
    scores: dict[str, list[float]] = {"f1_50ms": [], "f1_10ms": [], "distance_db": []}
    baseline: list[float] = []
    same_clips: list[float] = []
    for index in range(min(arguments.clips, len(clips))):
        clip = clips.load(index)
        sound = clip.waveform.mono()
        sound = sound[: len(sound) // codec.config.hop_samples * codec.config.hop_samples]
        with torch.inference_mode():
            decoded = codec.decode(codec.encode(torch.from_numpy(sound)[None]))[0].numpy()
        true, got = (detect_onsets(s, rate_hz).times_s for s in (sound, decoded))
        if len(true):
            scores["f1_50ms"].append(onset_f1(true, got, 0.05))
            scores["f1_10ms"].append(onset_f1(true, got, 0.01))
        distance = log_spectral_distance(sound, decoded)
        scores["distance_db"].append(distance)
        if judge is not None and clip.labels.material is not None:
            for name, heard in (("original", sound), ("decoded", decoded)):
                right = float(judge.material(heard) == clip.labels.material)
                scores.setdefault(f"material_heard_{name}", []).append(right)
        if index % BASELINE_EVERY == 0:
            inverted = paper_griffin_lim(sound, rate_hz)
            baseline.append(log_spectral_distance(sound, inverted[: len(sound)]))
            same_clips.append(distance)
    result = {name: round(float(np.mean(values)), 4) for name, values in scores.items()}
    result |= {
        "clips": len(scores["distance_db"]),
        "clips_with_onsets": len(scores["f1_50ms"]),
        "griffin_lim_distance_db": round(float(np.mean(baseline)), 4),
        "codec_distance_on_these_db": round(float(np.mean(same_clips)), 4),
        "griffin_lim_clips": len(baseline),
    }
    result["tones_db"] = {str(hz): round(kept_of_a_tone_db(codec, hz), 1) for hz in TONES_HZ}
    print(json.dumps(result, indent=1))


@torch.inference_mode()
def kept_of_a_tone_db(codec: Codec, frequency_hz: float) -> float:
    """Energy within 30 Hz of a tone that falls by 60 dB in 1.4 s, decoded against true."""
    rate_hz, begin = codec.config.rate_hz, codec.config.rate_hz // 2
    times_s = np.arange(rate_hz) / rate_hz
    sound = 1e-4 * np.random.default_rng(0).standard_normal(2 * rate_hz)
    ring = 0.5 * np.exp(-times_s / 0.2) * np.sin(2 * np.pi * frequency_hz * times_s)
    sound[begin : begin + rate_hz] += ring
    true = torch.from_numpy(sound)
    decoded = codec.decode(codec.encode(true.float()[None]))[0]
    after = slice(begin + rate_hz // 20, begin + rate_hz // 20 + TONE_WINDOW)
    near = np.abs(np.fft.rfftfreq(TONE_WINDOW, 1 / rate_hz) - frequency_hz) < 30
    energies = [
        np.square(np.abs(np.fft.rfft(each[after].numpy() * np.hanning(TONE_WINDOW)))[near]).sum()
        for each in (decoded, true)
    ]
    return float(10 * np.log10(energies[0] / energies[1]))


if __name__ == "__main__":
    main()
