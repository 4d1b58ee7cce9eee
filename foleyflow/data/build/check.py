"""Check a finished data set: complete, decodable, and without videos in more than one split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foleyflow.clock import count_at
from foleyflow.data.clip_types import Clips, read_manifest
from foleyflow.data.clips import open_split
from foleyflow.errors import DataError, MediaError


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """The result of checking a split.

    Attributes:
        decoded: how many clips, evenly spread, were decoded.
        labels: number of different labels.
        problems: descriptions; empty for a split that can be used for training.
    """

    split: str
    clips: int
    decoded: int
    labels: int
    problems: tuple[str, ...]


def check_data(root: Path, *, decode: int = 32) -> list[SplitCheck]:
    """Check every split that has clips, of a data set of simulated or real clips.

    Args:
        decode: clips of each split that are decoded.

    Raises:
        DataError: there is no data set.
    """
    checks = []
    split_of_video: dict[str, str] = {}
    for split, count in read_manifest(root)["splits"].items():
        if not count:
            continue
        try:
            clips = open_split(root, split)
            _ = clips.fingerprint  # requires every file
        except DataError as error:
            checks.append(
                SplitCheck(split=split, clips=count, decoded=0, labels=0, problems=(str(error),))
            )
            continue
        # Videos in several splits
        problems, shared = [], 0
        entries = [clips.entry(index) for index in range(len(clips))]
        for entry in entries:
            video = entry.get("video_id")
            shared += video is not None and split_of_video.setdefault(video, split) != split
        if shared:
            problems.append(f"{shared} clips are of videos that another split has too")
        # Clips that do not decode
        picked = np.unique(np.linspace(0, len(clips) - 1, min(decode, len(clips))).round())
        for index in picked.astype(int):
            problem = _problem(clips, int(index))
            if problem:
                problems.append(f"{entries[index]['id']}: {problem}")
        checks.append(
            SplitCheck(
                split=split,
                clips=len(clips),
                decoded=len(picked),
                labels=len({entry["kind"] for entry in entries}),
                problems=tuple(problems),
            )
        )
    return checks


def _problem(clips: Clips, index: int) -> str:
    """A description of a clip's first problem; empty if it has none."""
    duration_s = clips.duration_s
    try:
        if clips.has_frames:
            clip = clips.load(index)
            waveform, times_s = clip.waveform, clip.frames.times_s
            duration_s = clip.labels.duration_s
        else:
            clips.labels(index)
            waveform, times_s = clips.load_sound(index), None
    except (MediaError, DataError, ValueError) as error:
        return " ".join(str(error).split())
    if times_s is not None:
        step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
        video_s = float(times_s[-1]) + step_s
        if abs(video_s - duration_s) > 0.1 + step_s:
            return f"frames for {video_s:.2f} s of {duration_s:g} s"
    expected = count_at(clips.duration_s, clips.rate_hz)
    if waveform.samples.shape[1] != expected:
        return f"{waveform.samples.shape[1]} samples of {expected}"
    if not np.isfinite(waveform.samples).all():
        return "the sound has values that are not finite"
    return ""
