"""Muxing copies the video unchanged, places sound on the right sample, and leaves no drafts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.media_files import (
    SHARED_CLIPS,
    Sound,
    corner_painter,
    cut_bytes,
    impulses,
    make_video,
    video_packet_bytes,
    video_packet_times,
)
from support.muxed_copies import copy_packets, quiet_copy

from foleyflow import clock
from foleyflow.errors import MediaError
from foleyflow.media import check_output, mux, probe, read_frames, read_waveform, write_wav
from foleyflow.media.boxes import edit_index
from foleyflow.media.edit_list import limit_shown_duration

RATE_HZ = 48_000


def blocks_of(samples, length=10_007):
    return (samples[:, start : start + length] for start in range(0, samples.shape[1], length))


def mux_impulses(video, output, *, channels=1, rate_hz=RATE_HZ, **settings):
    """Mux single loud samples with a video; returns their positions and the number of samples."""
    n_samples = clock.count_at(probe(video).duration_s, rate_hz)
    at = [n_samples // 8, n_samples // 2, n_samples - 3000]
    samples = impulses(n_samples, at, channels=channels)
    mux(video, output, blocks_of(samples), rate_hz=rate_hz, n_samples=n_samples, **settings)
    assert output.exists()
    return at, n_samples


def assert_sound(path, at, n_samples, *, tolerance=4, frame_samples=1024):
    samples = read_waveform(path).samples[0]
    assert abs(len(samples) - n_samples) <= frame_samples
    for position in at:
        begin = max(0, position - 1500)
        near = np.abs(samples[begin : position + 1500])
        assert abs(int(near.argmax()) - (position - begin)) <= tolerance
        assert near.max() > 0.3


def sound_duration_s(path):
    with av.open(str(path)) as source:
        stream = source.streams.audio[0]
        return float(stream.duration * stream.time_base)


def contains_only(folder, *expected):
    return sorted(p.name for p in folder.iterdir()) == sorted(expected)


VIDEOS = {
    "23.976 fps": {"rate": Fraction(24000, 1001)},
    "29.97 fps": {"rate": Fraction(30000, 1001)},
    "60 fps": {"rate": 60, "n_frames": 150},
    "b-frames": {"b_frames": 3},
    "variable rate": {"times_s": np.cumsum(np.tile([0.02, 0.05, 0.11], 20))},
    "late start": {"start_s": 0.5},
    "start of one frame": {"start_s": 1 / 30},
    "start within the delay": {"start_s": 0.01},
    "hidden frames first": {"start_s": -0.48},
    "rotated": {"rotation_deg": 90},
    "one frame": {"n_frames": 1, "rate": 5},
    "old sound": {"sound": Sound(samples=np.full((2, 90_000), 0.4, np.float32))},
}


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v"])
@pytest.mark.parametrize("name", VIDEOS)
def test_copies_in_mp4_mov_and_m4v(tmp_path, name, suffix):
    video = make_video(tmp_path / "a.mp4", **VIDEOS[name])
    output = tmp_path / f"b.{suffix}"
    at, n_samples = mux_impulses(video, output)
    assert video_packet_bytes(output) == video_packet_bytes(video)
    assert video_packet_times(output) == video_packet_times(video)
    assert_sound(output, at, n_samples)
    before, after = probe(video), probe(output)
    # libavformat counts the encoder's delay if a track begins late.
    slack_s = 1024 / RATE_HZ if before.start_s else 0.0
    assert 0 <= sound_duration_s(output) - n_samples / RATE_HZ <= slack_s + 1e-5
    assert after.duration_s == pytest.approx(before.duration_s, abs=1e-6)
    assert after.start_s == pytest.approx(before.start_s, abs=1e-6)
    assert after.rotation_deg == before.rotation_deg
    with av.open(str(output)) as source:
        assert [s.codec_context.name for s in source.streams.audio] == ["aac"]
    assert contains_only(tmp_path, "a.mp4", f"b.{suffix}")


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_in_mkv_is_lossless(tmp_path, channels):
    video = make_video(tmp_path / "a.mp4")
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (channels, 96_000)).astype(np.float32)
    mux(video, tmp_path / "b.mkv", blocks_of(samples), rate_hz=RATE_HZ, n_samples=96_000)
    waveform = read_waveform(tmp_path / "b.mkv")
    assert waveform.samples.shape == (channels, 96_000)
    assert np.abs(waveform.samples - samples).max() < 2**-22


@pytest.mark.parametrize(
    ("suffix", "codec", "tolerance"),
    [
        ("mkv", "libx264", 4),
        ("webm", "libvpx", 8),
        ("avi", "mpeg4", 4),
        ("ts", "libx264", 48),
        ("flv", "libx264", 48),
        ("mpg", "mpeg2video", 64),
        ("wmv", "wmv2", 64),
    ],
)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_copies_in_other_containers(tmp_path, suffix, codec, tolerance, b_frames):
    if b_frames and codec in ("libvpx", "wmv2"):
        b_frames = 0
    video = make_video(tmp_path / f"a.{suffix}", codec=codec, b_frames=b_frames)
    output = tmp_path / f"b.{suffix}"
    at, n_samples = mux_impulses(video, output)
    assert video_packet_bytes(output) == video_packet_bytes(video)
    assert_sound(output, at, n_samples, tolerance=tolerance, frame_samples=2500)
    assert probe(output).duration_s == pytest.approx(probe(video).duration_s, abs=0.002)


@pytest.mark.parametrize("source", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize("target", ["mp4", "mkv", "mov"])
def test_copies_from_one_container_to_another(tmp_path, source, target):
    codec = "mpeg4" if source == "avi" else "libx264"
    video = make_video(tmp_path / f"a.{source}", codec=codec, b_frames=2, start_s=0.0)
    output = tmp_path / f"b.{target}"
    at, n_samples = mux_impulses(video, output)
    assert_sound(output, at, n_samples, tolerance=50)
    before = [(t, int(np.median(p))) for t, p in read_frames(video, size=16)]
    after = [(t, int(np.median(p))) for t, p in read_frames(output, size=16)]
    assert [level for _, level in after] == [level for _, level in before]
    assert [t for t, _ in after] == pytest.approx([t for t, _ in before], abs=2e-3)


def test_shown_frames_before_time_zero_are_moved_to_zero(tmp_path):
    video = make_video(
        tmp_path / "a.mov",
        codec="mpeg4",
        b_frames=2,
        options={"movflags": "negative_cts_offsets", "use_editlist": "0"},
    )
    with av.open(str(video)) as source:
        shown = min(p.pts for p in source.demux(source.streams.video[0]) if p.size)
    output = tmp_path / "b.mp4"
    at, n_samples = mux_impulses(video, output)
    assert_sound(output, at, n_samples)
    assert len(list(read_frames(output, size=16))) == 50
    assert probe(output).start_s == pytest.approx(max(0.0, probe(video).start_s), abs=1e-3)
    assert shown is not None


def test_hidden_frames_at_the_end_stay_hidden(tmp_path):
    video = make_video(tmp_path / "a.mp4", options={"movie_timescale": "12800"})
    with edit_index(video) as index:
        limit_shown_duration(index, track_index=0, duration_s=1.5)
    assert probe(video).duration_s == pytest.approx(1.52, abs=0.021)
    output = tmp_path / "b.mp4"
    at, n_samples = mux_impulses(video, output)
    assert video_packet_bytes(output) == video_packet_bytes(video)
    assert probe(output).duration_s == probe(video).duration_s
    assert_sound(output, at, n_samples)
    assert [t for t, _ in read_frames(output)] == [t for t, _ in read_frames(video)]


def test_alpha_channel_is_kept_in_webm(tmp_path):
    video = make_video(
        tmp_path / "a.webm",
        codec="libvpx-vp9",
        pixel_format="yuva420p",
        n_frames=10,
        codec_options={"cpu-used": "8", "deadline": "realtime", "auto-alt-ref": "0"},
    )
    mux_impulses(video, tmp_path / "b.webm")

    def alpha_packets(path):
        with av.open(str(path)) as source:
            return [
                bytes(packet.get_sidedata("matroska_block_additional"))
                for packet in source.demux(source.streams.video[0])
                if packet.size and packet.has_sidedata("matroska_block_additional")
            ]

    assert alpha_packets(tmp_path / "b.webm") == alpha_packets(video)


def test_hevc_keeps_its_codec_tag(tmp_path):
    video = make_video(
        tmp_path / "a.mp4",
        codec="libx265",
        codec_options={"x265-params": "log-level=none"},
        n_frames=5,
    )
    tagged = tmp_path / "hvc1.mp4"
    tagged.write_bytes(video.read_bytes().replace(b"hev1", b"hvc1"))
    mux_impulses(tagged, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as source:
        assert source.streams.video[0].codec_context.codec_tag == "hvc1"


EXTRAS = {
    "subtitles": [(0.2, 0.6, "Erste Zeile"), (0.9, 1.4, "Zweite")],
    "chapters": [(0.0, 1.0, "Anfang"), (1.0, 2.0, "Ende")],
    "metadata": {"title": "Ein Titel", "comment": "mit Worten"},
}


@pytest.mark.parametrize(
    ("source", "target"),
    [("mkv", "mkv"), ("mp4", "mp4"), ("mkv", "mp4"), ("mp4", "mkv"), ("mov", "mov")],
)
def test_subtitles_chapters_and_metadata_are_kept(tmp_path, source, target):
    kind = "subrip" if source == "mkv" else "mov_text"
    video = make_video(tmp_path / f"a.{source}", subtitle_codec=kind, **EXTRAS)
    output = tmp_path / f"b.{target}"
    mux_impulses(video, output)
    with av.open(str(output)) as result:
        found = {key.lower(): value for key, value in result.metadata.items()}
        assert (found["title"], found["comment"]) == ("Ein Titel", "mit Worten")
        chapters = [
            (float(c["start"] * c["time_base"]), c["metadata"]["title"]) for c in result.chapters()
        ]
        assert chapters == [(0.0, "Anfang"), (1.0, "Ende")]
        (text,) = result.streams.subtitles
        assert text.metadata["language"] == "ger"
        lines = []
        for packet in result.demux(text):
            if packet.size > 2:
                start_s = float(packet.pts * packet.time_base)
                lines.append((start_s, float(packet.duration * packet.time_base), bytes(packet)))
    skip = 0 if target == "mkv" else 2
    assert [(a, data[skip:].decode()) for a, _, data in lines] == [
        (pytest.approx(0.2), "Erste Zeile"),
        (pytest.approx(0.9), "Zweite"),
    ]
    assert [length for _, length, _ in lines] == pytest.approx([0.4, 0.5], abs=2e-3)


def test_unusual_metadata_is_kept_in_mov(tmp_path):
    place = {"com.apple.quicktime.location.ISO6709": "+48.1-011.5/", "title": "Ein Titel"}
    video = make_video(
        tmp_path / "a.mov", metadata=place, options={"movflags": "use_metadata_tags"}
    )
    mux_impulses(video, tmp_path / "b.mov")
    with av.open(str(tmp_path / "b.mov")) as result:
        assert {key: result.metadata.get(key) for key in place} == place


def test_attachments_and_cover_are_kept_or_reported(tmp_path):
    plain = make_video(tmp_path / "plain.mkv", n_frames=10)
    font = ("font.ttf", "font/ttf", b"not really a font")
    video = copy_packets(plain, tmp_path / "a.mkv", attachment=font)
    samples = impulses(19_200, [9_000])
    assert mux(video, tmp_path / "b.mkv", [samples], rate_hz=RATE_HZ, n_samples=19_200) == []
    with av.open(str(tmp_path / "b.mkv")) as result:
        (attachment,) = result.streams.attachments
        assert (attachment.name, attachment.data) == ("font.ttf", b"not really a font")
    (loss,) = mux(video, tmp_path / "b.mp4", [samples], rate_hz=RATE_HZ, n_samples=19_200)
    assert "font.ttf" in loss


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_old_sound_is_dropped_or_kept_after_the_new(tmp_path, suffix):
    old = Sound(samples=np.full((2, 96_000), 0.25, np.float32))
    video = make_video(tmp_path / f"a.{suffix}", sound=old)
    mux_impulses(video, tmp_path / f"b.{suffix}")
    mux_impulses(video, tmp_path / f"c.{suffix}", keep_original=True)
    with av.open(str(tmp_path / f"b.{suffix}")) as result:
        assert [s.codec_context.channels for s in result.streams.audio] == [1]
    with av.open(str(tmp_path / f"c.{suffix}")) as result:
        assert [s.codec_context.channels for s in result.streams.audio] == [1, 2]
        default = av.stream.Disposition.default
        assert [bool(s.disposition & default) for s in result.streams.audio] == [True, False]


def test_unsupported_sample_rate_is_converted(tmp_path):
    video = make_video(tmp_path / "a.webm", codec="libvpx")
    at, n_samples = mux_impulses(video, tmp_path / "b.webm", rate_hz=44_100)
    scale = 48_000 / 44_100
    assert_sound(
        tmp_path / "b.webm", [round(x * scale) for x in at], round(n_samples * scale), tolerance=8
    )


@pytest.mark.parametrize("given", [0, 1_000, 96_000, 200_000])
def test_sound_is_cut_or_padded_to_the_length(tmp_path, given):
    video = make_video(tmp_path / "a.mkv")
    samples = np.full((1, given), 0.5, np.float32)
    mux(video, tmp_path / "b.mkv", [samples], rate_hz=RATE_HZ, n_samples=96_000)
    got = read_waveform(tmp_path / "b.mkv").samples[0]
    assert len(got) == 96_000
    assert np.count_nonzero(got) == min(given, 96_000)


def test_sound_is_interleaved_with_the_video(tmp_path):
    video = make_video(tmp_path / "a.mkv", n_frames=1000, width=32, height=32)
    mux(
        video,
        tmp_path / "b.mkv",
        (np.zeros((1, 4_800), np.float32) for _ in range(400)),
        rate_hz=RATE_HZ,
        n_samples=40 * RATE_HZ,
    )
    with av.open(str(tmp_path / "b.mkv")) as result:
        last_s = {"video": 0.0, "audio": 0.0}
        for packet in result.demux():
            if packet.size:
                last_s[packet.stream.type] = float(packet.dts * packet.time_base)
                assert abs(last_s["video"] - last_s["audio"]) < 3.0


# --- refused outputs ---


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("codec", "pixel_format", "source", "suggested"),
    [
        ("prores_ks", "yuv422p10le", "mov", ".mov"),
        ("gif", "rgb8", "gif", ".mov"),
        ("qtrle", "argb", "mov", ".mov"),
        ("libvpx", "yuv420p", "webm", ".webm"),
    ],
)
def test_suggested_format_holds_the_video(tmp_path, codec, pixel_format, source, suggested):
    odd = make_video(tmp_path / f"a.{source}", codec=codec, pixel_format=pixel_format)
    with pytest.raises(MediaError, match="never re-encoded") as caught:
        quiet_copy(odd, tmp_path / "b.mp4")
    assert caught.value.hint == f"choose another format: -o NAME{suggested}"
    output = tmp_path / f"b{suggested}"
    at, n_samples = mux_impulses(odd, output)
    assert video_packet_bytes(output) == video_packet_bytes(odd)
    assert_sound(output, at, n_samples, tolerance=50)


def test_existing_output_is_kept_without_overwrite(tmp_path, video):
    output = tmp_path / "b.mp4"
    output.write_text("precious")
    with pytest.raises(MediaError, match="already exists") as caught:
        quiet_copy(video, output)
    assert "--overwrite" in caught.value.hint
    assert output.read_text() == "precious"
    quiet_copy(video, output, overwrite=True)
    assert probe(output).has_audio
    assert contains_only(tmp_path, "a.mp4", "b.mp4")


def test_output_must_not_be_the_input(tmp_path, video):
    before = video.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video)
    for name in (video, tmp_path / "." / "a.mp4", tmp_path / "link.mp4"):
        with pytest.raises(MediaError, match="the input itself"):
            quiet_copy(video, name, overwrite=True)
    assert video.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("missing/b.mp4", "no such folder"),
        ("b.docx", "no video format is known by the suffix '.docx'"),
        ("b", "no video format is known by the suffix ''"),
        ("b.webm", "webm can't hold h264 video"),
        ("a.mp4/b.mp4", "is a file, not a folder"),
    ],
)
def test_unusable_output_names_are_refused(tmp_path, video, name, match):
    with pytest.raises(MediaError, match=match) as caught:
        quiet_copy(video, tmp_path / name)
    assert caught.value.hint
    assert contains_only(tmp_path, "a.mp4")


def test_read_only_folder_is_refused(tmp_path, video):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write to every folder")
    with pytest.raises(MediaError, match="not allowed to write"):
        quiet_copy(video, folder / "b.mp4")


def test_directory_as_output_is_refused(tmp_path, video):
    (tmp_path / "b.mp4").mkdir()
    with pytest.raises(MediaError, match="is a directory"):
        check_output(tmp_path / "b.mp4", overwrite=True)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "wav"])
def test_error_while_writing_leaves_no_file(tmp_path, video, suffix):
    def breaking():
        yield np.zeros((1, 20_000), np.float32)
        raise RuntimeError("no more sound")

    output = tmp_path / f"b.{suffix}"
    output.write_text("precious")
    with pytest.raises(RuntimeError, match="no more sound"):
        if suffix == "wav":
            write_wav(output, breaking(), RATE_HZ, overwrite=True)
        else:
            mux(video, output, breaking(), rate_hz=RATE_HZ, n_samples=96_000, overwrite=True)
    assert output.read_text() == "precious"
    assert contains_only(tmp_path, "a.mp4", output.name)


def test_file_size_limit_is_reported_and_leaves_no_file(tmp_path):
    """Like a full disk, the limit makes writing fail half-way."""
    make_video(tmp_path / "a.mp4", n_frames=250)
    script = """
