"""Which demuxers may read a video: all that read one file only.

A playlist names further files or addresses, and libavformat would open them: a text that a user
was sent could put any local file into the result, or reach the network. Such formats are refused
by their content, whatever the file's suffix.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from av.format import formats_available

# Demuxers that open files, addresses or scripts that their input names (libavformat 58 to 62).
_PLAYLISTS = "applehttp concat dash hls imf mpjpeg rtp rtsp sap sdp webm_dash_manifest".split()
_SCRIPTS = "avisynth lavfi sbg vapoursynth".split()
# Demuxers that look for more files by the name of the first: numbered pictures, parts of a film.
_NUMBERED_FILES = "dvdvideo image2 image2pipe mlv vobsub".split()
# Inputs of libavdevice: cameras, screens, microphones.
_DEVICES = (
    "alsa android_camera avfoundation bktr caca decklink dshow fbdev gdigrab iec61883 jack kmsgrab"
    " libcdio libdc1394 openal oss pulse sndio v4l2 vfwcap video4linux2 x11grab xcbgrab"
).split()
REFUSED_DEMUXERS = frozenset([*_PLAYLISTS, *_SCRIPTS, *_NUMBERED_FILES, *_DEVICES])

_JOIN_HINT = (
    "join what it lists into one file first: ffmpeg -i PLAYLIST -c copy joined.mp4"
    " (ffconcat: ffmpeg -f concat -i LIST -c copy joined.mp4)"
)
_SAVE_HINT = "save the stream into one file first: ffmpeg -i SOURCE -c copy saved.mp4"
_HEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class _Refused:
    """A format that is refused: how its text shows it, what it is, and what to do instead."""

    begins_with: tuple[bytes, ...] = ()
    contains: tuple[bytes, ...] = ()
    what: str
    hint: str


_KNOWN = (
    _Refused(
        begins_with=(b"#EXTM3U",), what="a playlist (HLS, m3u8), not a video", hint=_JOIN_HINT
    ),
    _Refused(
        begins_with=(b"ffconcat version",),
        what="a list of files (ffconcat), not a video",
        hint=_JOIN_HINT,
    ),
    _Refused(contains=(b"<MPD",), what="a playlist (DASH, mpd), not a video", hint=_JOIN_HINT),
    _Refused(
        contains=(b"<CompositionPlaylist",),
        what="a playlist (IMF composition), not a video",
        hint=_JOIN_HINT,
    ),
    _Refused(
        begins_with=(b"v=0\r", b"v=0\n"),
        what="the description of a network stream (SDP), not a video",
        hint=_SAVE_HINT,
    ),
    _Refused(
        begins_with=(b"RTSP/", b"RTSPtext", b"rtsp://"),
        what="the address of a network stream (RTSP), not a video",
        hint=_SAVE_HINT,
    ),
    _Refused(
        begins_with=(b"MLVI",),
        what="a part of a Magic Lantern film, which lies in several files",
        hint="convert it to one mov or mkv file first",
    ),
)


@functools.cache
def allowed_demuxers() -> str:
    """The demuxers that read one file only, as libavformat's option `format_whitelist` takes them.

    Source: libavformat/options_table.h.
    """
    names = {name for listed in formats_available for name in listed.split(",")}
    return ",".join(sorted(names - REFUSED_DEMUXERS))


def refused_format(path: Path) -> tuple[str, str] | None:
    """What a file is that no allowed demuxer reads, where it is a known kind of playlist.

    Args:
        path: a file that libavformat did not open.

    Returns:
        (what it is, a hint), or None if it is none of them.

    Source: ours.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return None  # the error of libavformat says more
    for kind in _KNOWN:
        if head.startswith(kind.begins_with) or any(mark in head for mark in kind.contains):
            return kind.what, kind.hint
    return None
