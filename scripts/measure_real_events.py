"""Measures the aligner alone on recordings: the events it finds against the onsets of their sound.

    python scripts/measure_real_events.py $(python scripts/list_clips.py CLIPS) [--model FOLDER]

What a generator would get that follows the events exactly and adds nothing. Scores are those of
`foleyflow evaluate`: F1 within 50 and 100 ms, shuffled pairs, gain, and every pair at the lag that
suits it best. At that lag, which is the recording's own and no fault of the aligner's: how much
of what is found is an onset (precision), how many onsets are found (recall), and recall by the
time to the nearest other onset. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_covering
from foleyflow.evaluation.metrics.synchrony import ClipOnsets, compare, detect_onsets, onset_score
from foleyflow.event_peaks import find_event_peaks
from foleyflow.inference.latent_generation import (
    EVENT_THRESHOLD,
    FeatureStream,
    Stopwatch,
    WindowPlan,
    guided_windows,
)
from foleyflow.inference.pipeline import shown_frames
from foleyflow.media.probe import probe
from foleyflow.media.waveform import read_waveform
from foleyflow.pretrained import load_aligner

WINDOW_S = 0.05
GAPS_S = (0.0, 0.1, 0.15, 0.25, 0.5, np.inf)


@torch.inference_mode()
def probability(aligner: Alignment, path: Path) -> tuple[NDArray[np.float32], float]:
    """The onset probability at a whole clip's latent frames, (L,), and the clip's duration."""
    info, config, plan = probe(path), aligner.config, WindowPlan()
    watch = Stopwatch({})
    stream = FeatureStream(aligner, shown_frames(info, aligner), watch)
    cuts = plan.cut(max(1, count_covering(info.duration_s, 1 / config.segment_s)))
    parts: list[NDArray[np.float32]] = []
    for _, _, kept, guide in guided_windows(aligner, stream, cuts, watch, lambda end: None):
        known = plan.context if parts else 0
        inside = slice(known * config.latents_per_segment, kept * config.latents_per_segment)
        parts.append(guide.onsets[0].float().numpy()[inside])
    return np.concatenate(parts), info.duration_s


def gap_s(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time from each onset to the nearest other one, (K,) seconds."""
    gaps = np.concatenate([[np.inf], np.diff(times_s), [np.inf]])
    return np.minimum(gaps[:-1], gaps[1:])


def found(onsets_s: NDArray[np.float64], events_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which onsets have an event of their own within the window, (K,)."""
    import mir_eval

    hit = np.zeros(len(onsets_s), bool)
    if len(events_s):
        hit[[k for k, _ in mir_eval.util.match_events(onsets_s, events_s, WINDOW_S)]] = True
    return hit


def main() -> None:
    """Parses the arguments, looks, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, default=Path("foleyflow/assets/model"))
    parser.add_argument("--threshold", type=float, default=EVENT_THRESHOLD)
    arguments = parser.parse_args()
    aligner = load_aligner(arguments.model).eval()
    true, made = [], []
    for path in arguments.clips:
        curve, duration_s = probability(aligner, path)
        events_s = find_event_peaks(
            curve, rate_hz=aligner.config.latent_rate_hz, threshold=arguments.threshold
        )
        sound = read_waveform(path)
        samples = sound.mono()
        onsets_s = detect_onsets(samples, sound.rate_hz).times_s
        made.append(ClipOnsets(times_s=events_s, duration_s=duration_s))
        true.append(ClipOnsets(times_s=onsets_s, duration_s=len(samples) / sound.rate_hz))
    scores = compare(true, made)
    clips, gaps, hits = {}, [], []
    for path, reference, events, lag_s in zip(
        arguments.clips, true, made, scores.lag_free.lags_s, strict=True
    ):
        moved_s = events.times_s - lag_s
        moved_s = moved_s[moved_s >= 0]
        score = onset_score(reference.times_s, moved_s, WINDOW_S)
        clips[path.stem] = {
            "onsets": len(reference.times_s),
            "events": len(events.times_s),
            "lag_ms": round(1000 * float(lag_s)),
            "precision": round(score.precision, 2),
            "recall": round(score.recall, 2),
        }
        gaps.append(gap_s(reference.times_s))
        hits.append(found(reference.times_s, moved_s))
    gap, hit = np.concatenate(gaps), np.concatenate(hits)
    lines = {
        **{f"within {round(1000 * line.window_s)} ms": line for line in scores.windows},
        "at the best lags": scores.lag_free,
    }
    result = {
        name: {
            part: asdict(value) if (value := getattr(line, part)) else None
            for part in ("f1", "shuffled_f1", "gain")
        }
        for name, line in lines.items()
    } | {
        "median_lag_s": scores.median_lag_s,
        "precision": round(float(hit.sum() / max(1, scores.generated_onsets)), 3),
        "recall": round(float(hit.mean()), 3),
        "recall_by_gap_s": {
            f"{low} to {high}": [int(inside.sum()), round(float(hit[inside].mean()), 2)]
            for low, high in pairwise(GAPS_S)
            if (inside := (gap >= low) & (gap < high)).any()
        },
        "clips": clips,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