import resource, signal
import numpy as np
from foleyflow.errors import MediaError
from foleyflow.media import mux, write_wav
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
noise = np.random.default_rng(0).uniform(-1, 1, (1, 480_000)).astype(np.float32)
for suffix in ("mp4", "mkv", "wav"):
    try:
        if suffix == "wav":
            write_wav("b.wav", [noise], 48_000)
        else:
            mux("a.mp4", f"b.{suffix}", [noise], rate_hz=48_000, n_samples=480_000)
    except MediaError as error:
        print("refused:", error, "|", error.hint)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("can't be written") == 3
    assert contains_only(tmp_path, "a.mp4")


def test_full_disk_is_reported(tmp_path, video):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        noise = np.random.default_rng(0).uniform(-1, 1, (1, 480_000)).astype(np.float32)
        for suffix in ("mp4", "mkv"):
            with pytest.raises(MediaError, match="no space left") as caught:
                mux(video, disk / f"b.{suffix}", [noise], rate_hz=RATE_HZ, n_samples=480_000)
            assert caught.value.hint
        with pytest.raises(MediaError, match="no space left"):
            write_wav(disk / "b.wav", [noise], RATE_HZ)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_drafts_of_killed_processes_are_removed(tmp_path, video):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    ).stdout.strip()
    (tmp_path / f".b.mp4.{dead}.part").write_text("half")
    (tmp_path / f".b.mp4.{os.getppid()}.part").write_text("in progress")
    quiet_copy(video, tmp_path / "b.mp4")
    assert contains_only(tmp_path, "a.mp4", "b.mp4", f".b.mp4.{os.getppid()}.part")


