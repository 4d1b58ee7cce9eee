"""Write a REAPER project: the video, one track per stem, and markers and regions.

The format is text: one setting per line, and blocks between `<NAME` and `>`. REAPER takes its
defaults for settings that are left out. Fields are as in projects that REAPER 7 saves.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from foleyflow.errors import MediaError
from foleyflow.media.output_file import check_output, written_atomically
from foleyflow.signals import Marker

_SUFFIX = ".rpp"
_SOURCE_KINDS = {".wav": "WAVE", ".bwf": "WAVE", ".flac": "FLAC", ".mp3": "MP3", ".ogg": "VORBIS"}
_VIDEO_TRACK_NAME = "Video"
# Of the identifiers of tracks and items, so that a project has the same bytes in every run.
_NAMESPACE = uuid.UUID("3e0c0d86-57c4-5e3b-9f7c-1c3f2f3b7a52")


@dataclass(frozen=True, kw_only=True)
class Stem:
    """A sound file that becomes a track.

    Attributes:
        path: of the sound file.
        name: of the track.
        start_s: place of the sound in the video.
        duration_s: of the sound; None for that of the video.
    """

    path: Path
    name: str
    start_s: float = 0.0
    duration_s: float | None = None


def write_reaper_project(
    path: str | Path,
    *,
    video: str | Path,
    duration_s: float,
    stems: Sequence[Stem],
    markers: Sequence[Marker] = (),
    rate_hz: int,
    frame_rate: Fraction | None = None,
    drops_frames: bool = False,
    start_s: float = 0.0,
    original_is_audible: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a REAPER project next to a video and its stems, and return its path.

    Files are named relative to the folder of the project, so the folder can be moved. The same
    arguments give the same bytes.

    Args:
        path: the project, with the suffix .rpp.
        video: becomes the first track.
        duration_s: of the video, and of stems without their own.
        stems: the other tracks, in this order.
        markers: become markers, and regions if they have an end.
        rate_hz: sample rate of the project.
        frame_rate: of the video, for the ruler; None keeps REAPER's 30 frames per second.
        drops_frames: whether the time code drops frame numbers.
        start_s: time code of the first frame, seconds; the ruler begins with it.
        original_is_audible: play the sound of the video. Otherwise the fader of its track is at the
            bottom: a muted track would hide the picture.
        overwrite: replace an existing project.

    Raises:
        MediaError: the project has another suffix, or it can't be written.
    """
    path = Path(path)
    if path.suffix.lower() != _SUFFIX:
        raise MediaError(
            f"{path}: the suffix does not fit a REAPER project", hint=f"use a name with {_SUFFIX}"
        )
    check_output(path, overwrite=overwrite, source=video)
    ruler = _ruler(frame_rate or Fraction(30), drops_frames=drops_frames)
    lines = ['<REAPER_PROJECT 0.1 "7.0/foleyflow" 0', f"  PROJOFFS {_number(start_s)} 0 0"]
    lines += [f"  TIMEMODE 1 5 -1 {ruler} 0 -1", f"  SAMPLERATE {rate_hz} 1 0"]
    for number, marker in enumerate(sorted(markers, key=lambda marker: marker.time_s), start=1):
        lines += _marker_lines(number, marker)
    volume = 1.0 if original_is_audible else 0.0
    tracks = [(Stem(path=Path(video), name=_VIDEO_TRACK_NAME), "VIDEO", volume)]
    tracks += [(stem, _kind_of(stem.path), 1.0) for stem in stems]
    for number, (track, kind, volume) in enumerate(tracks):
        source = _relative(track.path, path.parent)
        lines += _track_lines(number, track, source, kind=kind, volume=volume, video_s=duration_s)
    lines.append(">")
    with written_atomically(path, overwrite=overwrite) as draft:
        draft.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    return path


def _marker_lines(number: int, marker: Marker) -> Iterator[str]:
    """A marker, or the start and end of a region."""
    is_region = marker.end_s is not None
    name = _quoted(marker.name)
    yield f"  MARKER {number} {_number(marker.time_s)} {name} {int(is_region)}"
    if marker.end_s is not None:
        yield f'  MARKER {number} {_number(marker.end_s)} "" 1'


def _track_lines(
    number: int, stem: Stem, file: str, *, kind: str, volume: float, video_s: float
) -> list[str]:
    """A track with one item, the file of the stem."""
    name, label = stem.name, _quoted(stem.name)
    duration_s = video_s if stem.duration_s is None else stem.duration_s
    return [
        f"  <TRACK {_identifier(number, 'track', name)}",
        f"    NAME {label}",
        f"    VOLPAN {_number(volume)} 0 -1 -1 1",
        "    <ITEM",
        f"      POSITION {_number(stem.start_s)}",
        f"      LENGTH {_number(duration_s)}",
        "      LOOP 0",
        f"      IGUID {_identifier(number, 'item', name)}",
        f"      NAME {label}",
        f"      <SOURCE {kind}",
        f"        FILE {_quoted(file)}",
        "      >",
        "    >",
        "  >",
    ]


def _ruler(frame_rate: Fraction, *, drops_frames: bool) -> str:
    """Frame rate, and how time code counts it: 0 exactly, 1 drops numbers, 2 runs 0.1 % slower."""
    if frame_rate.denominator == 1:
        return f"{frame_rate} 0"
    nominal = round(frame_rate)
    return f"{nominal} {1 if drops_frames else 2}"


def _kind_of(path: Path) -> str:
    kind = _SOURCE_KINDS.get(path.suffix.lower())
    if kind is None:
        raise MediaError(
            f"{path}: no kind of sound is known by the suffix {path.suffix!r}",
            hint="use one of " + " ".join(_SOURCE_KINDS),
        )
    return kind


def _relative(file: Path, folder: Path) -> str:
    """A file as seen from a folder, with forward slashes; absolute on another drive."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:
        return Path(os.path.abspath(file)).as_posix()


def _identifier(number: int, kind: str, name: str) -> str:
    return f"{{{uuid.uuid5(_NAMESPACE, f'{number} {kind} {name}')}}}".upper()


def _number(value: float) -> str:
    """A number without exponent, to a tenth of a nanosecond."""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    """Text in a kind of quotes that it does not contain, on one line."""
    text = " ".join(text.splitlines())
    for quote in "\"'`":
        if quote not in text:
            return f"{quote}{text}{quote}"
    return "`" + text.replace("`", "'") + "`"
