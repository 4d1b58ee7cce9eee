"""Measures how sounds of one clip differ between material labels: ring time and brightness.

    python scripts/measure_materials.py CLIP... [--model DIR] [--guidance 2] [--judge FOLDER]

For each clip and material: the mean time in which the sound after a found event falls by 20 dB
(at most to the next event), and the spectral centroid of the 150 ms after it. With a judge, a
folder that `foleyflow train judge --recipe tagger` made, also in which share of the clips with an
event the material that was asked for is heard. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow import FoleyFlow
from foleyflow.evaluation.metrics.synchrony import detect_onsets
from foleyflow.judges.adapters import load_judge

HOP_S = 0.005


def describe(sound: NDArray[np.float32], rate_hz: int) -> tuple[float, float]:
    """Mean fall time (s, by 20 dB) and mean centroid (Hz) after the onsets of a sound."""
    hop = int(HOP_S * rate_hz)
    levels = np.sqrt(np.square(sound[: len(sound) // hop * hop]).reshape(-1, hop).mean(1)) + 1e-7
    onsets = detect_onsets(sound, rate_hz).times_s
    ends = [*onsets[1:], len(sound) / rate_hz][: len(onsets)]
    falls, centroids = [], []
    for start_s, end_s in zip(onsets, ends, strict=True):
        stretch = 20 * np.log10(levels[int(start_s / HOP_S) : max(2, int(end_s / HOP_S))])
        if len(stretch) < 3:
            continue
        peak = int(stretch[:8].argmax())
        below = np.flatnonzero(stretch[peak:] < stretch[peak] - 20)
        falls.append((int(below[0]) if len(below) else len(stretch) - peak) * HOP_S)
        piece = sound[int(start_s * rate_hz) :][: int(0.15 * rate_hz)]
        power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
        hertz = np.fft.rfftfreq(len(piece), 1 / rate_hz)
        centroids.append(float((power * hertz).sum() / max(power.sum(), 1e-20)))
    return (float(np.mean(falls)), float(np.mean(centroids))) if falls else (0.0, 0.0)


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default=None)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--judge", type=Path)
    arguments = parser.parse_args()
    model = FoleyFlow.from_pretrained(arguments.model)
    judge = None if arguments.judge is None else load_judge("tagger-sim", arguments.judge)
    rows: dict[str, list[tuple[float, float]]] = {}
    heard: dict[str, list[str]] = {}
    for clip in arguments.clips:
        for material in (None, *model.materials):
            made = model.generate(clip, material=material, guidance=arguments.guidance)
            rows.setdefault(material or "auto", []).append(
                describe(made.waveform, made.sample_rate_hz)
            )
            if judge is not None and material and made.events:
                heard.setdefault(material, []).append(judge.material(made.waveform))
    table = {
        name: {
            "fall_20db_s": round(float(np.mean([fall for fall, _ in values])), 4),
            "centroid_hz": round(float(np.mean([centroid for _, centroid in values]))),
        }
        for name, values in rows.items()
    }
    for name, answers in heard.items():
        table[name]["heard"] = round(answers.count(name) / len(answers), 3)
    print(json.dumps({"clips": [c.name for c in arguments.clips], "materials": table}, indent=1))


if __name__ == "__main__":
    main()
