"""Open input files, read their packets, and refuse unusable files with a reason and a hint."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from foleyflow.errors import MediaError
from foleyflow.media.demuxers import allowed_demuxers, refused_format
from foleyflow.media.resource_errors import raise_if_out_of_resources

logger = logging.getLogger(__name__)

_PIPE_HINT = "use `foleyflow generate - -o NAME`, which reads standard input, or save it to a file"
_NOT_FILES = {stat.S_IFIFO: ("a pipe", _PIPE_HINT), stat.S_IFSOCK: ("a socket", _PIPE_HINT)}
# By default libavformat analyses five seconds of a file and returns sound in small packets. The
# header of a wav file is complete, and large packets take far less time.
_WAV_OPTIONS = {"probesize": "65536", "max_size": "65536"}
# "Demuxers" that turn text or a single picture into a video stream.
_NOT_VIDEO_FORMATS = frozenset({"tty", "image2", "bin", "xbin", "adf", "idf", "lrc", "srt"})


@contextmanager
def open_input(
    path: str | Path, *, options: Mapping[str, str] | None = None
) -> Iterator[InputContainer]:
    """Open a media file for reading, with additional options of the demuxer.

    The path is never interpreted as a URL or a pattern. Formats that name further files, such as
    playlists, are refused.

    Raises:
        MediaError: the file is missing, a directory, a pipe, empty, unreadable, a playlist or not
            a media file.
    """
    path = Path(path)
    settings = {"format_whitelist": allowed_demuxers(), "protocol_whitelist": "file"}
    settings |= options or {}
    if path.suffix.lower() == ".wav":
        settings |= _WAV_OPTIONS
    try:
        _check_is_file(path)
        # With the explicit protocol, libavformat does not read a colon in the name as another one.
        container = av.open(f"file:{path}", "r", metadata_errors="replace", options=settings)
    except PermissionError as error:
        raise MediaError(
            f"{path}: no permission to read the file", hint="change the file's permissions"
        ) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise_if_out_of_resources(error)
        refused = refused_format(path)
        if refused is not None:
            description, hint = refused
            raise MediaError(
                f"{path}: {description}; the files that it names are not opened", hint=hint
            ) from error
        raise MediaError(
            f"{path}: not a media file that can be read ({_reason(error)})",
            hint="check that the file plays; it may be of another kind, or truncated (mp4 and mov"
            " files usually store their index at the end)",
        ) from error
    with container:
        yield container


def _check_is_file(path: Path) -> None:
    """Refuse everything but a regular file with content: it is opened several times."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise _not_found(path, error) from error
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise MediaError(f"{path}: is a directory, not a file", hint="name a video file in it")
    if kind != stat.S_IFREG:
        name, hint = _NOT_FILES.get(kind, ("a device", "record from it into a file first"))
        raise MediaError(f"{path}: {name} can't be used as a file", hint=hint)
    if status.st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes)", hint="copy or export it again")


def _not_found(path: Path, error: OSError) -> MediaError | OSError:
    hint = "check the name and the folder"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if not os.path.islink(path):
            return MediaError(f"{path}: no such file", hint=hint)
        target = os.readlink(path)
        return MediaError(
            f"{path}: a symbolic link to {target}, which does not exist",
            hint="repair the link, or name the video file itself",
        )
    if error.errno == errno.ELOOP:
        return MediaError(
            f"{path}: a symbolic link that leads back to itself", hint="name the video file itself"
        )
    if error.errno == errno.ENAMETOOLONG:
        text = "no such file (the name is longer than a file name can be)"
        return MediaError(f"{path}: {text}", hint=hint)
    return error


def pick_video(container: InputContainer, path: str | Path) -> VideoStream:
    """Return the stream that a player would show; `path` names the file in errors.

    Raises:
        MediaError: the file has no usable video stream: it is audio with or without cover art,
            text, or a still picture.
    """
    names = format_names(container)
    if names & _NOT_VIDEO_FORMATS or any(name.endswith("_pipe") for name in names):
        raise MediaError(
            f"{path}: not a video (its format is {container.format.name})",
            hint="give a video file, such as mp4, mov, mkv or webm",
        )
    streams = [s for s in container.streams.video if not is_cover_art(s)]
    if not streams:
        kind = "sound only, no video stream" if container.streams.audio else "no video stream"
        raise MediaError(f"{path}: the file has {kind}", hint="give a file with a video stream")
    usable = [s for s in streams if s.codec_context is not None]
    if not usable:
        raise MediaError(
            f"{path}: there is no decoder for its video codec", hint="convert it to h264 first"
        )
    preferred = [s for s in usable if s.disposition & Disposition.default]
    return (preferred or usable)[0]


def format_names(container: InputContainer) -> set[str]:
    """Return libavformat's names of a file's format; mp4 and mov files have all of their names."""
    return set(container.format.name.split(","))


def is_cover_art(stream: Stream) -> bool:
    """Return whether a stream is a still picture attached to the file."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def time_base_of(stream: Stream) -> Fraction:
    """Return the seconds per tick of a stream's time stamps."""
    return stream.time_base or Fraction(1, av.time_base)


def read_packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet]:
    """Read packets of some streams in file order; a read error is logged and ends the file.

    The last packets, one for each stream, are empty: they flush a decoder.
    """
    try:
        yield from container.demux(*streams)
    except (av.FFmpegError, OSError) as error:
        # A demuxer starts no threads; those of transport streams ask for more data at their end
        if not isinstance(error, av.error.BlockingIOError):
            raise_if_out_of_resources(error)
        name = container.name.removeprefix("file:")
        logger.warning("%s: the rest of the file can't be read: %s", name, _reason(error))
        for stream in streams:
            flush = Packet()
            flush.stream = stream
            yield flush


def first_packet(path: Path, stream_index: int) -> bytes:
    """Return the content of a stream's first packet; empty if it has none."""
    with open_input(path) as container:
        for packet in read_packets(container, [container.streams[stream_index]]):
            if packet.size:
                return bytes(packet)
    return b""


def picture_hash(path: Path) -> str:
    """SHA-256 of the packets of a file's video stream; equal for a copy that is not re-encoded."""
    digest = hashlib.sha256()
    with open_input(path) as container:
        for packet in read_packets(container, [pick_video(container, path)]):
            digest.update(bytes(packet))
    return digest.hexdigest()


def discard_others(container: InputContainer, stream: Stream) -> None:
    """Make the demuxer skip every stream but one."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
