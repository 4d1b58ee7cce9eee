"""Write results: a copy of a video with a new audio track, or the sound alone as wav.

An output appears complete or not at all: it is written under another name in the same folder and
renamed at the end.
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
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.media.formats import FORMATS, format_of
from foleyflow.media.input_file import open_input
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.remux import Remux, check_fits, suffixes_holding
from foleyflow.media.resource_errors import raise_if_out_of_resources
from foleyflow.media.sound_track import SoundTrack
from foleyflow.media.verification import verify_copy
from foleyflow.system.atomic_files import draft_of, write_target

logger = logging.getLogger(__name__)

# The copied video may be shorter than the result of `probe` by this much.
_LARGEST_LOSS_S = 0.1
# For videos in containers that can't be written, the most capable format first.
_DEFAULT_SUFFIXES = (".mkv", ".mov", ".mp4")
# A wav file stores its size in 32 bits.
_LARGEST_WAV_BYTES = 2**32 - 1024


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
) -> list[str]:
    """Write a copy of a video with a new audio track; returns descriptions of what was lost.

    Video packets, their times, rotation and colour data are copied; subtitles, chapters, metadata,
    cover art and attachments are kept if the output's format can hold them. The new sound begins
    with the first shown frame.

    Args:
        video_path: the video.
        output_path: where to write; its suffix decides the format.
        sound_blocks: (channels, n) float32 blocks, 1 or 2 channels, full scale at -1..1; they are
            consumed while the video is copied.
        rate_hz: sample rate of the sound.
        n_samples: length of the sound, at least 1; it is cut or extended by zeros.
        overwrite: replace an existing output.
        keep_old_sound: keep the old audio tracks after the new one.
        info: the result of `probe` for the video, if it is known.

    Raises:
        MediaError: the video can't be used, the output can't be written, or its format can't hold
            this video. No output is left, and an existing one stays unchanged.
        ValueError: fewer than 1 sample, or not 1 or 2 channels.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples: got {n_samples}, expected at least 1")
    # Refuse what can't be written before any work
    output_path = Path(output_path)
    output_format = format_of(output_path)
    check_output(output_path, overwrite=overwrite, source=video_path)
    info = info or probe(video_path)
    with (
        _write_atomically(output_path, overwrite=overwrite) as draft,
        open_input(video_path) as source,
    ):
        check_fits(info, source, output_path, output_format)
        # Copy the packets and encode the sound
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
        # Compare the copy with its source; the span lacks a frame if the last one has no duration
        if info.duration_s - remux.shown.span_s > max(_LARGEST_LOSS_S, 2 / info.rate_hz):
            raise MediaError(
                f"{video_path}: only {remux.shown.span_s:.2f} s of {info.duration_s:.2f} s of video"
                " can be copied; the file is damaged",
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
    return dropped


def check_copy(info: MediaInfo, output_path: str | Path) -> None:
    """Refuse an output whose format can't hold a video.

    Raises:
        MediaError: no format has the output's suffix, or it can't hold the video unchanged.
    """
    output_path = Path(output_path)
    output_format = format_of(output_path)
    with open_input(info.path) as source:
        check_fits(info, source, output_path, output_format)


def default_suffix(video_path: str | Path) -> str:
    """Return the default suffix for an output: the video's own, or one that can hold it.

    A video that can't be used gets its own suffix or .mkv; opening it raises the error.
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
    overwrite: bool = False,
) -> Path:
    """Write (channels, n) float32 blocks as PCM wav with 24 bits, and return the path.

    Values outside -1..1 are clipped.

    Raises:
        MediaError: the file can't be written, or would exceed the 4 GiB of a wav file.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    blocks = iter(blocks)
    with _write_atomically(path, overwrite=overwrite) as draft, wave.open(str(draft), "wb") as file:
        first = next(blocks, np.zeros((1, 0), np.float32))
        file.setnchannels(first.shape[0])
        file.setsampwidth(3)
        file.setframerate(rate_hz)
        bytes_left = _LARGEST_WAV_BYTES
        for block in itertools.chain([first], blocks):
            data = _pcm(block)
            bytes_left -= len(data)
            if bytes_left < 0:
                raise MediaError(
                    f"{path}: the sound exceeds the 4 GiB that a wav file can hold",
                    hint="cut the video into parts",
                )
            file.writeframesraw(data)
    return path


def check_output(
    path: str | Path, *, overwrite: bool = False, source: str | Path | None = None
) -> None:
    """Refuse an output that can't be written, or that is the input `source`.

    A symbolic link is followed; its target need not exist. See `atomic_files.write_target`.

    Raises:
        MediaError: the file exists, is the input, or has a name that is too long; or its folder is
            missing or not writable.
    """
    path = Path(path)
    if not path.name:
        raise MediaError(f"{path}: not the name of a file", hint="give a file name with -o")
    try:
        target = write_target(path)
        folder = target.parent
        status = None
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.stat(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{path}: is a directory", hint="give the name of a file in it")
        if not folder.is_dir():
            raise _folder_error(path, target)
        if status is not None:
            if not stat.S_ISREG(status.st_mode):
                raise MediaError(
                    f"{path}: is a pipe or a device, not a file", hint="choose another name with -o"
                )
            if source is not None and Path(source).exists() and os.path.samefile(path, source):
                raise MediaError(
                    f"{path}: the output is the input itself", hint="choose another name with -o"
                )
            if not overwrite:
                raise MediaError(f"{path}: already exists", hint="use --overwrite to replace it")
    except OSError as error:
        raise _write_error(path, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MediaError(f"{folder}: not allowed to write there", hint="choose another folder")


def _folder_error(path: Path, target: Path) -> MediaError:
    """The error for an output whose folder does not exist."""
    folder = target.parent
    if os.path.lexists(folder) and not folder.is_symlink():
        return MediaError(f"{folder}: is a file, not a folder", hint="choose another folder")
    if target != path:
        return MediaError(
            f"{path}: a symbolic link to {target}, whose folder does not exist",
            hint=f"mkdir -p {folder}, or choose another name with -o",
        )
    return MediaError(f"{folder}: no such folder", hint=f"mkdir -p {folder}")


def _pcm(block: NDArray[np.float32]) -> bytes:
    """(channels, n) samples as interleaved little-endian integers of 24 bits."""
    full_scale = 2.0**23
    levels = np.rint(block.T.astype(np.float64) * full_scale)
    levels = np.clip(levels, -full_scale, full_scale - 1.0).astype("<i4")
    return np.ascontiguousarray(levels).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


@contextlib.contextmanager
def _write_atomically(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A draft that takes the place of `path` at the end, or is removed on an error.

    Errors of the system and of libav become a MediaError.
    """
    try:
        with draft_of(path) as draft:
            yield draft
            with open(draft, "rb+") as file:
                os.fsync(file.fileno())
            check_output(path, overwrite=overwrite)  # it may exist by now
    except (av.FFmpegError, OSError) as error:
        raise_if_out_of_resources(error)
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
            " most disks allow 255)",
            hint="choose a shorter name with -o",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError(
        f"{path}: can't be written ({reason})", hint="choose another folder or format with -o"
    )
