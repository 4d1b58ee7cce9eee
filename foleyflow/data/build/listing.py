"""Which clips a data set has, from its published csv or from a folder, and where their files are.

Downloading is the user's. A file is found by its name: `ID_000030.mp4` (the segment that starts at
30 s, cut out, as VGGSound's downloaders name it), `ID_30000_40000.mp4` (milliseconds, as
AudioSet's do), or `ID.mp4` (the whole video); .mkv, .mov and .webm serve too.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foleyflow.errors import DataError, MediaError
from foleyflow.media.probe import probe

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")
SEGMENT_S = 10.0  # of VGGSound and AudioSet


@dataclass(frozen=True, kw_only=True)
class ListedClip:
    """A row of a data set.

    Attributes:
        key: names the clip; no other row has it, unless the list names a segment twice.
        video_id: names the video.
        start_s, end_s: the segment of the video.
        label: what is heard, as the data set says it.
        split: "train", "validation" or "test".
    """

    key: str
    video_id: str
    start_s: float
    end_s: float
    label: str
    split: str


@dataclass(frozen=True, kw_only=True)
class ClipFile:
    """Where a clip lies.

    Attributes:
        path: of the file.
        start_s: of the segment in the file.
        cut_out: the file is the segment alone.
    """

    path: Path
    start_s: float
    cut_out: bool


def read_vggsound(
    path: Path, *, validation: float = 0.01, segment_s: float = SEGMENT_S
) -> list[ListedClip]:
    """The rows of vggsound.csv: youtube id, start second, label, split; no heading.

    Args:
        path: the csv.
        validation: share of the training videos that become the validation split.
        segment_s: length of a segment.

    Raises:
        DataError: missing, or a row is not of that form (its line is named).

    Source: Chen et al. 2020, VGGSound.
    """
    rows = []
    for line, cells in _cells(path):
        if len(cells) != 4 or cells[3] not in ("train", "test"):
            raise DataError(
                f"{path}, line {line}: {','.join(cells)!r}, expected: id,start second,label,split",
                hint="give vggsound.csv as its authors publish it",
            )
        start_s = _seconds(cells[1], path, line)
        rows.append(
            ListedClip(
                key=f"{cells[0]}_{round(start_s):06d}",
                video_id=cells[0],
                start_s=start_s,
                end_s=start_s + segment_s,
                label=cells[2],
                split=_split(cells[0], cells[3], validation),
            )
        )
    return _some(rows, path)


def read_audioset(
    path: Path, *, split: str = "train", validation: float = 0.01
) -> list[ListedClip]:
    """The rows of an AudioSet csv: `# YTID, start_seconds, end_seconds, positive_labels`.

    Args:
        path: the csv; lines that begin with # are remarks.
        split: "train" or "test": which of AudioSet's files it is.
        validation: share of the training videos that become the validation split.

    Raises:
        DataError: missing, or a row is not of that form (its line is named).

    Source: Gemmeke et al. 2017, AudioSet.
    """
    rows = []
    for line, cells in _cells(path):
        if cells[0].startswith("#"):
            continue
        if len(cells) < 4:
            raise DataError(
                f"{path}, line {line}: {','.join(cells)!r}, expected: id, start, end, labels",
                hint="give a csv of AudioSet's segments as it is published",
            )
        start_s, end_s = (_seconds(cell, path, line) for cell in cells[1:3])
        rows.append(
            ListedClip(
                key=f"{cells[0]}_{round(1000 * start_s)}_{round(1000 * end_s)}",
                video_id=cells[0],
                start_s=start_s,
                end_s=end_s,
                label=",".join(cells[3:]).strip('"'),
                split=_split(cells[0], split, validation),
            )
        )
    return _some(rows, path)


def read_folder(folder: Path, *, duration_s: float, validation: float = 0.05) -> list[ListedClip]:
    """A folder's videos, each cut into stretches of one length; a rest is left over.

    A file that can't be opened is listed too, so that its reason is said later.

    Args:
        folder: with videos, and folders of them; a folder's name is their label.
        duration_s: of each stretch.
        validation: share of the videos that become the validation split.

    Raises:
        DataError: no video there.

    Source: ours.
    """
    rows = []
    for path in _videos(folder):
        name = path.relative_to(folder).with_suffix("").as_posix().replace("/", "-")
        try:
            count = max(1, int(probe(path).duration_s / duration_s + 1e-6))
        except MediaError:
            count = 1
        rows += [
            ListedClip(
                # A dot in it would end the name of a WebDataset sample.
                key=f"{name.replace('.', '_')}_{round(1000 * k * duration_s)}",
                video_id=name,
                start_s=k * duration_s,
                end_s=(k + 1) * duration_s,
                label="" if path.parent == folder else path.parent.name,
                split=_split(name, "train", validation),
            )
            for k in range(count)
        ]
    if not rows:
        raise DataError(
            f"{folder} holds no video", hint=f"put files of {', '.join(SUFFIXES)} there"
        )
    return rows


def find_files(folder: Path, rows: Sequence[ListedClip]) -> list[ClipFile | None]:
    """Where the files of clips are; None for those that were not downloaded.

    Args:
        folder: with the files, in any depth.
        rows: of a list.

    Source: ours.
    """
    by_name: dict[str, Path] = {}
    for path in _videos(folder):
        by_name.setdefault(path.stem, path)
        whole = path.relative_to(folder).with_suffix("").as_posix().replace("/", "-")
        by_name.setdefault(whole, path)
    found: list[ClipFile | None] = []
    for row in rows:
        milliseconds = f"{row.video_id}_{round(1000 * row.start_s)}_{round(1000 * row.end_s)}"
        names = (f"{row.video_id}_{round(row.start_s):06d}", milliseconds)
        cut = next((by_name[name] for name in names if name in by_name), None)
        if cut is not None:
            found.append(ClipFile(path=cut, start_s=0.0, cut_out=True))
        elif row.video_id in by_name:
            found.append(ClipFile(path=by_name[row.video_id], start_s=row.start_s, cut_out=False))
        else:
            found.append(None)
    return found


def _videos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", hint="name the folder of the videos")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _split(video_id: str, split: str, validation: float) -> str:
    """All clips of a video come into one split, whatever else is in the list."""
    if split != "train":
        return split
    draw = int(hashlib.sha256(video_id.encode()).hexdigest()[:8], 16) / 2**32
    return "validation" if draw < validation else "train"


def _cells(path: Path) -> Iterable[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for line, cells in enumerate(csv.reader(stream, skipinitialspace=True), start=1):
                if cells:
                    yield line, [cell.strip() for cell in cells]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", hint="fetch the data set's csv first") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file", hint="give the data set's csv") from error


def _seconds(text: str, path: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(
            f"{path}, line {line}: {text!r} is no number of seconds",
            hint="give the csv as its authors publish it",
        ) from error


def _some(rows: list[ListedClip], path: Path) -> list[ListedClip]:
    if not rows:
        raise DataError(f"{path} lists no clip", hint="give the csv as its authors publish it")
    return rows
