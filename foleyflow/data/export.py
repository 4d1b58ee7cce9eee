"""Export a split as files, for evaluation and for other systems: videos without sound, true sounds.

    OUT/manifest.csv             one row for each clip
    OUT/manifest.json            the data set, the split, and what was left out
    OUT/videos/KEY.mp4           the clip without sound, not encoded again
    OUT/reference/KEY.wav        the true sound, 48 kHz, exactly as long as the clip
    OUT/reference/KEY.mp4        on request, the clip with its sound

Files of a clip appear together after they have been checked. An export that is stopped and rerun
resumes.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.clock import count_at
from foleyflow.data.clip_types import Clips
from foleyflow.data.clips import open_split
from foleyflow.errors import DataError, FoleyflowError, MediaError
from foleyflow.media.clip_encoder import encode_clip
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.reader import read_frames
from foleyflow.media.silent_copy import copy_without_sound
from foleyflow.media.sound_file import write_wav
from foleyflow.media.waveform import fit_length, read_waveform
from foleyflow.media.writer import mux
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.parallel.threads import available_cores, worker_threads
from foleyflow.system.generic_types import Progress
from foleyflow.weights import write_atomically

log = logging.getLogger(__name__)

EXPORT_RATE_HZ = 48_000  # of the true sounds
VIDEOS, REFERENCE = "videos", "reference"
LENGTH_S = 0.1  # by which a video may be longer or shorter than its clip, in addition to a frame
_DRAFT = ".draft-"
_COLUMNS = ("key", "video", "sound", "duration_s", "label", "video_id", "start_s")


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """The result of an export.

    Attributes:
        clips: number of exported clips, including those of earlier runs.
        existed: number of those of earlier runs.
        problems: reason for each clip that could not be exported, by key.
        not_in_data: number of clips of the published split that the data set lacks.
    """

    clips: int
    existed: int
    problems: dict[str, str]
    not_in_data: int


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What is exported where, in any process."""

    root: Path
    split: str
    fingerprint: str
    out: Path
    with_sound: bool

    def targets(self, key: str, *, has_frames: bool) -> dict[str, Path]:
        """The files of a clip: "silent", "with_sound" and "sound", as far as they are wanted."""
        files = {"sound": self.out / REFERENCE / f"{key}.wav"}
        if has_frames:
            files["silent"] = self.out / VIDEOS / f"{key}.mp4"
            if self.with_sound:
                files["with_sound"] = self.out / REFERENCE / f"{key}.mp4"
        return files


def export_split(
    root: Path,
    split: str,
    out: Path,
    *,
    with_sound: bool = False,
    workers: int | None = None,
    parallel_map: ParallelMap | None = None,
    progress: Progress = lambda done, total: None,
) -> ExportSummary:
    """Export the clips of a split of simulated or real clips as files.

    Args:
        root: folder of the data set.
        split: "train", "validation" or "test".
        out: folder of the files; created if missing.
        with_sound: also write the videos with their true sounds.
        workers: threads; None for one per core.
        parallel_map: exports the clips instead of these threads.
        progress: called with the number of clips that are done.

    Raises:
        DataError: there is no such split, or `out` holds other files.
    """
    clips = open_split(root, split)
    job = _Job(
        root=root, split=split, fingerprint=clips.fingerprint, out=out, with_sound=with_sound
    )
    left_out = _left_out(root, split)
    about = {
        "format": "foleyflow-export-1",
        "split": split,
        "fingerprint": clips.fingerprint,
        "sound_rate_hz": EXPORT_RATE_HZ,
        "not_in_data": left_out,
    }
    _refuse_other_files(out, about)
    for path in job.targets("KEY", has_frames=clips.has_frames).values():
        path.parent.mkdir(parents=True, exist_ok=True)
    for draft in out.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)

    # Export what is missing
    existed, problems, rows = 0, {}, []
    with worker_threads(workers or available_cores()) as pool:
        results = (parallel_map or pool.map)(functools.partial(_export, job), range(len(clips)))
        for index, (is_new, problem) in enumerate(results):
            key = key_of(clips, index)
            existed += not is_new
            if problem:
                problems[key] = problem
            else:
                rows.append(_row(clips, index))
            progress(index + 1, len(clips))

    # Describe the files
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(out / "manifest.csv", text.getvalue())
    _write_about(out, about | {"clips": len(rows), "problems": problems})
    return ExportSummary(
        clips=len(rows), existed=existed, problems=problems, not_in_data=len(left_out)
    )


def key_of(clips: Clips, index: int) -> str:
    """The name of a clip's files: its id without the split."""
    return str(clips.entry(index)["id"]).partition("/")[2]


