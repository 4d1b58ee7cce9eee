"""Analysis of a video: the aligner's features window by window, and what it finds in them.

The analysis does not depend on cues that a user gives, so that a clip can be generated several
times, in parts or with other cues, after its video was read once. Features go to a temporary file;
memory grows by at most 4 kB per second of video.

Dimension letters: L latent frames, M materials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment, FlowCondition
from foleyflow.clock import count_covering
from foleyflow.event_peaks import SHORTEST_GAP_S, find_event_peaks
from foleyflow.inference.feature_stream import FeatureStream, window_conditions
from foleyflow.inference.given_frames import GivenFrames
from foleyflow.inference.motion import ColumnMotion
from foleyflow.inference.video_frames import frames_for_encoder
from foleyflow.inference.window_spool import AnalysedWindow, WindowSpool
from foleyflow.inference.windows import WindowPlan
from foleyflow.media import MediaInfo
from foleyflow.media.frame_source import FrameSource, decode_here
from foleyflow.parallel.threads import torch_threads
from foleyflow.system.allocator import release_freed_memory
from foleyflow.system.stopwatch import Stopwatch

LOWEST_PROBABILITY = 0.02  # of onsets that are candidates for cues
# Longer videos return freed memory to the system window by window, so that memory does not grow
# with their length. Shorter ones would only lose time.
RELEASE_AFTER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class HitCandidate:
    """A peak of the onset probability.

    Attributes:
        time_s: from the start of the clip.
        probability: of an onset, 0..1.
        level_db: predicted level; None if the aligner predicts no attributes.
        materials: (M,) probabilities; empty if the aligner predicts no attributes.
    """

    time_s: float
    probability: float
    level_db: float | None
    materials: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FrameCurves:
    """Predictions per latent frame of the complete clip.

    Attributes:
        onsets: (L,) float32 probability of an onset.
        friction: (L, 3) float32 probabilities of no friction, rolling and scraping; (0, 3) if the
            aligner predicts no attributes, as for the following ones.
        friction_levels_db: (L,) float32.
        materials: (L, M) float16 probabilities.
    """

    onsets: NDArray[np.float32]
    friction: NDArray[np.float32]
    friction_levels_db: NDArray[np.float32]
    materials: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What the aligner found in a clip.

    Attributes:
        duration_s: length of the clip.
        rate_hz: latent frames per second.
        windows: conditions of the flow.
        candidates: of hits, in order of time.
        curves: predictions per latent frame.
        motion: in the picture.
    """

    duration_s: float
    rate_hz: float
    windows: WindowSpool
    candidates: list[HitCandidate]
    curves: FrameCurves
    motion: ColumnMotion


def analyse_video(
    aligner: Alignment,
    video: MediaInfo | GivenFrames,
    plan: WindowPlan,
    stopwatch: Stopwatch,
    *,
    threads: int,
    progress: Callable[[float], None] | None = None,
    source: FrameSource = decode_here,
) -> tuple[Analysis, list[str]]:
    """The analysis of a video, or of given frames, and warnings about its file.

    Args:
        aligner: in eval mode, with its video encoder.
        video: the video.
        plan: sizes of the windows.
        stopwatch: receives the parts "decode", "encode" and "align".
        threads: torch threads per operation.
        progress: called with the seconds of video processed.
        source: decodes the video.

    Raises:
        MediaError: the video can't be used.
    """
    motion = ColumnMotion()
    frames = frames_for_encoder(video, aligner, motion, source=source)
    segment_s = aligner.config.segment_s

    def report(end: int) -> None:
        done_s = min(video.duration_s, end * segment_s)
        if done_s > RELEASE_AFTER_S:
            release_freed_memory()
        if progress is not None:
            progress(done_s)

    def segments_by(end: int) -> int | None:
        # The length of frames from an iterator is known when all of them are read
        if math.isinf(video.duration_s) and features.reaches(end * segment_s):
            return None
        return max(1, count_covering(video.duration_s, 1 / segment_s))

    # Closing the stream ends its threads, also after an error
    with (
        torch.inference_mode(),
        torch_threads(threads),
        closing(FeatureStream(aligner, frames, stopwatch, in_threads=True)) as features,
    ):
        cuts = plan.cut_until_end(segments_by)
        windows = window_conditions(aligner, features, cuts, stopwatch, report)
        analysis = collect_analysis(
            aligner, windows, duration_s=lambda: video.duration_s, motion=motion
        )
    warnings = () if isinstance(video, GivenFrames) else video.warnings
    return analysis, [*warnings, *frames.counts.warnings()]


