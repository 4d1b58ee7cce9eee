"""The clips of a data set, from its published csv or from a folder, and their files.

Users download the videos themselves. A file is found by its name: `ID_000030.mp4` (the cut-out
segment that starts at 30 s, as VGGSound's downloaders name it), `ID_30000_40000.mp4`
(milliseconds, as AudioSet's downloaders do), or `ID.mp4` (the full video); .mkv, .mov and .webm
are accepted too.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foleyflow.errors import DataError, MediaError
from foleyflow.media.probe import probe

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")
SEGMENT_S = 10.0  # of VGGSound and AudioSet
IMPACTS = ("gh_stick_hits", "hammering_chopping", "drums_percussion")
_AS_PUBLISHED = "give the csv as its authors publish it"


@dataclass(frozen=True, kw_only=True)
class ListedClip:
    """A row of a list of clips.

    Attributes:
        key: unique, unless the list has a segment twice.
        start_s, end_s: the segment of the video.
        label: of the sound, as in the data set.
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
    """The file that contains a clip, whose segment begins at `start_s`.

    Attributes:
        cut_out: the file contains only the segment.
    """

    path: Path
    start_s: float
    cut_out: bool


def read_vggsound(
    path: Path, *, validation: float = 0.01, segment_s: float = SEGMENT_S
) -> list[ListedClip]:
    """Read vggsound.csv: youtube id, start second, label, split; without a header.

    Args:
        validation: fraction of the training videos that become the validation split.

    Raises:
        DataError: the file is missing, or a row has another form (its line is named).

    Reference: Chen et al. 2020, VGGSound.
    """
    clips = []
    for line, cells in _cells(path):
        if len(cells) != 4 or cells[3] not in ("train", "test"):
            raise DataError(
                f"{path}, line {line}: {','.join(cells)!r}, expected: id,start second,label,split",
                hint=_AS_PUBLISHED,
            )
        start_s = _seconds(cells[1], path, line)
        clips.append(
            ListedClip(
                key=f"{cells[0]}_{round(start_s):06d}",
                video_id=cells[0],
                start_s=start_s,
                end_s=start_s + segment_s,
                label=cells[2],
                split=_split(cells[0], cells[3], validation),
            )
        )
    return _not_empty(clips, path)


def read_audioset(
    path: Path, *, split: str = "train", validation: float = 0.01
) -> list[ListedClip]:
    """Read an AudioSet csv: `# YTID, start_seconds, end_seconds, positive_labels`.

    Args:
        split: "train" or "test": which of AudioSet's files it is.
        validation: fraction of the training videos that become the validation split.

    Raises:
        DataError: the file is missing, or a row has another form (its line is named).

    Reference: Gemmeke et al. 2017, AudioSet.
    """
    clips = []
    for line, cells in _cells(path):
        if cells[0].startswith("#"):
            continue
        if len(cells) < 4:
            raise DataError(
                f"{path}, line {line}: {','.join(cells)!r}, expected: id, start, end, labels",
                hint=_AS_PUBLISHED,
            )
        start_s, end_s = (_seconds(cell, path, line) for cell in cells[1:3])
        clips.append(
            ListedClip(
                key=f"{cells[0]}_{_milliseconds(start_s, end_s)}",
                video_id=cells[0],
                start_s=start_s,
                end_s=end_s,
                label=",".join(cells[3:]).strip('"'),
                split=_split(cells[0], split, validation),
            )
        )
    return _not_empty(clips, path)


def read_folder(folder: Path, *, duration_s: float, validation: float = 0.05) -> list[ListedClip]:
    """List the videos of a folder, cut into stretches of equal length; the remainder is dropped.

    A file that can't be opened is listed too, so that it is rejected with its reason later.

    Args:
        folder: with videos, and folders of them; a folder's name is their label.
        validation: fraction of the videos that become the validation split.

    Raises:
        DataError: the folder has no video.
    """
    clips = []
    for path in _videos(folder):
        name = _dashed_name(path, folder)
        try:
            count = max(1, int(probe(path).duration_s / duration_s + 1e-6))
        except MediaError:
            count = 1
        clips += [
            ListedClip(
                # A dot would end the name of a WebDataset sample.
                key=f"{name.replace('.', '_')}_{round(1000 * k * duration_s)}",
                video_id=name,
                start_s=k * duration_s,
                end_s=(k + 1) * duration_s,
                label="" if path.parent == folder else path.parent.name,
                split=_split(name, "train", validation),
            )
            for k in range(count)
        ]
    if not clips:
        raise DataError(
            f"{folder} holds no video", hint=f"put files of {', '.join(SUFFIXES)} there"
        )
    return clips


def find_files(folder: Path, clips: Sequence[ListedClip]) -> list[ClipFile | None]:
    """Find the files of clips in a folder, at any depth; None for clips without a file."""
    by_name: dict[str, Path] = {}
    for path in _videos(folder):
        by_name.setdefault(path.stem, path)
        by_name.setdefault(_dashed_name(path, folder), path)
    found: list[ClipFile | None] = []
    for clip in clips:
        names = (
            f"{clip.video_id}_{round(clip.start_s):06d}",
            f"{clip.video_id}_{_milliseconds(clip.start_s, clip.end_s)}",
        )
        cut = next((by_name[name] for name in names if name in by_name), None)
        if cut is not None:
            found.append(ClipFile(path=cut, start_s=0.0, cut_out=True))
        elif clip.video_id in by_name:
            found.append(ClipFile(path=by_name[clip.video_id], start_s=clip.start_s, cut_out=False))
        else:
            found.append(None)
    return found


def clips_of_categories(
    folder: Path, categories: Collection[str] = IMPACTS, *, clear_onsets_only: bool = True
) -> list[Path]:
    """The clips of a folder that its manifest.csv assigns to some categories.

    The manifest has the columns name, category and clear_onsets. The default categories are those
    of real recordings of impacts.

    Raises:
        DataError: the manifest is missing or lacks one of the columns.
    """
    path = folder / "manifest.csv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [
                folder / row["name"]
                for row in csv.DictReader(stream)
                if row["category"] in categories
                and (row["clear_onsets"] == "yes" or not clear_onsets_only)
            ]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", hint="give the folder of the clips") from error
    except KeyError as error:
        raise DataError(
            f"{path}: no column {error}", hint="expected the columns name, category, clear_onsets"
        ) from error


def _videos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", hint="give the folder of the videos")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _dashed_name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix().replace("/", "-")


def _milliseconds(start_s: float, end_s: float) -> str:
    return f"{round(1000 * start_s)}_{round(1000 * end_s)}"


def _split(video_id: str, split: str, validation: float) -> str:
    """All clips of a video are in one split, which does not depend on the rest of the list."""
    if split != "train":
        return split
    number = int(hashlib.sha256(video_id.encode()).hexdigest()[:8], 16) / 2**32
    return "validation" if number < validation else "train"


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
            f"{path}, line {line}: {text!r} is no number of seconds", hint=_AS_PUBLISHED
        ) from error


def _not_empty(clips: list[ListedClip], path: Path) -> list[ListedClip]:
    if not clips:
        raise DataError(f"{path} lists no clip", hint=_AS_PUBLISHED)
    return clips
