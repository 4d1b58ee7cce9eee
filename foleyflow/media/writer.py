"""Writes results: the same video with a new sound track, or the sound alone as wav.

An output appears whole or not at all: it is written beside its final name and moved there at the
end. The video is copied, see `remux`; what the sound is, and how loud, was decided before.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import stat
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.media.formats import FORMATS, format_of
from foleyflow.media.probe import MediaInfo, open_input, probe
from foleyflow.media.remux import Remux, check_fits, suffixes_holding
from foleyflow.media.resource_errors import raise_shortage
from foleyflow.media.sound_track import SoundTrack
from foleyflow.media.verification import verify_copy
from foleyflow.system.atomic_files import draft_of, write_target

logger = logging.getLogger(__name__)

# By how much the video that was copied may be shorter than the one that was looked at.
_LARGEST_LOSS_S = 0.1
# For videos whose own container is not written, the most capable first.
_DEFAULT_SUFFIXES = (".mkv", ".mov", ".mp4")
# A wav file counts its bytes in 32 bits.
_LARGEST_WAV_BYTES = 2**32 - 1024


@dataclass(frozen=True, kw_only=True)
class MuxReport:
    """What was written.

    Attributes:
        output: the new file.
        sound_codec: codec of the new sound track.
        dropped: what the output's format can't hold, in words; empty if all was kept.
    """

    output: Path
    sound_codec: str
    dropped: tuple[str, ...]


def mux(
    video_path: str | Path,
    output_path: str | Path,
    sound_blocks: Iterable[NDArray[np.float32]],
    *,
    rate_hz: int,
    n_samples: int,
    overwrite: bool = False,
    keep_old_sound: bool = False,
    info: MediaInfo | None = None,
) -> MuxReport:
    """Write a copy of a video with a new sound track.

    Video packets, their times, rotation and colour data are copied; subtitles, chapters, metadata,
    cover art and attachments are kept where the output's format can hold them. The new sound begins
    with the first shown frame and is exactly `n_samples` long: cut, or filled with zeros.

    Args:
        video_path: the video.
        output_path: where to write; its suffix decides the format.
        sound_blocks: (channels, n) float32 pieces, 1 or 2 channels, full scale at -1..1; they are
            taken as they are needed.
        rate_hz: rate of the sound.
        n_samples: length of the sound, at least 1.
        overwrite: replace an existing output.
        keep_old_sound: keep the old sound tracks behind the new one.
        info: what `probe` said of the video, to spare a second look.

    Returns:
        What was written and what had to be left out.

    Raises:
        MediaError: the video can't be used, the output can't be written, or its format does not
            take this video. No output is left, and an existing one stays as it was.
        ValueError: fewer than 1 sample, or not 1 or 2 channels.

    Source: ours.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples: got {n_samples}, expected at least 1")
    output_path = Path(output_path)
    output_format = format_of(output_path)
    check_output(output_path, overwrite=overwrite, source=video_path)
    info = info or probe(video_path)
    with (
        _written_whole(output_path, overwrite=overwrite) as draft,
        open_input(video_path) as source,
    ):
        check_fits(info, source, output_path, output_format)
        sound = SoundTrack(
            sound_blocks,
            rate_hz=rate_hz,
            sample_count=n_samples,
            output_format=output_format,
            start_s=max(info.start_s, 0.0) if output_format.has_edit_lists else info.start_s,
        )
        remux = Remux(
            source, draft, output_format, info=info, sound=sound, keep_old_sound=keep_old_sound
        )
        remux.run()
        # The last packet may say no duration: then it lacks a frame.
        if info.duration_s - remux.shown.span_s > max(_LARGEST_LOSS_S, 2 / info.rate_hz):
            raise MediaError(
                f"{video_path}: {remux.shown.span_s:.2f} s of {info.duration_s:.2f} s of video can"
                " be copied; the file is damaged there",
                hint="copy or export the file again",
            )
        video = cast(VideoStream, source.streams[info.video_index])
        dropped = remux.dropped + verify_copy(
            source,
            video,
            remux.shown,
            draft,
            output_path,
            output_format,
            sound_s=sound.duration_s,
            lead_s=max(info.start_s, 0.0),
        )
    for text in dropped:
        logger.warning("%s: %s", output_path, text)
    return MuxReport(output=output_path, sound_codec=sound.codec, dropped=tuple(dropped))


def check_copy(info: MediaInfo, output_path: str | Path) -> None:
    """Say at once, before any work, whether a video can be copied into an output's format.

    Args:
        info: what `probe` said of the video.
        output_path: the file that is going to be written; its suffix decides the format.

    Raises:
        MediaError: no format has that suffix, or the format can't hold the video as it is.
    """
    output_path = Path(output_path)
    output_format = format_of(output_path)
    with open_input(info.path) as source:
        check_fits(info, source, output_path, output_format)


def default_suffix(video_path: str | Path) -> str:
    """Suffix of the output where nobody names one: the video's own, or one that can hold it.

    Args:
        video_path: the video; where it can't be used, its suffix or .mkv is given, and whoever
            opens it says why.
    """
    suffix = Path(video_path).suffix
    if suffix.lower() in FORMATS:
        return suffix
    try:
        info = probe(video_path)
        with open_input(video_path) as source:
            holding = suffixes_holding(info, source)
    except MediaError:
        return _DEFAULT_SUFFIXES[0]
    preferred = [suffix for suffix in _DEFAULT_SUFFIXES if suffix in holding]
    return (preferred + holding + [_DEFAULT_SUFFIXES[0]])[0]


