"""How good an aligner is, on held-out clips: its monitors, and probes on its frozen features.

Probes are fitted to simulated clips alone; real clips, where given, are only measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment, interpolate_in_time
from foleyflow.clock import count_covering
from foleyflow.data.windows import WindowSource
from foleyflow.errors import DataError
from foleyflow.evaluation.linear_probe import (
    WINDOW_S,
    EventProbe,
    fit_class_probe,
    fit_event_probe,
    pooled,
    predicted,
)
from foleyflow.evaluation.metric import Interval, bootstrap_mean
from foleyflow.evaluation.metrics.synchrony import ClipOnsets, compare, detect_onsets, onset_f1
from foleyflow.inference.latent_generation import FeatureStream, Stopwatch, WindowPlan
from foleyflow.media.reader import read_frames
from foleyflow.media.waveform import read_waveform
from foleyflow.parallel.precision import fast_autocast
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.published import PublishedRecipe
from foleyflow.training.tasks.alignment import AlignTask

MEASURED_AT_ONCE = 16
SHIFTS_S = tuple(round(0.04 * k, 2) for k in range(-10, 11))
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")


@dataclass(frozen=True, kw_only=True)
class SeenWindows:
    """Windows of a split as an aligner sees them.

    Attributes:
        video: (R, L, D) float16, F^v at latent frames.
        events_s: per window, the events that should be heard, seconds from its start.
        materials: (R,) class of the struck material or -1.
    """

    video: NDArray[np.float16]
    events_s: list[NDArray[np.float64]]
    materials: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RealClip:
    """A real clip, ready to be measured.

    Attributes:
        times_s: (T,) of its frames.
        pixels: (T, S, S, 3) uint8.
        onsets: of its own sound.
    """

    times_s: NDArray[np.float64]
    pixels: NDArray[np.uint8]
    onsets: ClipOnsets


def measure(
    aligner: Alignment,
    recipe: AlignRecipe | PublishedRecipe,
    data: Path,
    *,
    real: Sequence[RealClip] = (),
    probe_clips: int = 768,
) -> dict[str, Any]:
    """Everything that is said of an aligner, on the test split.

    Args:
        aligner: in eval mode.
        recipe: that it was trained by: which features it recovers, how windows are cut.
        data: folder with train, validation and test splits; probes need simulated clips.
        real: clips that were never trained on, for the probe of events.
        probe_clips: training clips that the probes are fitted to, at most.

    Returns:
        "recovery": the monitors of `validation_figures` over the test split, where the aligner
        recovers anything, with an interval of the gain over batches of clips. "probe": F1 of
        events with its interval over clips and, where the training clips have more than one
        material, its accuracy, and that of always saying the commonest. "real": F1, shuffled F1
        and gain with intervals, and the median lag.

    Source: ours (method section B.9; linear evaluation of frozen features).
    """
    task = recipe.build(data, held_out="test", aligner=aligner)
    result: dict[str, Any] = {}
    if recipe.losses.latent:
        result["recovery"] = _recovery(aligner, task)
    splits = {
        name: seen_windows(aligner, source, count)
        for name, source, count in (
            ("train", task.windows, probe_clips),
            ("validation", recipe.source(data, "validation"), probe_clips),
            ("test", task.held_out_windows, len(task.held_out_windows.clips)),
        )
    }
    rate_hz = aligner.config.latent_rate_hz
    train, validation, test = splits["train"], splits["validation"], splits["test"]
    if not any(len(times_s) for times_s in test.events_s):
        return result  # nobody knows what happens in real clips
    probe = fit_event_probe(
        train.video, train.events_s, validation.video, validation.events_s, rate_hz=rate_hz
    )
    scores = [
        onset_f1(true, probe.find(features), WINDOW_S)
        for true, features in zip(test.events_s, test.video, strict=True)
        if len(true)
    ]
    result["probe"] = {
        "event_f1": asdict(bootstrap_mean(scores)),
        "threshold": probe.threshold,
        **_materials(train, validation, test),
    }
    if real:
        result["real"] = _real(aligner, probe, real)
    return result


@torch.inference_mode()
def seen_windows(aligner: Alignment, source: WindowSource, count: int) -> SeenWindows:
    """The first windows of the first `count` clips, through the aligner.

    Source: ours.
    """
    segments = source.config.segments
    video: list[NDArray[np.float16]] = []
    order: list[int] = []
    for batch in first_windows(source, count):
        times_s, present = batch["times_s"], batch["present"]
        # Pictures are encoded as in training.
        with fast_autocast(batch["pixels"].device):
            features = aligner.watch(batch["pixels"], times_s, present)
        features = aligner.contextualise(features.float(), times_s, present)
        moments_s = aligner.latent_times_s(segments, features)
        at = interpolate_in_time(features, times_s, moments_s, present=present)
        video += list(at.numpy().astype(np.float16))
        order += batch["clip"].tolist()
    end_s = segments * source.config.segment_s
    events = [source.clips.event_times_s[clip] for clip in order]
    return SeenWindows(
        video=np.stack(video),
        events_s=[times_s[(times_s >= 0) & (times_s < end_s)] for times_s in events],
        materials=source.clips.materials[order],
    )


@torch.inference_mode()
def seen_clip(aligner: Alignment, clip: RealClip) -> NDArray[np.float32]:
    """F^v of a clip of any length at its latent frames, window by window, (L, D).

    Source: ours; windows as in `generation`.
    """
    config, plan = aligner.config, WindowPlan()
    stream = FeatureStream(
        aligner, zip(clip.times_s.tolist(), clip.pixels, strict=True), Stopwatch({})
    )
    parts: list[NDArray[np.float32]] = []
    for start, length, kept in plan.cut(
        max(1, count_covering(clip.onsets.duration_s, 1 / config.segment_s))
    ):
        begin_s = start * config.segment_s
        features, times_s = stream.between(begin_s, begin_s + length * config.segment_s)
        video = aligner.contextualise(features, times_s)
        at = interpolate_in_time(video, times_s, aligner.latent_times_s(length, video))
        known = plan.context if parts else 0
        per_segment = config.latents_per_segment
        parts.append(at[0, known * per_segment : kept * per_segment].numpy())
    return np.concatenate(parts)


def read_real_clips(folder: Path, *, size: int) -> list[RealClip]:
    """All clips of a folder with their own sound's onsets.

    Args:
        folder: of video files with sound.
        size: side of the pictures, pixels.

    Raises:
        DataError: no video there.
        MediaError: one can't be read, or has no sound.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise DataError(
            f"{folder} holds no video", hint=f"put files of {', '.join(VIDEO_SUFFIXES)} there"
        )
    clips = []
    for path in paths:
        pairs = list(read_frames(path, size=size))
        sound = read_waveform(path)
        onsets = detect_onsets(sound.mono(), sound.rate_hz)
        duration_s = sound.samples.shape[1] / sound.rate_hz
        clips.append(
            RealClip(
                times_s=np.array([time_s for time_s, _ in pairs]),
                pixels=np.stack([picture for _, picture in pairs]),
                onsets=ClipOnsets(times_s=onsets.times_s, duration_s=duration_s),
            )
        )
    return clips


