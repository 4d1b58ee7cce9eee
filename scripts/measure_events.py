"""Measures the aligner alone: events it finds in simulated clips, by threshold and kind of scene.

    python scripts/measure_events.py data/sim [--split validation] [--model FOLDER] [--clips 128]

Every clip's first window is looked at. F1 at ±50 ms, mean over clips: against the exact events
that should be heard, and against the onsets found in the true sound, which is what a generator that
follows the events exactly would get. Prints one JSON object; the default threshold of `generate`
was chosen by it on validation clips.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment
from foleyflow.data.clips import Clip, SimulatedClips
from foleyflow.evaluation.metrics.synchrony import detect_onsets, onset_f1
from foleyflow.event_peaks import find_event_peaks
from foleyflow.features.codec_latents import audible_events
from foleyflow.inference.latent_generation import WindowPlan
from foleyflow.pretrained import load_aligner

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
WINDOW_S = 0.05


@torch.inference_mode()
def probability(aligner: Alignment, clip: Clip, segments: int) -> NDArray[np.float32]:
    """The onset probability of each latent frame of a clip's first window, (L,)."""
    half = aligner.encoder.config.window // 2
    inside = int(np.searchsorted(clip.frames.times_s, segments * aligner.config.segment_s))
    shown = np.clip(np.arange(-half, inside + half), 0, len(clip.frames) - 1)
    pixels = torch.from_numpy(clip.frames.pixels[shown]).permute(0, 3, 1, 2)[None]
    times_s = torch.from_numpy(clip.frames.times_s[:inside].astype(np.float32))[None]
    guide = aligner.guide(aligner.watch(pixels, times_s), times_s, segments=segments)
    return guide.onsets[0].numpy()


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--model", type=Path, default=Path("foleyflow/assets/model"))
    parser.add_argument("--clips", type=int, default=10_000)
    arguments = parser.parse_args()
    aligner = load_aligner(arguments.model)
    clips = SimulatedClips(arguments.data, arguments.split)
    segments = WindowPlan().length
    end_s = segments * aligner.config.segment_s
    exact: dict[float, list[float]] = defaultdict(list)
    heard: dict[float, list[float]] = defaultdict(list)
    by_kind: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for index in range(min(arguments.clips, len(clips))):
        clip = clips.load(index)
        curve = probability(aligner, clip, segments)
        events, onsets = (
            times_s[times_s < end_s]
            for times_s in (
                audible_events(clip.labels),
                detect_onsets(clip.waveform.mono(), clip.waveform.rate_hz).times_s,
            )
        )
        for threshold in THRESHOLDS:
            found = find_event_peaks(
                curve, rate_hz=aligner.config.latent_rate_hz, threshold=threshold
            )
            if len(events):
                exact[threshold].append(onset_f1(events, found, WINDOW_S))
            if len(onsets):
                score = onset_f1(onsets, found, WINDOW_S)
                heard[threshold].append(score)
                by_kind[clip.labels.kind][threshold].append(score)
    result = {
        "exact_events": {t: round(float(np.mean(v)), 3) for t, v in exact.items()},
        "onsets_of_true_sound": {t: round(float(np.mean(v)), 3) for t, v in heard.items()},
        "by_kind": {
            kind: {t: round(float(np.mean(v)), 3) for t, v in scores.items()}
            for kind, scores in sorted(by_kind.items())
        },
        "clips": {kind: len(scores[THRESHOLDS[0]]) for kind, scores in sorted(by_kind.items())},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
