"""Checks a finished data set: is it whole, does it decode, and do its splits keep to themselves?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foleyflow.clock import count_at
from foleyflow.data.clips import Clips, open_split, read_manifest
from foleyflow.errors import DataError, MediaError


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """What was found in a split.

    Attributes:
        split: its name.
        clips: in it.
        decoded: of them, evenly spread, were decoded.
        labels: different ones.
        problems: in words; empty for a split that is fit to learn from.
    """

    split: str
    clips: int
    decoded: int
    labels: int
    problems: tuple[str, ...]


def check_data(root: Path, *, decode: int = 32) -> list[SplitCheck]:
    """Look at every split of a data set of either kind.

    Args:
        root: its folder.
        decode: clips of each split that are decoded.

    Returns:
        one record for each split that has clips.

    Raises:
        DataError: no data set is there.

    Source: ours.
    """
    checks = []
    videos: dict[str, str] = {}
    for split, count in read_manifest(root)["splits"].items():
        if not count:
            continue
        try:
            clips = open_split(root, split)
            _ = clips.fingerprint  # looks at every file
        except DataError as error:
            checks.append(
                SplitCheck(split=split, clips=count, decoded=0, labels=0, problems=(str(error),))
            )
            continue
        problems, shared = [], 0
        entries = [clips.entry(index) for index in range(len(clips))]
        for entry in entries:
            video = entry.get("video_id")
            shared += video is not None and videos.setdefault(video, split) != split
        if shared:
            problems.append(f"{shared} clips are of videos that another split has too")
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
    """What is wrong with a clip; empty if nothing is."""
    try:
        clip = clips.load(index)
    except (MediaError, DataError, ValueError) as error:
        return " ".join(str(error).split())
    step_s = float(np.median(np.diff(clip.frames.times_s))) if len(clip.frames) > 1 else 0.0
    seen_s = float(clip.frames.times_s[-1]) + step_s
    if abs(seen_s - clips.duration_s) > 0.1 + step_s:
        return f"pictures for {seen_s:.2f} s of {clips.duration_s:g} s"
    wanted = count_at(clips.duration_s, clips.rate_hz)
    if clip.waveform.samples.shape[1] != wanted:
        return f"{clip.waveform.samples.shape[1]} samples of {wanted}"
    if not np.isfinite(clip.waveform.samples).all():
        return "its sound is not finite"
    return ""
