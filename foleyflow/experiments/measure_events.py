"""Measure the events that an aligner finds, in simulated clips and in real recordings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_covering
from foleyflow.data.clip_types import Clip
from foleyflow.data.clips import SimulatedClips
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.evaluation.metrics.synchrony import (
    ClipOnsets,
    clip_onsets,
    compare,
    onset_f1,
    onset_score,
)
from foleyflow.evaluation.metrics.synchrony.comparison import Synchrony
from foleyflow.evaluation.metrics.synchrony.matching import matched_references
from foleyflow.event_peaks import EVENT_THRESHOLD, find_event_peaks
from foleyflow.experiments.measure_aligner import WINDOW_S
from foleyflow.features.codec_latents import audible_events
from foleyflow.inference.feature_stream import FeatureStream, window_conditions
from foleyflow.inference.video_frames import frames_for_encoder
from foleyflow.inference.windows import WindowPlan
from foleyflow.media.probe import probe
from foleyflow.media.waveform import read_waveform
from foleyflow.pretrained import aligner_segments, load_aligner
from foleyflow.system.stopwatch import Stopwatch

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
GAPS_S = (0.0, 0.1, 0.15, 0.25, 0.5, np.inf)


def measure_events(model: Path, data: Path, *, split: str, clips: int) -> dict[str, Any]:
    """F1 of events in the first window of simulated clips, by threshold and kind of scene.

    The events found are compared with the exact audible events, and with the onsets detected in
    the true sound, which a generator that follows the exact events would reach. The default
    threshold of `generate` was chosen on validation clips by these figures.

    Returns:
        "exact_events" and "onsets_of_true_sound": threshold -> F1, mean over clips; "by_kind":
        the latter for each kind; "clips": number of clips of each kind.
    """
    aligner = load_aligner(model)
    source = SimulatedClips(data, split)
    segments = aligner_segments(model) or WindowPlan.length
    end_s = segments * aligner.config.segment_s
    exact: dict[float, list[float]] = defaultdict(list)
    detected: dict[float, list[float]] = defaultdict(list)
    by_kind: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for index in range(min(clips, len(source))):
        clip = source.load(index)
        probability = _probability_of_window(aligner, clip, segments)
        events = audible_events(clip.labels)
        onsets = clip_onsets(clip.waveform).times_s
        events, onsets = (times_s[times_s < end_s] for times_s in (events, onsets))
        for threshold in THRESHOLDS:
            found = find_event_peaks(
                probability, rate_hz=aligner.config.latent_rate_hz, threshold=threshold
            )
            if len(events):
                exact[threshold].append(onset_f1(events, found, WINDOW_S))
            if len(onsets):
                score = onset_f1(onsets, found, WINDOW_S)
                detected[threshold].append(score)
                by_kind[clip.labels.kind][threshold].append(score)
    return {
        "exact_events": _means(exact),
        "onsets_of_true_sound": _means(detected),
        "by_kind": {kind: _means(scores) for kind, scores in sorted(by_kind.items())},
        "clips": {kind: len(scores[THRESHOLDS[0]]) for kind, scores in sorted(by_kind.items())},
    }


def measure_real_events(
    model: Path, clips: Sequence[Path], *, threshold: float | None
) -> dict[str, Any]:
    """Compare the events that an aligner finds in recordings with the onsets of their sound.

    This is an upper bound for a generator that follows the events exactly and adds nothing. The
    constant lag between sound and video of a recording is no fault of the aligner, so precision
    and recall are those at the best lag of each clip. The threshold of the event probability is
    that of `generate` by default.

    Returns:
        the scores of `foleyflow evaluate` at each tolerance and at the best lags; "median_lag_s";
        "precision" (fraction of events that are onsets), "recall" (fraction of onsets that are
        found) and "recall_by_gap_s" (by the time to the nearest other onset); "clips".
    """
    aligner = load_aligner(model)
    plan = WindowPlan.of_length(aligner_segments(model) or WindowPlan.length)
    true = [clip_onsets(read_waveform(path)) for path in clips]
    if threshold is None:
        threshold = EVENT_THRESHOLD
    found = [events_of_file(aligner, path, plan, threshold) for path in clips]
    return event_figures([path.stem for path in clips], true, found)


def event_figures(
    names: Sequence[str], true: Sequence[ClipOnsets], found: Sequence[ClipOnsets]
) -> dict[str, Any]:
    """Figures of found events against true onsets; see `measure_real_events`."""
    scores = compare(true, found)
    # Precision and recall at the best lag of each clip
    by_clip, gaps, matched = {}, [], []
    for name, reference, events, lag_s in zip(
        names, true, found, scores.lag_free.lags_s, strict=True
    ):
        shifted_s = events.times_s - lag_s
        shifted_s = shifted_s[shifted_s >= 0]
        score = onset_score(reference.times_s, shifted_s, WINDOW_S)
        by_clip[name] = {
            "onsets": len(reference.times_s),
            "events": len(events.times_s),
            "lag_ms": round(1000 * float(lag_s)),
            "precision": round(score.precision, 2),
            "recall": round(score.recall, 2),
        }
        gaps.append(_gaps_s(reference.times_s))
        matched.append(matched_references(reference.times_s, shifted_s, WINDOW_S))
    gap_s, hit = np.concatenate(gaps), np.concatenate(matched)
    return {
        **synchrony_figures(scores),
        "precision": round(float(hit.sum() / max(1, scores.generated_onsets)), 3),
        "recall": round(float(hit.mean()), 3) if len(hit) else None,
        "recall_by_gap_s": {
            f"{low} to {high}": [int(inside.sum()), round(float(hit[inside].mean()), 2)]
            for low, high in pairwise(GAPS_S)
            if (inside := (gap_s >= low) & (gap_s < high)).any()
        },
        "clips": by_clip,
    }


def synchrony_figures(scores: Synchrony) -> dict[str, Any]:
    """F1, shuffled F1 and gain at each tolerance and at the best lags, and "median_lag_s"."""
    return {
        **{
            f"within {round(1000 * score.window_s)} ms": score.intervals_json()
            for score in scores.windows
        },
        "at the best lags": scores.lag_free.intervals_json(),
        "median_lag_s": scores.median_lag_s,
    }


@torch.inference_mode()
def _probability_of_window(aligner: Alignment, clip: Clip, segments: int) -> NDArray[np.float32]:
    """The onset probability of each latent frame of a clip's first window, (L,)."""
    half = cast(MotionEncoder, aligner.encoder).config.window // 2
    inside = int(np.searchsorted(clip.frames.times_s, segments * aligner.config.segment_s))
    indices = np.clip(np.arange(-half, inside + half), 0, len(clip.frames) - 1)
    pixels = torch.from_numpy(clip.frames.pixels[indices]).permute(0, 3, 1, 2)[None]
    times_s = torch.from_numpy(clip.frames.times_s[:inside].astype(np.float32))[None]
    condition = aligner.flow_condition(aligner.encode_video(pixels), times_s, segments=segments)
    return condition.onsets[0].numpy()


