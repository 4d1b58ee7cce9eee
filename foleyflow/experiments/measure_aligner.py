"""Measure an aligner on held-out clips: recovery monitors, and linear probes of frozen features.

Probes are fitted to simulated clips only; real clips are used only for measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment, interpolate_in_time
from foleyflow.clock import count_covering
from foleyflow.data.build.listing import SUFFIXES
from foleyflow.data.windows import WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import DataError
from foleyflow.evaluation.linear_probe import (
    EventProbe,
    fit_class_probe,
    fit_event_probe,
    pool_windows,
    predict_classes,
)
from foleyflow.evaluation.metric import bootstrap_mean
from foleyflow.evaluation.metrics.synchrony import (
    WINDOWS_S,
    ClipOnsets,
    clip_onsets,
    compare,
    onset_f1,
)
from foleyflow.inference.feature_stream import FeatureStream
from foleyflow.inference.windows import WindowPlan
from foleyflow.media.reader import read_frames
from foleyflow.media.waveform import read_waveform
from foleyflow.parallel.precision import fast_autocast
from foleyflow.pretrained import aligner_segments, load_aligner
from foleyflow.recipes import recipe_named
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.overrides import override
from foleyflow.recipes.published import PublishedRecipe
from foleyflow.system.stopwatch import Stopwatch
from foleyflow.training.tasks.alignment import AlignTask

WINDOW_S = WINDOWS_S[0]  # onsets match within plus or minus this
BATCH_WINDOWS = 16
PROBE_CLIPS = 768
SHIFTS_S = tuple(round(0.04 * k, 2) for k in range(-10, 11))


@dataclass(frozen=True, kw_only=True)
class WindowFeatures:
    """Windows of a split as an aligner encodes them.

    Attributes:
        video: (B, L, D) float16, F^v at latent frames.
        events_s: per window, audible events, seconds from its start.
        materials: (B,) class of the struck material or -1.
    """

    video: NDArray[np.float16]
    events_s: list[NDArray[np.float64]]
    materials: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RealClip:
    """A decoded real clip: times (T,) of its frames, pixels (T, S, S, 3), onsets of its sound."""

    times_s: NDArray[np.float64]
    pixels: NDArray[np.uint8]
    onsets: ClipOnsets


def measure_model(
    model: Path,
    data: Path,
    *,
    recipe_name: str,
    assignments: Sequence[str],
    real: Path | None,
    probe_clips: int,
) -> dict[str, Any]:
    """Measure the aligner of a model folder; see `measure_aligner`.

    Windows have the length of the aligner's training unless `assignments`, changes to the recipe as
    for `--set`, set `windows.segments`.
    """
    aligner = load_aligner(model)
    recipe = override(recipe_named("align", recipe_name), assignments)
    if not any(each.startswith("windows.segments=") for each in assignments):
        segments = aligner_segments(model) or recipe.windows.segments
        recipe = replace(recipe, windows=replace(recipe.windows, segments=segments))
    clips: Sequence[RealClip] = ()
    if real is not None:
        clips = read_real_clips(real, size=cast(MotionEncoder, aligner.encoder).config.size)
    return measure_aligner(aligner, recipe, data, real=clips, probe_clips=probe_clips)


def measure_aligner(
    aligner: Alignment,
    recipe: AlignRecipe | PublishedRecipe,
    data: Path,
    *,
    real: Sequence[RealClip] = (),
    probe_clips: int = PROBE_CLIPS,
) -> dict[str, Any]:
    """Measure an aligner in eval mode on the test split.

    Args:
        recipe: of its training: the recovered features and the length of windows.
        data: folder with train, validation and test splits; probes need simulated clips.
        real: clips outside the training data, for the probe of events.
        probe_clips: maximum number of training clips of the probes.

    Returns:
        "recovery": the monitors of `validation_figures` over the test split, if the aligner
        recovers anything, with an interval of the gain over batches of clips. "probe": F1 of
        events with its interval over clips and, if the training clips have more than one
        material, the accuracy of materials and that of always predicting the most frequent one.
        "real": F1, shuffled F1 and gain with intervals, and the median lag.
    """
    task = recipe.build(data, held_out="test", aligner=aligner)
    result: dict[str, Any] = {}
    if recipe.losses.latent:
        result["recovery"] = _recovery(aligner, task)
    train, validation, test = (
        encode_windows(aligner, source, count)
        for source, count in (
            (task.windows, probe_clips),
            (recipe.source(data, "validation"), probe_clips),
            (task.held_out_windows, len(task.held_out_windows.clips)),
        )
    )
    if not any(len(times_s) for times_s in test.events_s):
        return result  # real clips have no labels
    probe = fit_event_probe(
        train.video,
        train.events_s,
        validation.video,
        validation.events_s,
        rate_hz=aligner.config.latent_rate_hz,
    )
    scores = [
        onset_f1(true, probe.find(features), WINDOW_S)
        for true, features in zip(test.events_s, test.video, strict=True)
        if len(true)
    ]
    result["probe"] = {
        "event_f1": asdict(bootstrap_mean(scores)),
        "threshold": probe.threshold,
        **_material_accuracy(train, validation, test),
    }
    if real:
        plan = WindowPlan.of_length(recipe.windows.segments)
        result["real"] = _real_figures(aligner, probe, real, plan)
    return result


@torch.inference_mode()
def encode_windows(aligner: Alignment, source: WindowSource, count: int) -> WindowFeatures:
    """The first windows of the first `count` clips, encoded by the aligner."""
    segments = source.config.segments
    video: list[NDArray[np.float16]] = []
    order: list[int] = []
    for batch in first_windows(source, count):
        times_s, present = batch["times_s"], batch["present"]
        with fast_autocast(batch["pixels"].device):  # as in training
            features = aligner.encode_video(batch["pixels"], present=present)
        features = aligner.add_temporal_context(features.float(), times_s, present)
        latent_times_s = aligner.latent_times_s(segments, features)
        video += list(
            interpolate_in_time(features, times_s, latent_times_s, present=present)
            .numpy()
            .astype(np.float16)
        )
        order += batch["clip"].tolist()
    end_s = segments * source.config.segment_s
    events = [source.clips.event_times_s[clip] for clip in order]
    return WindowFeatures(
        video=np.stack(video),
        events_s=[times_s[(times_s >= 0) & (times_s < end_s)] for times_s in events],
        materials=source.clips.materials[order],
    )


@torch.inference_mode()
def encode_clip(aligner: Alignment, clip: RealClip, plan: WindowPlan) -> NDArray[np.float32]:
    """F^v of a clip of any length at its latent frames, (L, D); windows are cut by `plan`."""
    config = aligner.config
    stream = FeatureStream(
        aligner, zip(clip.times_s.tolist(), clip.pixels, strict=True), Stopwatch()
    )
    parts: list[NDArray[np.float32]] = []
    segments = max(1, count_covering(clip.onsets.duration_s, 1 / config.segment_s))
    for start, length, kept in plan.cut(segments):
        begin_s = start * config.segment_s
        features, times_s = stream.between(begin_s, begin_s + length * config.segment_s)
        video = aligner.add_temporal_context(features, times_s)
        values = interpolate_in_time(video, times_s, aligner.latent_times_s(length, video))
        known = plan.context if parts else 0
        per_segment = config.latents_per_segment
        parts.append(values[0, known * per_segment : kept * per_segment].numpy())
    return np.concatenate(parts)


def read_real_clips(folder: Path, *, size: int) -> list[RealClip]:
    """Decode the clips of a folder (frames of `size` pixels) and detect the onsets of their sound.

    Raises:
        DataError: the folder has no video.
        MediaError: a file can't be read, or has no sound.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(
            f"{folder} holds no video", hint=f"put files of {', '.join(SUFFIXES)} there"
        )
    clips = []
    for path in paths:
        pairs = list(read_frames(path, size=size))
        clips.append(
            RealClip(
                times_s=np.array([time_s for time_s, _ in pairs]),
                pixels=np.stack([picture for _, picture in pairs]),
                onsets=clip_onsets(read_waveform(path)),
            )
        )
    return clips


