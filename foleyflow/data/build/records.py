"""What a data set of shards records about the list and the settings that it was built from."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow.data.build.examination import ClipReport, ExamineSettings
from foleyflow.data.build.listing import ListedClip
from foleyflow.data.clip_types import SHARDS_FORMAT, read_manifest
from foleyflow.errors import DataError
from foleyflow.weights import write_atomically

BUILDER_VERSION = 1  # raised whenever the same files would give other shards


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """Settings that determine the shards, in addition to the list and the files.

    Attributes:
        short_side: of frames that are re-encoded, pixels.
        tagger: name of the music tagger, "" for none.
    """

    examine: ExamineSettings = dataclasses.field(default_factory=ExamineSettings)
    short_side: int = 256
    shard_clips: int = 128
    tagger: str = ""


def is_test(row: ListedClip) -> bool:
    """Whether a clip belongs to the test split."""
    return row.split == "test"


def recorded_settings(rows: Sequence[ListedClip], settings: BuildSettings) -> dict[str, Any]:
    """The settings that determine the shards of a list.

    `filter_test` is not recorded where the test split is filtered, as in all data sets before there
    was that setting, or where there is none.
    """
    record = dataclasses.asdict(settings)
    if settings.examine.filter_test or not any(map(is_test, rows)):
        del record["examine"]["filter_test"]
    return record


def list_key(rows: Sequence[ListedClip], settings: BuildSettings) -> str:
    """Identifies the reports of a list with the settings that they depend on."""
    parts = [
        [dataclasses.astuple(row) for row in rows],
        recorded_settings(rows, settings)["examine"],
    ]
    text = json.dumps([BUILDER_VERSION, settings.tagger, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refuse_other_data(out: Path, rows: Sequence[ListedClip], settings: BuildSettings) -> None:
    """Raise DataError if `out` was begun with another list or settings: shards would be lost."""
    path = out / "manifest.json"
    if path.is_file() and read_manifest(out).get("format") != SHARDS_FORMAT:
        raise DataError(f"{out} holds simulated clips", hint="choose another --out")
    note = out / ".built-from"
    stored = note.read_text(encoding="utf-8") if note.is_file() else None
    built_from = _built_from(rows, settings)
    if stored not in (None, built_from):
        examine = dataclasses.replace(settings.examine, filter_test=True)
        is_filtered = stored == _built_from(rows, dataclasses.replace(settings, examine=examine))
        raise DataError(
            f"{out} was begun with another list, or other settings",
            hint="its test split is filtered: resume it with --filter-test, or give another --out"
            if is_filtered
            else "rerun the same command to resume, or give another --out",
        )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(note, built_from)


def _built_from(rows: Sequence[ListedClip], settings: BuildSettings) -> str:
    """Identifies a data set: its list, and all settings."""
    return json.dumps([list_key(rows, settings), recorded_settings(rows, settings)], sort_keys=True)


def write_list(
    path: Path,
    rows: Sequence[ListedClip],
    reports: Sequence[ClipReport],
    reasons: Sequence[str],
) -> None:
    """Write manifest.csv: every row of the list, kept or rejected with its reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["key", "video_id", "start_s", "split", "label", "status", "reason", "duration_s"]
    writer.writerow(names)
    for row, report, reason in zip(rows, reports, reasons, strict=True):
        status = "rejected" if reason else "kept"
        start_s = row.start_s if reason else report.start_s
        length_s = "" if reason or report.duration_s is None else f"{report.duration_s:g}"
        writer.writerow(
            [row.key, row.video_id, f"{start_s:g}", row.split, row.label, status, reason, length_s]
        )
    write_atomically(path, text.getvalue())


def kinds_of(reasons: Sequence[str]) -> dict[str, int]:
    """The number of clips for each kind of reason, in descending order."""
    return dict(Counter(_kind(reason) for reason in reasons if reason).most_common())


def _kind(reason: str) -> str:
    for start in ("duplicate", "scene cuts"):
        if reason.startswith(start):
            return start
    return reason.partition(":")[0]
