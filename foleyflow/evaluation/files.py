"""Find the generated and reference files of a folder, and read their onsets and events.

Clips are paired by name, which `{case}` in a pattern matches. The default pattern takes every
sound or video of a folder and its subfolders and pairs them by file stem without a trailing
`.foley`. If a folder has several files of one clip, events come before sound and sound before
video.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.errors import DataError, MediaError
from foleyflow.evaluation.cache import ResultCache, cached, code_sha256
from foleyflow.evaluation.cases import SoundFiles
from foleyflow.evaluation.metrics import levels
from foleyflow.evaluation.metrics.synchrony import detection
from foleyflow.evaluation.metrics.synchrony.detection import (
    ClipOnsets,
    clip_onsets,
    is_silent,
    merge_near_onsets,
)
from foleyflow.media import waveform

logger = logging.getLogger(__name__)

EVENT_SUFFIXES = (".json",)
SOUND_SUFFIXES = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac", ".mka")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi")
MEDIA_SUFFIXES = SOUND_SUFFIXES + VIDEO_SUFFIXES
CASE_PATTERN = "{case}"


def find_files(folder: Path, pattern: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Clip -> file, for all clips in a folder and its subfolders.

    Args:
        pattern: path below the folder with `{case}` for the clip's name, or a file name without
            "/" in any subfolder; without a suffix it matches all of `suffixes`.
        suffixes: of the files, by preference if a clip has several files.

    Raises:
        DataError: no such folder, a pattern without `{case}`, or two folders with one clip.
    """
    check_folder(folder)
    if pattern.count(CASE_PATTERN) != 1:
        raise DataError(
            f"pattern {pattern!r}: expected {CASE_PATTERN!r} in it exactly once",
            hint="for instance '{case}/gt.m4a'",
        )
    has_suffix = Path(pattern.replace(CASE_PATTERN, "case")).suffix.lower() in suffixes
    expression = re.compile(
        re.escape(pattern).replace(re.escape(CASE_PATTERN), "(?P<case>[^/]+?)")
        + ("" if has_suffix else r"\.[^./]+")
    )
    rank = {suffix: place for place, suffix in enumerate(suffixes)}
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).as_posix() if "/" in pattern else path.name
        match = expression.fullmatch(inner)
        if not match or path.suffix.lower() not in rank or not path.is_file():
            continue
        case = match["case"].removesuffix(".foley")
        known = found.get(case)
        if known is not None and known.parent != path.parent:
            raise DataError(
                f"{folder}: {case!r} exists twice, in {known.parent} and {path.parent}",
                hint="select one by a pattern, for instance '{case}/gt.m4a'",
            )
        if known is None or rank[path.suffix.lower()] < rank[known.suffix.lower()]:
            found[case] = path
    return found


def find_videos(folder: Path, pattern: str) -> dict[str, Path]:
    """Clip -> video, by a pattern whose suffix is ignored."""
    suffix = Path(pattern.replace(CASE_PATTERN, "case")).suffix
    return find_files(folder, pattern.removesuffix(suffix) if suffix else pattern, VIDEO_SUFFIXES)


def check_folder(folder: Path) -> None:
    """Raise a DataError for a path that is not a folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", hint="give folders of sound or video files")


def read_onsets(
    path: Path, cache: ResultCache | None, sounds: SoundFiles
) -> tuple[ClipOnsets, bool]:
    """The onsets of a media file, and whether its sound is silent.

    Raises:
        MediaError: the file cannot be read.
        DataError: some of its samples are not finite.
    """
    sound = sounds.sound(path)

    def compute() -> dict[str, Any]:
        samples = sound.waveform.mono()
        if not np.isfinite(samples).all():
            raise DataError(f"{path}: some samples are not finite", hint="write the sound again")
        clip = clip_onsets(sound.waveform)
        return {
            "times_s": clip.times_s.tolist(),
            "duration_s": clip.duration_s,
            "silent": is_silent(samples),
        }

    def key() -> list[Any]:
        return ["onsets", code_sha256(detection, levels, waveform), sound.identity]

    found = cached(cache, key, compute, sound.pack)
    times_s = np.asarray(found["times_s"], dtype=np.float64)
    return ClipOnsets(times_s=times_s, duration_s=found["duration_s"]), found["silent"]


def read_reference(
    path: Path, *, duration_s: float, cache: ResultCache | None, sounds: SoundFiles
) -> ClipOnsets:
    """`read_events` of an event file, or `read_onsets` of a media file."""
    if is_event_file(path):
        return read_events(path, duration_s=duration_s)
    return read_onsets(path, cache, sounds)[0]


def is_event_file(path: Path) -> bool:
    """Whether a file contains annotated events, by its suffix."""
    return path.suffix.lower() in EVENT_SUFFIXES


def is_silent_video(path: Path) -> bool:
    """Whether a file is a video without an audio track; False for one that cannot be read."""
    from foleyflow.media.probe import probe

    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return False
    try:
        return not probe(path).has_audio
    except MediaError as error:
        logger.warning("%s", error)
        return False


def read_events(path: Path, *, duration_s: float) -> ClipOnsets:
    """The events of an event file within its duration; one that follows within 30 ms is dropped.

    Args:
        path: JSON, {"events": [{"time_s": seconds}, ...]}, optionally "duration_s".
        duration_s: length of the clip if the file has none.

    Raises:
        DataError: not such a file.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        times_s = sorted(float(event["time_s"]) for event in record["events"])
        duration_s = float(record.get("duration_s", duration_s))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a file of events ({type(error).__name__}: {error})",
            hint='expected {"events": [{"time_s": 1.25}, ...]}',
        ) from error
    return ClipOnsets(
        times_s=merge_near_onsets([t for t in times_s if 0 <= t < duration_s]),
        duration_s=duration_s,
    )