def write_wav(
    path: str | Path,
    blocks: Iterable[NDArray[np.float32]],
    rate_hz: int,
    *,
    bits: int = 24,
    overwrite: bool = False,
) -> Path:
    """Write sound as PCM wav, piece by piece.

    Args:
        path: where to write.
        blocks: (channels, n) float32 pieces; what exceeds -1..1 is clipped.
        rate_hz: sample rate.
        bits: 16 or 24 per sample.
        overwrite: replace an existing file.

    Returns:
        The path.

    Raises:
        MediaError: the file can't be written, or would exceed the 4 GiB of a wav file.
        ValueError: another number of bits.

    Source: ours.
    """
    if bits not in (16, 24):
        raise ValueError(f"bits: got {bits}, expected 16 or 24")
    path = Path(path)
    check_output(path, overwrite=overwrite)
    pieces = iter(blocks)
    with _written_whole(path, overwrite=overwrite) as draft, wave.open(str(draft), "wb") as file:
        first = next(pieces, np.zeros((1, 0), np.float32))
        file.setnchannels(first.shape[0])
        file.setsampwidth(bits // 8)
        file.setframerate(rate_hz)
        bytes_left = _LARGEST_WAV_BYTES
        for block in itertools.chain([first], pieces):
            data = _pcm(block, bits)
            bytes_left -= len(data)
            if bytes_left < 0:
                raise MediaError(
                    f"{path}: the sound does not fit the 4 GiB of a wav file",
                    hint="write 16 bits, one channel, or a part of it",
                )
            file.writeframesraw(data)
    return path


def check_output(
    path: str | Path, *, overwrite: bool = False, source: str | Path | None = None
) -> None:
    """Say at once, before any work, whether an output can be written.

    A symbolic link counts as the file that it leads to, which is what will be written; a link to a
    file that is not there yet is no obstacle. See `drafts.write_target`.

    Args:
        path: the file that is going to be written.
        overwrite: an existing file may be replaced.
        source: the input, which must not be the output.

    Raises:
        MediaError: the file exists, is the input, its name is too long, or its folder is missing
            or not writable.

    Source: ours.
    """
    path = Path(path)
    if not path.name:
        raise MediaError(f"{path}: names no file", hint="give a file name with -o")
    try:
        target = write_target(path)
        there = _status_of(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise MediaError(f"{path}: is a directory", hint="name a file within it")
        folder = target.parent
        if not folder.is_dir():
            raise _no_folder(path, target)
        if there is not None:
            if not stat.S_ISREG(there.st_mode):
                raise MediaError(
                    f"{path}: is a pipe or a device, not a file", hint="choose another name with -o"
                )
            if source is not None and Path(source).exists() and os.path.samefile(path, source):
                raise MediaError(
                    f"{path}: the output is the input itself", hint="choose another name with -o"
                )
            if not overwrite:
                raise MediaError(f"{path}: exists already", hint="--overwrite replaces it")
    except OSError as error:
        raise _write_error(path, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MediaError(f"{folder}: not allowed to write there", hint="choose another folder")


def _status_of(path: Path) -> os.stat_result | None:
    """What lies at a path, links followed; None if nothing does."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _no_folder(path: Path, target: Path) -> MediaError:
    """Why a file can't lie where its folder is not."""
    folder = target.parent
    if os.path.lexists(folder) and not folder.is_symlink():
        return MediaError(f"{folder}: is a file, not a folder", hint="choose another folder")
    if target != path:
        return MediaError(
            f"{path}: links to {target}, whose folder is not there",
            hint=f"mkdir -p {folder}, or choose another name with -o",
        )
    return MediaError(f"{folder}: no such folder", hint=f"mkdir -p {folder}")


def _pcm(block: NDArray[np.float32], bits: int) -> bytes:
    """(channels, n) samples as interleaved little-endian integers."""
    full_scale = 2.0 ** (bits - 1)
    levels = np.rint(block.T.astype(np.float64) * full_scale)
    levels = np.clip(levels, -full_scale, full_scale - 1.0).astype("<i4")
    if bits == 16:
        return levels.astype("<i2").tobytes()
    return np.ascontiguousarray(levels).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


@contextlib.contextmanager
def _written_whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A draft beside `path` that takes its place at the end, or vanishes.

    Whatever the system or libav says while it is written becomes a MediaError.
    """
    try:
        with draft_of(path) as draft:
            yield draft
            with open(draft, "rb+") as file:
                os.fsync(file.fileno())
            check_output(path, overwrite=overwrite)  # it may have come to exist meanwhile
    except (av.FFmpegError, OSError) as error:
        raise_shortage(error)
        raise _write_error(path, error) from error


def _write_error(path: Path, error: Exception) -> MediaError:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return MediaError(
            f"{path}: no space left on the disk of {path.parent}",
            hint="free some space or choose another folder with -o",
        )
    if getattr(error, "errno", None) == errno.ENAMETOOLONG:
        return MediaError(
            f"{path}: the file name is too long ({len(os.fsencode(path.name))} bytes;"
            " most disks take 255)",
            hint="choose a shorter name with -o",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError(
        f"{path}: can't be written ({reason})", hint="choose another place or format with -o"
    )
