"""The video's own sound as a second track of the copy: bit-exact, in time, titled, or refused."""

from __future__ import annotations

import av
import numpy as np
import pytest
from support.media_files import Sound, impulses, make_video, video_packet_bytes, video_packet_times
from support.muxed_copies import quiet_copy

from foleyflow.errors import MediaError
from foleyflow.media import check_copy, probe

AT = 30_000  # sample of the impulse in the original sound


def video_with_sound(path, *, codec="aac", video_codec="libx264", start_s=0.0, tags=None):
    sound = Sound(samples=impulses(96_000, [AT], channels=2), codec=codec, start_s=start_s)
    make_video(path, codec=video_codec, sound=sound, start_s=start_s)
    if tags is None:
        return path
    tagged = path.with_stem(path.stem + "_tagged")
    with av.open(str(path)) as source, av.open(str(tagged), "w") as sink:
        copies = {s.index: sink.add_stream_from_template(s, opaque=True) for s in source.streams}
        copies[source.streams.audio[0].index].metadata.update(tags)
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                sink.mux(packet)
    return tagged


def audio_packets(path, track):
    """(bytes, seconds from the first video packet that is shown) of the packets of a track."""
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        origin_s = min(p.pts * video.time_base for p in source.demux(video) if p.size)
    with av.open(str(path)) as source:
        stream = source.streams.audio[track]
        return [
            (bytes(p), float(p.pts * stream.time_base - origin_s))
            for p in source.demux(stream)
            if p.size
        ]


@pytest.mark.parametrize("start_s", [0.0, 0.48])
@pytest.mark.parametrize(
    ("suffix", "codec", "video_codec", "target"),
    [
        ("mp4", "aac", "libx264", "mp4"),
        ("mp4", "aac", "libx264", "mov"),
        ("mp4", "aac", "libx264", "mkv"),
        ("mkv", "flac", "libx264", "mkv"),
        ("mkv", "libmp3lame", "libx264", "mp4"),
        ("mov", "pcm_s16le", "libx264", "mov"),
        ("webm", "libopus", "libvpx", "webm"),
    ],
)
def test_original_is_copied_exactly_and_in_time(
    tmp_path, suffix, codec, video_codec, target, start_s
):
    video = video_with_sound(
        tmp_path / f"a.{suffix}", codec=codec, video_codec=video_codec, start_s=start_s
    )
    output = tmp_path / f"b.{target}"
    assert quiet_copy(video, output, keep_original=True) == []
    assert video_packet_bytes(output) == video_packet_bytes(video)
    before, after = audio_packets(video, 0), audio_packets(output, 1)
    assert [data for data, _ in after] == [data for data, _ in before]
    times_s = np.subtract([time for _, time in after], [time for _, time in before])
    assert np.abs(times_s).max() < 0.0015
    with av.open(str(output)) as result:
        ours, theirs = result.streams.audio
        default = av.stream.Disposition.default
        assert ours.disposition & default and not theirs.disposition & default
        assert "Original" in (theirs.metadata.get("title"), theirs.metadata.get("name"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_language_and_title_are_kept(tmp_path, suffix):
    tags = {"language": "fra", "title": "Dialogue"}
    video = video_with_sound(tmp_path / f"a.{suffix}", tags=tags)
    quiet_copy(video, tmp_path / f"b.{suffix}", keep_original=True)
    with av.open(str(tmp_path / f"b.{suffix}")) as result:
        found = result.streams.audio[1].metadata
    assert found["language"] == "fra"
    assert "Original (Dialogue)" in (found.get("title"), found.get("name"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_picture_times_do_not_depend_on_the_original(tmp_path, suffix):
    video = video_with_sound(tmp_path / f"a.{suffix}")
    for name, keep in (("b", False), ("c", True)):
        quiet_copy(video, tmp_path / f"{name}.{suffix}", keep_original=keep)
    with_original, without = (video_packet_times(tmp_path / f"{x}.{suffix}") for x in "cb")
    assert with_original == without


@pytest.mark.parametrize(
    ("suffix", "codec", "target", "reason"),
    [
        ("mp4", "aac", "flv", "only one audio track in flv"),
        ("mkv", "flac", "ts", r"audio track 1 \(flac\) does not fit mpegts"),
        ("mkv", "flac", "mov", r"audio track 1 \(flac\) does not fit mov"),
        ("mkv", "flac", "3gp", r"audio track 1 \(flac\) does not fit 3gp"),
    ],
)
def test_formats_that_cannot_hold_the_original_are_refused(tmp_path, suffix, codec, target, reason):
    video = video_with_sound(tmp_path / f"a.{suffix}", codec=codec)
    output = tmp_path / f"b.{target}"
    with pytest.raises(MediaError, match=reason) as raised:
        quiet_copy(video, output, keep_original=True)
    assert raised.value.hint.startswith("choose another format: -o NAME.m")
    assert not output.exists()
    with pytest.raises(MediaError, match=reason):
        check_copy(probe(video), output, keep_original=True)
    check_copy(probe(video), output)


def test_a_silent_video_has_nothing_to_keep(tmp_path):
    video = make_video(tmp_path / "a.mp4")
    assert quiet_copy(video, tmp_path / "b.mp4", keep_original=True) == [
        "a.mp4 has no sound to keep"
    ]