def test_truncated_video_is_copied_to_its_last_frame(tmp_path):
    complete = make_video(tmp_path / "a.mkv", n_frames=200, key_frame_every=10)
    broken = cut_bytes(complete, tmp_path / "b.mkv", 0.5)
    output = tmp_path / "c.mkv"
    _, n_samples = mux_impulses(broken, output)
    assert read_waveform(output).samples.shape[1] == n_samples
    packets = video_packet_bytes(complete)
    copied = video_packet_bytes(output)
    assert 50 < len(copied) < 150
    assert copied[:-1] == packets[: len(copied) - 1]


def test_invalid_sound_is_refused(tmp_path, video):
    with pytest.raises(ValueError, match="n_samples: got 0"):
        mux(video, tmp_path / "b.mp4", [], rate_hz=RATE_HZ, n_samples=0)
    with pytest.raises(ValueError, match=r"expected \(1 or 2, n\)"):
        mux(video, tmp_path / "b.mp4", [np.zeros((3, 5), np.float32)], rate_hz=RATE_HZ, n_samples=5)


# --- wav ---


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_round_trip(tmp_path, channels):
    samples = np.random.default_rng(0).uniform(-1, 1, (channels, 50_001)).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", blocks_of(samples), RATE_HZ)
    waveform = read_waveform(path)
    assert waveform.rate_hz == RATE_HZ
    assert waveform.samples.shape == samples.shape
    assert np.abs(waveform.samples - samples).max() <= 1.01 * 2.0**-23
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 3


