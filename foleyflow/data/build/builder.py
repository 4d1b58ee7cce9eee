"""Build a data set of shards from a list of clips and a folder of files.

`build` examines every clip (in parallel; reports are written block by block), decides which clips
are kept (a function of the list and the reports), and packs these into shards (in parallel; each
shard appears atomically). A build that is killed at any point and rerun resumes, and ends with the
same shards, byte by byte.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow.data.build.duplicates import duplicates
from foleyflow.data.build.examination import ClipReport, ExamineSettings, MusicTagger, examine_clip
from foleyflow.data.build.listing import ClipFile, ListedClip, find_files
from foleyflow.data.build.records import (
    BUILDER_VERSION,
    BuildSettings,
    is_test,
    kinds_of,
    list_key,
    recorded_settings,
    refuse_other_data,
    write_list,
)
from foleyflow.data.clip_types import SHARDS_FORMAT
from foleyflow.data.shards import is_finished, write_shard
from foleyflow.errors import DataError
from foleyflow.media.clip_encoder import can_be_copied, encode_clip
from foleyflow.media.probe import probe
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.parallel.threads import available_cores, worker_threads
from foleyflow.system.generic_types import Progress
from foleyflow.weights import write_atomically

BLOCK_CLIPS = 64  # examined between two writes


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """The content of a finished data set.

    Attributes:
        splits: number of clips of each split.
        rejected: number of clips for each kind of reason (the part before its colon).
        test_listed: number of clips in the list's test split.
        test_left_out: reason for each of them that was left out, by key.
    """

    splits: dict[str, int]
    rejected: dict[str, int]
    shards: int
    test_listed: int
    test_left_out: dict[str, str]


def build(
    rows: Sequence[ListedClip],
    folder: Path,
    out: Path,
    settings: BuildSettings,
    *,
    lags_s: Mapping[str, float] | None = None,
    music: MusicTagger | None = None,
    workers: int | None = None,
    parallel_map: ParallelMap | None = None,
    examining: Progress = lambda done, total: None,
    packing: Progress = lambda done, total: None,
) -> BuildSummary:
    """Examine the clips of a list and pack those that are kept into shards.

    Args:
        rows: the list.
        folder: with the files.
        out: of the data set; created if missing.
        lags_s: of the sound against the picture of each video, positive for late sound, which are
            removed; 0 for those that are not in it.
        music: detects music; its name is in `settings.tagger`.
        workers: threads; None for one per core (decoding releases Python's lock).
        parallel_map: examines clips and packs shards instead of these threads; `music` must then
            be importable in another process.
        examining, packing: called with the progress of each step.

    Raises:
        DataError: `out` holds another data set, or no clip was kept.
    """
    refuse_other_data(out, rows, settings)
    files = find_files(folder, rows)
    work = out / f".examined-{list_key(rows, settings)}"
    work.mkdir(parents=True, exist_ok=True)
    with worker_threads(workers or available_cores()) as pool:
        parallel_map = parallel_map or pool.map
        reports = _examine_all(rows, files, settings.examine, work, parallel_map, music, examining)
        reasons = [report.reason for report in reports]
        keep_test = not settings.examine.filter_test
        for index, reason in duplicates(rows, reports, keep_test=keep_test).items():
            reasons[index] = reason
        clips = [
            _Clip(row, file, report, (lags_s or {}).get(row.video_id, 0.0))
            for row, file, report in zip(rows, files, reports, strict=True)
        ]
        splits = _pack_all(clips, reasons, settings, out, parallel_map, packing)
    write_list(out / "manifest.csv", rows, reports, reasons)
    manifest = {
        "format": SHARDS_FORMAT,
        "builder_version": BUILDER_VERSION,
        "duration_s": settings.examine.duration_s,
        "settings": recorded_settings(rows, settings),
        "splits": splits,
    }
    test = {row.key: reason for row, reason in zip(rows, reasons, strict=True) if is_test(row)}
    if test and not settings.examine.filter_test:
        longest_s = max(row.end_s - row.start_s for row in rows if is_test(row))
        manifest["split_durations_s"] = {"test": round(longest_s, 6)}
    write_atomically(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    if not sum(splits.values()):
        text = "; ".join(f"{count} {reason}" for reason, count in kinds_of(reasons).items())
        raise DataError(f"no clip was kept: {text}", hint=f"see {out / 'manifest.csv'}")
    shards = len(list(out.glob("*/shard-*.tar")))
    return BuildSummary(
        splits=splits,
        rejected=kinds_of(reasons),
        shards=shards,
        test_listed=sum(map(is_test, rows)),
        test_left_out={key: reason for key, reason in test.items() if reason},
    )


def _examine_all(
    rows: Sequence[ListedClip],
    files: Sequence[ClipFile | None],
    settings: ExamineSettings,
    work: Path,
    parallel_map: ParallelMap,
    music: MusicTagger | None,
    progress: Progress,
) -> list[ClipReport]:
    """Reports of all rows; stored ones are reused unless the file has changed."""
    reports: list[ClipReport] = []
    examine = functools.partial(_examine, settings, music)
    for start in range(0, len(rows), BLOCK_CLIPS):
        block = range(start, min(start + BLOCK_CLIPS, len(rows)))
        path = work / f"{start // BLOCK_CLIPS:06d}.json"
        identities = [_identity(files[index]) for index in block]
        stored = _read_block(path, identities)
        missing = [index for index, report in zip(block, stored, strict=True) if report is None]
        new = iter(parallel_map(examine, [(rows[index], files[index]) for index in missing]))
        found = [next(new) if report is None else report for report in stored]
        if missing:
            entries = [
                {"file": name, "report": dataclasses.asdict(report)}
                for name, report in zip(identities, found, strict=True)
            ]
            write_atomically(path, json.dumps(entries) + "\n")
        reports += found
        progress(len(reports), len(rows))
    return reports


def _examine(
    settings: ExamineSettings, music: MusicTagger | None, clip: tuple[ListedClip, ClipFile | None]
) -> ClipReport:
    """The report of one clip, in any process."""
    row, file = clip
    return examine_clip(row, file, settings, music=music)


def _read_block(path: Path, identities: Sequence[str]) -> list[ClipReport | None]:
    if not path.is_file():
        return [None] * len(identities)
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [
        _report_from(entry["report"]) if entry["file"] == name else None
        for entry, name in zip(entries, identities, strict=True)
    ]


def _report_from(stored: dict[str, Any]) -> ClipReport:
    """A report from JSON, whose lists become tuples."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    return ClipReport(**fields)


def _pack_all(
    clips: Sequence[_Clip],
    reasons: Sequence[str],
    settings: BuildSettings,
    out: Path,
    parallel_map: ParallelMap,
    progress: Progress,
) -> dict[str, int]:
    """Write missing shards and remove unplanned ones; returns the number of clips per split."""
    splits: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for index, reason in enumerate(reasons):
        if not reason:
            splits[clips[index].row.split].append(index)
    jobs: list[_Packing] = []
    for split, members in splits.items():
        (out / split).mkdir(exist_ok=True)
        for number, start in enumerate(range(0, len(members), settings.shard_clips)):
            path = out / split / f"shard-{number:06d}.tar"
            chosen = members[start : start + settings.shard_clips]
            jobs.append(_Packing(path, tuple(clips[k] for k in chosen)))
    planned = {job.path.with_suffix(suffix) for job in jobs for suffix in (".tar", ".json")}
    for split in splits:
        for path in (out / split).glob("shard-*"):
            if path not in planned:
                path.unlink()
    for done, _ in enumerate(parallel_map(functools.partial(_pack, settings), jobs), start=1):
        progress(done, len(jobs))
    return {split: len(members) for split, members in splits.items()}


@dataclass(frozen=True)
class _Clip:
    """A clip of the list with its file, its report, and the lag of its sound."""

    row: ListedClip
    file: ClipFile | None
    report: ClipReport
    lag_s: float

    @property
    def is_published(self) -> bool:
        """Whether this is a clip of a test split as published, which has its own length."""
        return self.report.duration_s is not None


@dataclass(frozen=True)
class _Packing:
    """A shard to be written: its path and its clips."""

    path: Path
    clips: tuple[_Clip, ...]


def _pack(settings: BuildSettings, job: _Packing) -> None:
    """Write a shard unless it exists as planned, in any process."""
    plan = hashlib.sha256(
        json.dumps(
            [
                BUILDER_VERSION,
                settings.short_side,
                settings.examine.duration_s,
                [
                    [clip.row.key, clip.row.label, clip.report.start_s, _identity(clip.file)]
                    + ([clip.lag_s] if clip.lag_s else [])
                    + ([{"duration_s": clip.report.duration_s}] if clip.is_published else [])
                    for clip in job.clips
                ],
            ]
        ).encode()
    ).hexdigest()
    if not is_finished(job.path, plan):
        clips = (_packed(clip, settings) for clip in job.clips)
        write_shard(job.path, clips, plan)


def _packed(clip: _Clip, settings: BuildSettings) -> tuple[str, bytes, dict[str, Any]]:
    """Key, mp4 file and labels of a kept clip."""
    row, file, report = clip.row, clip.file, clip.report
    if file is None:
        raise DataError(f"{row.key}: kept without a file", hint="build into a new folder")
    duration_s = report.duration_s or settings.examine.duration_s
    info = probe(file.path)
    copied = not clip.lag_s and can_be_copied(
        info, start_s=report.start_s, duration_s=duration_s, any_rate=clip.is_published
    )
    if copied:
        content = file.path.read_bytes()
    else:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "clip.mp4"
            encode_clip(
                info,
                target,
                start_s=report.start_s,
                duration_s=duration_s,
                short_side=None if clip.is_published else settings.short_side,
                lag_s=clip.lag_s,
            )
            content = target.read_bytes()
    labels = {
        "id": f"{row.split}/{row.key}",
        "kind": row.label,
        "duration_s": duration_s,
        "material": None,
        "striker_material": None,
        "events": [],
        "frictions": [],
        "video_id": row.video_id,
        "start_s": round(row.start_s + report.start_s - file.start_s, 6),
        "encoded_anew": not copied,
    }
    if clip.lag_s:
        labels["removed_lag_s"] = clip.lag_s
    return row.key, content, labels


def _identity(file: ClipFile | None) -> str:
    """Identifies an examined file, in any folder."""
    if file is None:
        return ""
    return f"{file.path.name} {file.path.stat().st_size}"
