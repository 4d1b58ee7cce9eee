"""Measure how the sounds of a clip differ between material labels: decay time and brightness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metrics.synchrony import detect_onsets
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.judges.interface import MaterialJudge

HOP_S = 0.005
CENTROID_S = 0.15  # after an onset
DECAY_DB = 20


def measure_materials(
    model: str, clips: Sequence[Path], *, guidance: float, judge: MaterialJudge | None
) -> dict[str, Any]:
    """Generate sound for each clip and material, and describe what follows the onsets.

    Returns:
        "clips": file names; "materials": label -> "fall_20db_s" (mean time in which the sound
        falls by 20 dB, at most to the next onset), "centroid_hz" (mean spectral centroid of the
        150 ms after an onset) and, with a judge, "recognised" (fraction of the clips with an event
        whose sound is classified as the label).
    """
    flow = FoleyFlow.from_pretrained(model)
    values: dict[str, list[tuple[float, float]]] = defaultdict(list)
    classified: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        for material in (None, *flow.materials):
            generated = flow.generate(clip, material=material, guidance=guidance)
            values[material or "auto"].append(
                decay_and_centroid(generated.waveform, generated.sample_rate_hz)
            )
            if judge is not None and material and generated.cues.enabled:
                classified[material].append(judge.material(generated.waveform))
    table = {
        name: {
            "fall_20db_s": round(float(np.mean([decay_s for decay_s, _ in each])), 4),
            "centroid_hz": round(float(np.mean([centroid_hz for _, centroid_hz in each]))),
        }
        for name, each in values.items()
    }
    for name, found in classified.items():
        table[name]["recognised"] = round(found.count(name) / len(found), 3)
    return {"clips": [clip.name for clip in clips], "materials": table}


def decay_and_centroid(sound: NDArray[np.float32], rate_hz: int) -> tuple[float, float]:
    """Mean decay time (s) and mean centroid (Hz) after the onsets of a sound; 0 without any."""
    hop = int(HOP_S * rate_hz)
    levels = np.sqrt(np.square(sound[: len(sound) // hop * hop]).reshape(-1, hop).mean(1)) + 1e-7
    onsets = detect_onsets(sound, rate_hz).times_s
    ends = [*onsets[1:], len(sound) / rate_hz][: len(onsets)]
    decays_s, centroids_hz = [], []
    for start_s, end_s in zip(onsets, ends, strict=True):
        stretch = 20 * np.log10(levels[int(start_s / HOP_S) : max(2, int(end_s / HOP_S))])
        if len(stretch) < 3:
            continue
        peak = int(stretch[:8].argmax())
        below = np.flatnonzero(stretch[peak:] < stretch[peak] - DECAY_DB)
        decays_s.append((int(below[0]) if len(below) else len(stretch) - peak) * HOP_S)
        piece = sound[int(start_s * rate_hz) :][: int(CENTROID_S * rate_hz)]
        power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
        hertz = np.fft.rfftfreq(len(piece), 1 / rate_hz)
        centroids_hz.append(float((power * hertz).sum() / max(power.sum(), 1e-20)))
    if not decays_s:
        return 0.0, 0.0
    return float(np.mean(decays_s)), float(np.mean(centroids_hz))
