"""Choose the demuxers that may read a video: those that read a single file.

A playlist names further files or addresses, and libavformat would open them: a playlist from an
untrusted source could put any local file into the result, or access the network. Such formats are
recognised by content, regardless of the file's suffix.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from av.format import formats_available

# Demuxers that open files, addresses or scripts that their input names (libavformat 58 to 62).
_PLAYLISTS = "applehttp concat dash hls imf mpjpeg rtp rtsp sap sdp webm_dash_manifest".split()
_SCRIPTS = "avisynth lavfi sbg vapoursynth".split()
# Demuxers that derive the names of more files from the first: numbered pictures, parts of a film.
_NUMBERED_FILES = "dvdvideo image2 image2pipe mlv vobsub".split()
# Inputs of libavdevice: cameras, screens, microphones.
_DEVICES = (
    "alsa android_camera avfoundation bktr caca decklink dshow fbdev gdigrab iec61883 jack kmsgrab"
    " libcdio libdc1394 openal oss pulse sndio v4l2 vfwcap video4linux2 x11grab xcbgrab"
).split()
REFUSED_DEMUXERS = frozenset([*_PLAYLISTS, *_SCRIPTS, *_NUMBERED_FILES, *_DEVICES])

_JOIN_HINT = (
    "join the listed files into one file first: ffmpeg -i PLAYLIST -c copy joined.mp4"
    " (ffconcat: ffmpeg -f concat -i LIST -c copy joined.mp4)"
)
_SAVE_HINT = "save the stream to a file first: ffmpeg -i SOURCE -c copy saved.mp4"
_HEAD_BYTES = 4096


# Refused formats: a pattern that the first bytes match, a description for the error, and a hint.
_REFUSED_FORMATS = (
    (rb"#EXTM3U", "a playlist (HLS, m3u8), not a video", _JOIN_HINT),
    (rb"ffconcat version", "a list of files (ffconcat), not a video", _JOIN_HINT),
    (rb".*<MPD", "a playlist (DASH, mpd), not a video", _JOIN_HINT),
    (rb".*<CompositionPlaylist", "a playlist (IMF composition), not a video", _JOIN_HINT),
    (rb"v=0[\r\n]", "the description of a network stream (SDP), not a video", _SAVE_HINT),
    (
        rb"RTSP/|RTSPtext|rtsp://",
        "the address of a network stream (RTSP), not a video",
        _SAVE_HINT,
    ),
    (
        rb"MLVI",
        "one part of a Magic Lantern film that consists of several files",
        "convert the film to one mov or mkv file first",
    ),
)


@functools.cache
def allowed_demuxers() -> str:
    """Return the demuxers that read a single file, as libavformat's `format_whitelist` option."""
    names = {name for listed in formats_available for name in listed.split(",")}
    return ",".join(sorted(names - REFUSED_DEMUXERS))


def refused_format(path: Path) -> tuple[str, str] | None:
    """Return (description, hint) for a file of a refused format; None for any other file."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return None  # libavformat's own error is more specific
    for pattern, description, hint in _REFUSED_FORMATS:
        if re.match(pattern, head, re.DOTALL):
            return description, hint
    return None