def _recovery(aligner: Alignment, task: AlignTask) -> dict[str, Any]:
    """The monitors over the test split: means over batches, and the interval of the gain."""
    windows = task.held_out_windows
    batches = [
        task.figures(aligner, [batch], shifts_s=SHIFTS_S)
        for batch in first_windows(windows, len(windows.clips))
        if len(batch["clip"]) > 1  # the control needs another clip
    ]
    names = dict.fromkeys(name for figures in batches for name in figures)
    means = {
        name: float(np.mean([figures[name] for figures in batches if name in figures]))
        for name in names
    }
    shift_names = {s: f"r2_shift_{round(1000 * s):+d}ms" for s in SHIFTS_S}
    curve = {s: means[name] for s, name in shift_names.items() if name in means}
    return {
        **means,
        "r2_gain_interval": asdict(bootstrap_mean([figures["r2_gain"] for figures in batches])),
        "shift_peak_s": peak_of(curve),
    }


def peak_of(curve: dict[float, float]) -> float:
    """The argument of the maximum of a curve, refined by a parabola through three points."""
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
    for start in range(0, len(order), BATCH_WINDOWS):
        chosen = order[start : start + BATCH_WINDOWS]
        yield source.cut(chosen, np.zeros_like(chosen), None)


def _material_accuracy(
    train: WindowFeatures, validation: WindowFeatures, test: WindowFeatures
) -> dict[str, Any]:
    """Accuracy of a probe of materials; empty if all training clips have the same one."""
    inputs, classes = _with_material(train)
    if len(np.unique(classes)) < 2:
        return {}
    linear, known = fit_class_probe(inputs, classes, *_with_material(validation))
    test_inputs, test_classes = _with_material(test)
    correct = predict_classes(linear, known, test_inputs) == test_classes
    return {
        "material_accuracy": asdict(bootstrap_mean(correct.astype(float))),
        "material_commonest": float(np.bincount(test_classes).max() / len(test_classes)),
    }


def _with_material(windows: WindowFeatures) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pooled features and classes of the windows whose material is known."""
    known = windows.materials >= 0
    return pool_windows(windows.video[known]), windows.materials[known]


def _real_figures(
    aligner: Alignment, probe: EventProbe, clips: Sequence[RealClip], plan: WindowPlan
) -> dict[str, Any]:
    found = [
        ClipOnsets(
            times_s=probe.find(encode_clip(aligner, clip, plan)), duration_s=clip.onsets.duration_s
        )
        for clip in clips
    ]
    result = compare([clip.onsets for clip in clips], found, windows_s=(WINDOW_S,))
    return {**result.windows[0].intervals_json(), "median_lag_s": result.median_lag_s}
