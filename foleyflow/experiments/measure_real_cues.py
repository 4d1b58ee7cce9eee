"""Measure the timing of sounds generated for recordings from their own onsets and from found cues.

With its own onsets as cues, a recording gets the sound that a user reaches by correcting the times
of found cues.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.data.build.listing import SUFFIXES, clips_of_categories
from foleyflow.errors import DataError
from foleyflow.evaluation.metrics.synchrony import ClipOnsets, clip_onsets, compare
from foleyflow.experiments.hit_peaks import peaks_of_hits
from foleyflow.experiments.measure_events import synchrony_figures
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.result import Generated
from foleyflow.media.probe import probe
from foleyflow.media.waveform import read_waveform
from foleyflow.signals import Waveform
from foleyflow.simulation.sound.levels import NOMINAL_PEAK, level_db

CUE_SOURCES = ("true_onsets", "found_cues")


def measure_real_cues(
    model: str,
    clips: Sequence[Path],
    *,
    with_levels: bool,
    steps: int,
    guidance: float | None,
    seed: int,
) -> dict[str, Any]:
    """Scores of sounds generated for recordings against the onsets of their own sound.

    All scores are those of `foleyflow evaluate`, of sounds with its default loudness.

    Args:
        model: "embedded" or a model folder.
        clips: videos with sound.
        with_levels: give the cues of true onsets the levels of the recording, else leave them to
            the model.
        steps, guidance: of the flow; None is the model's guidance.
        seed: of the flow.

    Returns:
        "true_onsets", for sounds whose cues are the onsets of the recording, and "found_cues", for
        sounds whose cues are found in the video: F1, shuffled F1 and gain at each tolerance and at
        the best lag of each clip, "median_lag_s" of all matched onsets, and "median_best_lag_ms",
        the median over clips; "clips": the figures of each clip, with F1 at the narrowest
        tolerance, and the warnings of the model.
    """
    flow = FoleyFlow.from_pretrained(model)
    true: list[ClipOnsets] = []
    made: dict[str, list[ClipOnsets]] = {name: [] for name in CUE_SOURCES}
    rows: list[dict[str, Any]] = []
    # Onsets of the recordings and of both generated sounds
    for path in clips:
        info, recording = probe(path), read_waveform(path)
        onsets = clip_onsets(recording)
        given = sheet_of_onsets(
            onsets.times_s,
            duration_s=info.duration_s,
            recording=recording if with_levels else None,
        )
        true.append(onsets)
        rows.append({"clip": path.name, "onsets": len(onsets.times_s)})
        for name, cues in zip(CUE_SOURCES, (given, None), strict=True):
            result: Generated = flow.generate(
                info, cues=cues, steps=steps, guidance=guidance, seed=seed
            )
            made[name].append(clip_onsets(result.as_waveform()))
            rows[-1][name] = {
                "cues": len(result.cues.enabled),
                "onsets": len(made[name][-1].times_s),
                "warnings": result.warnings,
            }
    # Scores of each clip and over all clips
    scores = {name: compare(true, each) for name, each in made.items()}
    for name, score in scores.items():
        f1s, lags_s = score.windows[0].per_clip_f1, score.lag_free.lags_s
        for row, f1, lag_s in zip(rows, f1s, lags_s, strict=True):
            row[name] |= {"f1": round(float(f1), 3), "best_lag_ms": round(1000 * float(lag_s))}
    figures = {
        name: synchrony_figures(score)
        | {"median_best_lag_ms": round(1000 * float(np.median(score.lag_free.lags_s)))}
        for name, score in scores.items()
    }
    return {**figures, "levels": with_levels, "steps": steps, "clips": rows}


def sheet_of_onsets(
    times_s: np.ndarray, *, duration_s: float, recording: Waveform | None = None
) -> CueSheet:
    """A hit for each onset within a clip of `duration_s` seconds.

    With a recording, the level of a hit is the peak of the recording near it, relative to that of
    the loudest hit; else it is left to the model.
    """
    times_s = times_s[times_s < duration_s]
    levels: list[float | None] = [None] * len(times_s)
    if recording is not None and len(times_s):
        peaks = peaks_of_hits(recording.mono(), times_s, recording.rate_hz)
        levels = level_db(NOMINAL_PEAK * peaks / peaks.max()).tolist()
    hits = [
        Cue(time_s=float(time_s), level_db=level)
        for time_s, level in zip(times_s, levels, strict=True)
    ]
    return CueSheet(cues=tuple(hits), duration_s=duration_s)


def recordings_of(paths: Sequence[Path]) -> list[Path]:
    """Videos, and those of folders: the impacts that a manifest.csv lists, or all without one.

    Raises:
        DataError: a folder has no such video.
    """
    videos: list[Path] = []
    for path in paths:
        if not path.is_dir():
            videos.append(path)
            continue
        if (path / "manifest.csv").exists():
            found = clips_of_categories(path)
        else:
            found = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(
                f"{path} has no recordings of impacts",
                hint=f"put files of {', '.join(SUFFIXES)} there, or name the files",
            )
        videos += found
    return videos