@torch.inference_mode()
def events_of_file(
    aligner: Alignment, path: Path, plan: WindowPlan, threshold: float
) -> ClipOnsets:
    """The events that an aligner finds in a video file."""
    info, config, stopwatch = probe(path), aligner.config, Stopwatch()
    stream = FeatureStream(aligner, frames_for_encoder(info, aligner), stopwatch)
    cuts = plan.cut(max(1, count_covering(info.duration_s, 1 / config.segment_s)))
    parts: list[NDArray[np.float32]] = []
    for _, _, kept, condition in window_conditions(
        aligner, stream, cuts, stopwatch, lambda end: None
    ):
        known = plan.context if parts else 0
        inside = slice(known * config.latents_per_segment, kept * config.latents_per_segment)
        parts.append(condition.onsets[0].float().numpy()[inside])
    events_s = find_event_peaks(
        np.concatenate(parts), rate_hz=config.latent_rate_hz, threshold=threshold
    )
    return ClipOnsets(times_s=events_s, duration_s=info.duration_s)


def _gaps_s(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time from each onset to the nearest other one, (K,) seconds."""
    gaps = np.concatenate([[np.inf], np.diff(times_s), [np.inf]])
    return np.minimum(gaps[:-1], gaps[1:])


def _means(scores: Mapping[float, list[float]]) -> dict[str, float]:
    return {str(threshold): round(float(np.mean(each)), 3) for threshold, each in scores.items()}
