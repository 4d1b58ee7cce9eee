"""The recordings of a folder: which can be learned from, their onsets, and their lags.

A recording is a video of any length with its own sound. It is analysed in constant memory.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.adaptation.lags import estimate_lag
from foleyflow.alignment.model import Alignment
from foleyflow.data.build.listing import ListedClip, find_files
from foleyflow.errors import DataError, MediaError
from foleyflow.evaluation.metrics.synchrony import clip_onsets
from foleyflow.evaluation.metrics.synchrony.detection import is_silent
from foleyflow.inference.analysis import Analysis, analyse_video
from foleyflow.inference.window_spool import WindowSpool
from foleyflow.inference.windows import WindowPlan
from foleyflow.media import MediaInfo, probe
from foleyflow.media.waveform import read_waveform
from foleyflow.system.stopwatch import Stopwatch

CLIP_S = 4.0  # of training, as long as simulated clips
DETECTED_S, MARGIN_S = 30.0, 0.5  # onsets are detected in pieces, with sound around them
HELD_OUT_FRACTION = 0.2
FEWEST_RECORDINGS = 3
FEWEST_ONSETS = 8  # of a recording


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A video of the folder.

    Attributes:
        name: its path in the folder without suffix, with dashes for slashes.
        duration_s: 0 if it can't be read.
        lag_s: sound minus picture; None if it is left out.
        onsets: number of onsets in its sound.
        reason: why it is left out; empty if it is used.
    """

    name: str
    duration_s: float = 0.0
    lag_s: float | None = None
    onsets: int = 0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """The fields, with the lag in milliseconds."""
        fields = {**asdict(self), "duration_s": round(self.duration_s, 2)}
        lag_s = fields.pop("lag_s")
        return {**fields, "lag_ms": None if lag_s is None else round(1000 * lag_s)}


def files_of(folder: Path, rows: Sequence[ListedClip]) -> dict[str, Path]:
    """Name -> file of each recording of a list from `read_folder`, in its order."""
    files = find_files(folder, rows)
    return {
        row.video_id: file.path
        for row, file in zip(rows, files, strict=True)
        if file is not None and not file.cut_out
    }


def examine_recording(
    name: str, path: Path, aligner: Alignment, plan: WindowPlan, *, keep_unclear: bool
) -> Recording:
    """Analyse a recording and estimate its lag, or find the reason to leave it out.

    With `keep_unclear`, a recording whose lag is not clear is used with a lag of 0.
    """
    try:
        info = probe(path)
        recording = Recording(name=name, duration_s=info.duration_s)
        if not info.has_audio:
            return replace(recording, reason="no sound")
        if info.duration_s < CLIP_S:
            reason = f"too short: {info.duration_s:.1f} s, expected {CLIP_S:g} s"
            return replace(recording, reason=reason)
        onsets_s = recording_onsets(info)
        if onsets_s is None:
            return replace(recording, reason="silent")
        recording = replace(recording, onsets=len(onsets_s))
        if len(onsets_s) < FEWEST_ONSETS:
            reason = f"few onsets: {len(onsets_s)} in its sound, expected {FEWEST_ONSETS}"
            return replace(recording, reason=reason)
        analysis = analyse_recording(info, aligner, plan)
    except MediaError as error:
        reason = f"unreadable: {str(error).replace(str(path), path.name)}"
        return Recording(name=name, reason=reason)
    found = estimate_lag(analysis.curves.onsets, onsets_s, rate_hz=analysis.rate_hz)
    if keep_unclear and found.lag_s is None:
        return replace(recording, lag_s=0.0)
    return replace(recording, lag_s=found.lag_s, reason=found.reason)


def analyse_recording(info: MediaInfo, aligner: Alignment, plan: WindowPlan) -> Analysis:
    """What an aligner finds in a recording, without the conditions of the flow."""
    analysis, _ = analyse_video(aligner, info, plan, Stopwatch(), threads=1)
    return replace(analysis, windows=WindowSpool())


def recording_onsets(info: MediaInfo) -> NDArray[np.float64] | None:
    """The times (K,) of the onsets of a recording's sound; None if it is silent throughout."""
    parts: list[NDArray[np.float64]] = []
    has_sound = False
    for number in range(math.ceil(info.duration_s / DETECTED_S)):
        begin_s = number * DETECTED_S
        end_s = min(begin_s + DETECTED_S, info.duration_s)
        from_s = max(begin_s - MARGIN_S, 0.0)
        sound = read_waveform(
            info.path, start_s=from_s, end_s=min(end_s + MARGIN_S, info.duration_s)
        )
        has_sound |= not is_silent(sound.mono())
        times_s = from_s + clip_onsets(sound).times_s
        parts.append(times_s[(times_s >= begin_s) & (times_s < end_s)])
    return np.concatenate(parts) if has_sound else None


def held_out_names(recordings: Sequence[Recording]) -> set[str]:
    """The names of the used recordings that are kept out of training: at least 1, about a fifth.

    The choice depends on the names alone.

    Raises:
        DataError: too few recordings can be used.
    """
    used = [each.name for each in recordings if not each.reason]
    if len(used) < FEWEST_RECORDINGS:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in recordings if each.reason)
        raise DataError(
            f"{len(used)} of {len(recordings)} recordings can be used, expected at least "
            f"{FEWEST_RECORDINGS}" + (f" ({reasons})" if reasons else ""),
            hint="add recordings with clear hits and their own sound; about ten minutes in all "
            "are a good start",
        )
    order = sorted(used, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return set(order[: max(1, round(HELD_OUT_FRACTION * len(used)))])


def rows_of_splits(
    rows: Sequence[ListedClip], recordings: Sequence[Recording], held_out: set[str]
) -> list[ListedClip]:
    """The rows of the used recordings, in the splits "train" and "validation"."""
    used = {each.name for each in recordings if not each.reason}
    return [
        replace(row, split="validation" if row.video_id in held_out else "train")
        for row in rows
        if row.video_id in used
    ]


def lags_of(recordings: Sequence[Recording]) -> Mapping[str, float]:
    """Name -> lag of the used recordings, in seconds."""
    return {each.name: each.lag_s for each in recordings if each.lag_s is not None}