def _recovery(aligner: Alignment, task: AlignTask) -> dict[str, Any]:
    """The monitors over the whole test split: means over batches, and the gain's interval."""
    windows = task.held_out_windows
    each = [
        task.figures(aligner, [batch], shifts_s=SHIFTS_S)
        for batch in first_windows(windows, len(windows.clips))
        if len(batch["clip"]) > 1  # the control needs another clip
    ]
    figures = {
        name: float(np.mean([figures[name] for figures in each if name in figures]))
        for name in each[0]
    }
    named = {s: f"r2_shift_{round(1000 * s):+d}ms" for s in SHIFTS_S}
    curve = {s: figures[name] for s, name in named.items() if name in figures}
    return {
        **figures,
        "r2_gain_interval": asdict(bootstrap_mean([figures["r2_gain"] for figures in each])),
        "shift_peak_s": peak_of(curve),
    }


def peak_of(curve: dict[float, float]) -> float:
    """Where a curve is highest, between its points by the parabola through the three nearest."""
    at, values = np.array(list(curve)), np.array(list(curve.values()))
    top = int(values.argmax())
    if 0 < top < len(values) - 1:
        left, middle, right = values[top - 1 : top + 2]
        bend = left - 2 * middle + right
        if bend < -1e-9:
            return float(at[top] + 0.5 * (left - right) / bend * (at[1] - at[0]))
    return float(at[top])


def first_windows(source: WindowSource, count: int) -> Iterator[dict[str, Tensor]]:
    """The first window of the first `count` clips, in batches of similar frame rates."""
    order = np.argsort(np.diff(source.clips.offsets)[:count], kind="stable")
    for start in range(0, len(order), MEASURED_AT_ONCE):
        chosen = order[start : start + MEASURED_AT_ONCE]
        yield source.cut(chosen, np.zeros_like(chosen), None)


def _materials(train: SeenWindows, validation: SeenWindows, test: SeenWindows) -> dict[str, Any]:
    """Accuracy of a probe of materials; nothing where all training clips are of the same."""
    inputs, classes = _known(train)
    if len(np.unique(classes)) < 2:
        return {}
    linear, known = fit_class_probe(inputs, classes, *_known(validation))
    test_inputs, test_classes = _known(test)
    right = predicted(linear, known, test_inputs) == test_classes
    return {
        "material_accuracy": asdict(bootstrap_mean(right.astype(float))),
        "material_commonest": float(np.bincount(test_classes).max() / len(test_classes)),
    }


def _known(seen: SeenWindows) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    known = seen.materials >= 0
    return pooled(seen.video[known]), seen.materials[known]


def _real(aligner: Alignment, probe: EventProbe, clips: Sequence[RealClip]) -> dict[str, Any]:
    found = [
        ClipOnsets(times_s=probe.find(seen_clip(aligner, clip)), duration_s=clip.onsets.duration_s)
        for clip in clips
    ]
    result = compare([clip.onsets for clip in clips], found, windows_s=(WINDOW_S,))
    window = result.windows[0]

    def said(interval: Interval | None) -> dict[str, Any] | None:
        return None if interval is None else asdict(interval)

    return {
        "f1": said(window.f1),
        "shuffled_f1": said(window.shuffled_f1),
        "gain": said(window.gain),
        "median_lag_s": result.median_lag_s,
    }