def _export(job: _Job, index: int) -> tuple[bool, str]:
    """Write and check the files of a clip: whether they are new, and a problem or ""."""
    clips = _opened(job.root, job.split, job.fingerprint)
    targets = job.targets(key_of(clips, index), has_frames=clips.has_frames)
    if all(path.exists() for path in targets.values()):
        return False, ""
    duration_s = float(clips.entry(index)["duration_s"])
    with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=job.out) as folder:
        drafts = {kind: Path(folder) / f"{kind}{path.suffix}" for kind, path in targets.items()}
        try:
            _write_files(clips, index, drafts, duration_s)
            _check_files(drafts, duration_s)
        except FoleyflowError as error:
            return True, " ".join(str(error).split())
        for kind, path in targets.items():
            os.replace(drafts[kind], path)
    return True, ""


def _write_files(clips: Clips, index: int, drafts: Mapping[str, Path], duration_s: float) -> None:
    with clips.files(index) as (video, sound):
        samples = read_waveform(sound, rate_hz=EXPORT_RATE_HZ).samples
        samples = fit_length(samples, count_at(duration_s, EXPORT_RATE_HZ))
        write_wav(drafts["sound"], [samples], EXPORT_RATE_HZ)
        if "silent" not in drafts:
            return
        info = probe(video)
        try:
            copy_without_sound(info, drafts["silent"])
        except MediaError as error:
            log.warning("%s: encoded again: %s", key_of(clips, index), error)
            _encode_without_sound(info, drafts["silent"], duration_s)
        if "with_sound" not in drafts:
            return
        if info.has_audio:
            shutil.copyfile(video, drafts["with_sound"])
        else:
            target, length = drafts["with_sound"], samples.shape[1]
            mux(video, target, [samples], rate_hz=EXPORT_RATE_HZ, n_samples=length, info=info)


def _encode_without_sound(info: MediaInfo, target: Path, duration_s: float) -> None:
    """The video of a file whose packets cannot be copied, such as one with unusual edit lists."""
    encoded = target.with_name("encoded.mp4")
    encode_clip(info, encoded, start_s=0.0, duration_s=duration_s, short_side=None)
    copy_without_sound(probe(encoded), target)


def _check_files(drafts: Mapping[str, Path], duration_s: float) -> None:
    """Decode the files of a clip and compare their lengths with the clip's."""
    sound = read_waveform(drafts["sound"])
    expected = count_at(duration_s, EXPORT_RATE_HZ)
    if sound.samples.shape[1] != expected or not np.isfinite(sound.samples).all():
        raise DataError(
            f"the sound has {sound.samples.shape[1]} samples, expected {expected} finite ones"
        )
    for kind in ("silent", "with_sound"):
        if kind in drafts:
            _check_video(probe(drafts[kind]), duration_s, has_audio=kind == "with_sound")


def _check_video(info: MediaInfo, duration_s: float, *, has_audio: bool) -> None:
    times_s = [time_s for time_s, _ in read_frames(info.path, size=8, info=info)]
    step_s = 1 / info.rate_hz
    if abs(times_s[-1] + step_s - duration_s) > LENGTH_S + step_s:
        raise DataError(
            f"the video has frames for {times_s[-1] + step_s:.2f} s, expected {duration_s:g} s"
        )
    if info.has_audio != has_audio:
        raise DataError(f"the video has {'a' if info.has_audio else 'no'} sound track")


@functools.lru_cache(maxsize=4)
def _opened(root: Path, split: str, fingerprint: str) -> Clips:
    """The clips, which each process opens once; `fingerprint` identifies their content."""
    return open_split(root, split)


def _row(clips: Clips, index: int) -> dict[str, Any]:
    entry, key = clips.entry(index), key_of(clips, index)
    return {
        "key": key,
        "video": f"{VIDEOS}/{key}.mp4" if clips.has_frames else "",
        "sound": f"{REFERENCE}/{key}.wav",
        "duration_s": f"{float(entry['duration_s']):g}",
        "label": entry["kind"],
        "video_id": entry.get("video_id", ""),
        "start_s": entry.get("start_s", ""),
    }


def _left_out(root: Path, split: str) -> dict[str, str]:
    """Clips of the published list that the data set lacks, by key, with the reason."""
    path = root / "manifest.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        return {
            row["key"]: row["reason"]
            for row in csv.DictReader(stream)
            if row["split"] == split and row["status"] != "kept"
        }


def _refuse_other_files(out: Path, about: Mapping[str, Any]) -> None:
    """Raise DataError if `out` holds anything but an export of the same clips."""
    path = out / "manifest.json"
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise DataError(
                f"{out}: holds other files than an export", hint="give a new folder as --out"
            )
        out.mkdir(parents=True, exist_ok=True)
        _write_about(out, about)
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        is_same = all(stored[name] == about[name] for name in ("format", "split", "fingerprint"))
    except (ValueError, KeyError, TypeError):
        is_same = False
    if not is_same:
        raise DataError(
            f"{out}: holds other clips than those of this split", hint="give another --out"
        )


def _write_about(out: Path, about: Mapping[str, Any]) -> None:
    write_atomically(out / "manifest.json", json.dumps(about, indent=1) + "\n")
