"""`foleyflow generate` on all supported kinds of clips, and on several clips."""

import math
import wave
from fractions import Fraction
from pathlib import Path

import av
import pytest
from support.cli_model import check_refusal, run_cli
from support.media_files import Sound, impulses, make_video, video_packet_bytes

RATE_HZ = 48_000


# name -> (suffix, arguments of `make_video`, exact duration in seconds or None)
CLIPS = {
    "23.976 fps": (".mp4", {"rate": Fraction(24_000, 1001), "n_frames": 31}, 31 * 1001 / 24_000),
    "29.97 fps": (".mp4", {"rate": Fraction(30_000, 1001), "n_frames": 40}, 40 * 1001 / 30_000),
    "60 fps": (".mp4", {"rate": 60, "n_frames": 71}, 71 / 60),
    "one frame": (".mp4", {"n_frames": 1}, 1 / 25),
    "two frames": (".mp4", {"n_frames": 2}, 2 / 25),
    "rotated": (".mp4", {"rotation_deg": 90}, 10 / 25),
    "B-frames": (".mp4", {"b_frames": 2}, 10 / 25),
    "late start": (".mkv", {"start_s": 1.5}, 10 / 25),
    "late start in mp4": (".mp4", {"start_s": 0.4}, 10 / 25),
    "edit list": (".mp4", {"start_s": -0.48, "n_frames": 50}, 2 - 0.48),
    "negative start": (
        ".mp4",
        {"b_frames": 2, "options": {"movflags": "negative_cts_offsets", "use_editlist": "0"}},
        10 / 25,
    ),
    "variable": (".mkv", {"times_s": [0.0, 0.04, 0.11, 0.13, 0.5, 0.55, 0.9]}, None),
    "jump": (".mkv", {"times_s": [k / 25 + (3 if k >= 20 else 0) for k in range(40)]}, None),
    "interlaced": (".mpg", {"codec": "mpeg2video", "codec_options": {"flags": "ildct"}}, None),
    "alpha": (".mkv", {"codec": "ffv1", "pixel_format": "yuva420p"}, 10 / 25),
    "4:4:4": (".mp4", {"pixel_format": "yuv444p"}, 10 / 25),
    "grey": (".mp4", {"pixel_format": "gray"}, 10 / 25),
    "rgb": (".mkv", {"codec": "libx264rgb", "pixel_format": "rgb24"}, 10 / 25),
    "prores": (".mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}, 10 / 25),
    "HDR": (
        ".mp4",
        {
            "pixel_format": "yuv420p10le",
            "settings": {"color_primaries": 9, "color_trc": 16, "colorspace": 9},
        },
        10 / 25,
    ),
    "odd sides": (".mp4", {"pixel_format": "yuv444p", "width": 97, "height": 65}, 10 / 25),
    "smallest": (".mp4", {"width": 16, "height": 16}, 10 / 25),
    "8K": (
        ".mp4",
        dict(codec="mjpeg", pixel_format="yuvj420p", width=8192, height=4320, n_frames=1),
        1 / 25,
    ),
    "webm": (".webm", {"codec": "libvpx"}, None),
    "with sound": (".mp4", {"sound": Sound(samples=impulses(48_000, [9000]))}, 10 / 25),
}


@pytest.mark.parametrize("name", CLIPS)
def test_the_video_is_copied_and_the_sound_is_as_long(model, tmp_path, name):
    """Video packets are equal, and the sound has the video's length to the sample."""
    suffix, settings, duration_s = CLIPS[name]
    video = make_video(tmp_path / f"clip{suffix}", **{"n_frames": 10, **settings})
    outcome = run_cli("generate", video, "--model", model, "--json")
    assert outcome.status == 0, outcome.stderr
    answer = outcome.answer
    assert video_packet_bytes(Path(answer["output"])) == video_packet_bytes(video)
    if duration_s is not None:
        assert answer["duration_s"] == pytest.approx(duration_s, abs=0.51 / RATE_HZ)
    with av.open(answer["output"]) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        rate_hz = stream.codec_context.sample_rate
    assert 0 <= samples / rate_hz - answer["duration_s"] < 1152.5 / rate_hz
    outcome = run_cli("generate", video, "--model", model, "--json", "--audio-only")
    assert outcome.status == 0, outcome.stderr
    with wave.open(outcome.answer["output"]) as file:
        assert file.getnframes() == math.floor(answer["duration_s"] * RATE_HZ + 0.5)
    assert all(0 <= cue["time_s"] < answer["duration_s"] for cue in answer["cues"])


@pytest.fixture
def videos(tmp_path):
    """Two good clips and a bad one between them."""
    folder = tmp_path / "in"
    folder.mkdir()
    first = make_video(folder / "first.mp4", n_frames=10)
    (folder / "bad.mp4").write_text("no video")
    return [first, folder / "bad.mp4", make_video(folder / "last.mp4", n_frames=15)]


def test_one_bad_clip_does_not_stop_the_others(model, videos, tmp_path):
    out = tmp_path / "out"
    outcome = run_cli("generate", *videos, "--model", model, "-o", f"{out}/", "--json")
    assert outcome.status == 2
    assert sorted(path.name for path in out.iterdir()) == ["first.foley.mp4", "last.foley.mp4"]
    answer = outcome.answer
    assert [entry["video"] for entry in answer["results"]] == [str(videos[0]), str(videos[2])]
    (error,) = answer["errors"]
    assert error["video"] == str(videos[1])
    assert "not a media file" in error["error"] and error["hint"]
    assert answer["skipped"] == []
    assert outcome.error_lines[0].startswith(f"foleyflow: {videos[1]}: not a media file")


def test_a_batch_resumes_where_it_stopped(model, videos, tmp_path):
    good = [videos[0], videos[2]]
    out = tmp_path / "out"
    assert run_cli("generate", videos[0], "--model", model, "-o", f"{out}/").status == 0
    before = (out / "first.foley.mp4").stat().st_mtime_ns
    outcome = run_cli("generate", *good, "--model", model, "-o", out, "--json")
    assert outcome.status == 0
    assert [entry["video"] for entry in outcome.answer["results"]] == [str(videos[2])]
    assert outcome.answer["skipped"] == [str(out / "first.foley.mp4")]
    assert (out / "first.foley.mp4").stat().st_mtime_ns == before
    assert "skipped" in outcome.stderr
    outcome = run_cli("generate", *good, "--model", model, "-o", out, "--json", "--overwrite")
    assert len(outcome.answer["results"]) == 2
    assert (out / "first.foley.mp4").stat().st_mtime_ns > before


def test_clips_of_a_batch_sound_as_they_do_alone(model, videos, tmp_path):
    flags = ("--model", model, "--audio-only", "--seed", "2")
    assert run_cli("generate", videos[2], *flags, "-o", tmp_path / "alone.wav").status == 0
    outcome = run_cli("generate", videos[0], videos[2], *flags, "-o", f"{tmp_path}/both/")
    assert outcome.status == 0
    alone = (tmp_path / "alone.wav").read_bytes()
    assert (tmp_path / "both" / "last.foley.wav").read_bytes() == alone


def test_outputs_without_a_folder_go_next_to_each_clip(model, videos):
    assert run_cli("generate", videos[0], videos[2], "--model", model).status == 0
    assert sorted(path.name for path in videos[0].parent.glob("*.foley.mp4")) == [
        "first.foley.mp4",
        "last.foley.mp4",
    ]


def refusal(*arguments: object) -> str:
    """The error line of a command that is refused before any work."""
    return check_refusal(run_cli("generate", *arguments))


def test_two_clips_with_the_same_name_are_refused(model, videos, tmp_path):
    (tmp_path / "other").mkdir()
    twin = make_video(tmp_path / "other" / "first.mp4", n_frames=5)
    out = tmp_path / "out"
    line = refusal(videos[0], twin, "--model", model, "-o", f"{out}/")
    assert line == f"foleyflow: two videos would be written to {out / 'first.foley.mp4'}"
    assert not out.exists()


def test_one_output_file_for_two_clips_is_refused(model, videos, tmp_path):
    line = refusal(videos[0], videos[2], "--model", model, "-o", tmp_path / "out.mp4")
    assert line.endswith("out.mp4: one file for 2 videos")


def test_an_output_that_is_another_input_is_refused(model, videos):
    result = videos[0].with_name("first.foley.mp4")
    result.write_bytes(videos[2].read_bytes())
    line = refusal(videos[0], result, "--model", model, "--overwrite")
    assert "is an input" in line
    assert result.read_bytes() == videos[2].read_bytes()
