"""Playlists and similar files are refused by their content, regardless of their suffix."""

import os
import socket

import av
import pytest
from support.media_files import encoded_picture, make_video

from foleyflow.errors import MediaError
from foleyflow.media import probe, read_waveform
from foleyflow.media.demuxers import REFUSED_DEMUXERS, allowed_demuxers

HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:2,\n{name}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile {name}\n"
# Playlists that libavformat opens, and files that name files or addresses.
LISTS = {
    "m3u8": (HLS, "playlist"),
    "ffconcat": (CONCAT, "list of files"),
}
OTHERS = {
    "mpd": ('<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>', "DASH"),
    "sdp": ("v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "SDP"),
    "xml": ('<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">', "IMF"),
    "m3u": ("#EXTM3U\nother.mp4\n", "playlist"),
    "MLV": ("MLVI" + 200 * "\0", "Magic Lantern"),
}


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """A video that the user did not name."""
    return make_video(tmp_path_factory.mktemp("secret") / "secret.ts", n_frames=50)


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("suffix", ["", ".mp4", ".WAV"])
def test_playlist_opens_no_other_file(secret, kind, suffix):
    text, description = LISTS[kind]
    path = secret.parent / f"list.{kind}{suffix}"
    path.write_text(text.format(name=secret.name))
    if not suffix:
        with av.open(str(path)) as container:  # libavformat itself would open it
            assert container.streams.video
    for read in (probe, read_waveform):
        with pytest.raises(MediaError, match=description) as caught:
            read(path)
        assert "ffmpeg" in caught.value.hint


@pytest.mark.parametrize("kind", OTHERS)
def test_file_that_names_files_or_addresses_is_refused(tmp_path, kind):
    text, description = OTHERS[kind]
    path = tmp_path / "list.mp4"
    path.write_text(text)
    with pytest.raises(MediaError, match=description):
        probe(path)


def test_playlist_after_byte_order_mark_and_blank_lines_is_refused(tmp_path):
    path = tmp_path / "list.mp4"
    path.write_bytes(b"\xef\xbb\xbf\r\n#EXTM3U\nother.mp4\n")
    with pytest.raises(MediaError, match="playlist"):
        probe(path)


def test_name_with_a_pattern_opens_no_numbered_pictures(tmp_path):
    for name in ("a1.png", "a2.png", "a%d.png"):
        (tmp_path / name).write_bytes(encoded_picture())
    with pytest.raises(MediaError, match=r"not a (media file|video)"):
        probe(tmp_path / "a%d.png")


def test_demuxers_of_single_files_are_allowed():
    allowed = set(allowed_demuxers().split(","))
    assert set("mov mp4 matroska webm avi mpegts flv wav ogg nut".split()) <= allowed
    assert not allowed & REFUSED_DEMUXERS


@pytest.mark.parametrize(
    ("kind", "match"), [("fifo", "a pipe"), ("socket", "a socket"), ("device", "a device")]
)
def test_pipes_sockets_and_devices_are_refused(tmp_path, kind, match):
    path = tmp_path / "a.mp4"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.symlink_to(os.devnull)
    with pytest.raises(MediaError, match=f"{match} can't be used as a file") as caught:
        probe(path)
    assert caught.value.hint


def test_broken_links_and_missing_files_are_refused(tmp_path):
    (tmp_path / "gone.mp4").symlink_to("missing.mp4")
    with pytest.raises(MediaError, match=r"link to missing\.mp4, which does not exist"):
        probe(tmp_path / "gone.mp4")
    (tmp_path / "round.mp4").symlink_to("round.mp4")
    with pytest.raises(MediaError, match="leads back to itself"):
        probe(tmp_path / "round.mp4")
    with pytest.raises(MediaError, match="no such file"):
        probe(tmp_path / ("x" * 300))