def collect_analysis(
    aligner: Alignment,
    windows: Iterator[tuple[int, int, int, FlowCondition]],
    *,
    duration_s: float | Callable[[], float],
    motion: ColumnMotion | None = None,
) -> Analysis:
    """Collects the aligner's output for all windows of a clip.

    Args:
        aligner: in eval mode.
        windows: (start, length, kept, condition) in order, from `window_conditions`.
        duration_s: length of the clip, or a function that returns it after the last window.
        motion: complete when the windows are; None for no motion.
    """
    per_segment, rate_hz = aligner.config.latents_per_segment, aligner.config.latent_rate_hz
    spool = WindowSpool()
    candidates: list[HitCandidate] = []
    parts: list[dict[str, NDArray[np.float32]]] = []
    done = 0  # latent frames of the clip that earlier windows have covered
    for start, length, kept, found in windows:
        # Conditions of the flow
        video, states = (_array(value).astype(np.float16) for value in (found.video, found.states))
        spool.append(
            AnalysedWindow(start=start, length=length, kept=kept, video=video, states=states)
        )
        # Curves of the frames that neither an earlier nor a later window covers
        first, end = start * per_segment, (start + kept) * per_segment
        curves = _curves(found, aligner.config.materials)
        parts.append({name: values[done - first : end - first] for name, values in curves.items()})
        # Peaks in these frames
        from_s = max(done / rate_hz, candidates[-1].time_s + SHORTEST_GAP_S if candidates else 0.0)
        found_here = _candidates(curves, start_s=first / rate_hz, rate_hz=rate_hz)
        candidates += [each for each in found_here if from_s <= each.time_s < end / rate_hz]
        done = end
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    length_s = duration_s() if callable(duration_s) else duration_s
    return Analysis(
        duration_s=length_s,
        rate_hz=rate_hz,
        windows=spool,
        candidates=[each for each in candidates if each.time_s < length_s],
        curves=FrameCurves(
            onsets=joined["onsets"],
            friction=joined["friction"],
            friction_levels_db=joined["friction_levels_db"],
            materials=joined["materials"].astype(np.float16),
        ),
        motion=ColumnMotion() if motion is None else motion,
    )


def _candidates(
    curves: dict[str, NDArray[np.float32]], *, start_s: float, rate_hz: float
) -> list[HitCandidate]:
    """The peaks of a window, with attributes from their frames."""
    onsets, levels_db = curves["onsets"], curves["hit_levels_db"]
    candidates = []
    for time_s in find_event_peaks(onsets, rate_hz=rate_hz, threshold=LOWEST_PROBABILITY):
        frame = min(int(time_s * rate_hz), len(onsets) - 1)
        near = slice(max(frame - 1, 0), frame + 2)
        materials = curves["materials"][near]
        candidates.append(
            HitCandidate(
                time_s=start_s + float(time_s),
                probability=float(onsets[near].max()),
                level_db=float(levels_db[frame]) if len(levels_db) else None,
                materials=materials.mean(0) if len(materials) else np.zeros(0, np.float32),
            )
        )
    return candidates


def _curves(found: FlowCondition, materials: int) -> dict[str, NDArray[np.float32]]:
    """Predictions per latent frame; empty arrays for what the aligner does not predict."""
    curves = {
        "onsets": _array(found.onsets),
        "hit_levels_db": np.zeros(0, np.float32),
        "friction": np.zeros((0, 3), np.float32),
        "friction_levels_db": np.zeros(0, np.float32),
        "materials": np.zeros((0, materials), np.float32),
    }
    if found.attributes is not None:
        curves |= {
            "hit_levels_db": _array(found.attributes.levels_db),
            "friction": _array(found.attributes.friction.softmax(-1)),
            "friction_levels_db": _array(found.attributes.friction_levels_db),
            "materials": _array(found.attributes.materials.softmax(-1)),
        }
    return curves


def _array(values: Tensor) -> NDArray[np.float32]:
    """The only item of a batch as a float32 array."""
    return values[0].float().cpu().numpy()