def test_wav_clips_samples_beyond_full_scale(tmp_path):
    samples = np.array([[2.0, -2.0, 0.5]], np.float32)
    got = read_waveform(write_wav(tmp_path / "a.wav", [samples], RATE_HZ)).samples[0]
    assert got == pytest.approx([1.0, -1.0, 0.5], abs=1e-6)


def test_wav_refuses_an_existing_file(tmp_path):
    path = write_wav(tmp_path / "a.wav", [np.zeros((1, 9), np.float32)], RATE_HZ)
    with pytest.raises(MediaError, match="already exists"):
        write_wav(path, [np.zeros((1, 9), np.float32)], RATE_HZ)


def test_memory_does_not_grow_with_the_video(tmp_path):
    """A video of ten times the length needs the same memory."""
    short = make_video(tmp_path / "short.mp4", n_frames=100, painter=corner_painter(96, 64))
    long = make_video(tmp_path / "long.mp4", n_frames=1000, painter=corner_painter(96, 64))
    script = """
import resource, sys
import numpy as np
from foleyflow.media import LoudnessMeter, mux, probe, read_frames, read_sound_blocks
video, output = sys.argv[1:]
info = probe(video)
count = round(info.duration_s * 48_000)
blocks = (np.random.default_rng(0).normal(0, 0.1, (2, 48_000)).astype(np.float32)
          for _ in range(count // 48_000 + 1))
mux(video, output, blocks, rate_hz=48_000, n_samples=count)
frames = sum(1 for _ in read_frames(video))
meter = LoudnessMeter(48_000, 2)
for block in read_sound_blocks(output):
    meter.add(block.samples)
print(frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks_kb = []
    for path, frames in ((short, 100), (long, 1000)):
        command = [sys.executable, "-c", script, str(path), str(path.with_suffix(".mkv"))]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
        )
        counted, peak = map(int, done.stdout.split())
        assert counted == frames
        peaks_kb.append(peak)
    assert peaks_kb[1] < 1.1 * peaks_kb[0]


def test_real_clips_are_copied_exactly(tmp_path):
    clips = sorted(SHARED_CLIPS.glob("*.mp4"))
    if not clips:
        pytest.skip("the real clips in ../shared/clips are missing")
    chosen = [clips[20], SHARED_CLIPS / "vllama_skateboarding_dog.mp4"]
    for path in [*chosen, SHARED_CLIPS / "cavmae_KlsG1EnBEjc_000361.mp4"]:
        output = tmp_path / path.name
        at, n_samples = mux_impulses(path, output)
        assert video_packet_bytes(output) == video_packet_bytes(path), path.name
        assert video_packet_times(output) == video_packet_times(path), path.name
        assert_sound(output, at, n_samples)
        assert probe(output).duration_s == pytest.approx(probe(path).duration_s, abs=1e-6)
