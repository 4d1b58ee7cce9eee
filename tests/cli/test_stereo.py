"""`foleyflow generate --stereo`: its effect on files of all kinds, and pans in cue sheets."""

from __future__ import annotations

import json
import math
from pathlib import Path

import av
import numpy as np
import pytest
import rpp
import soundfile
from support.cli_model import check_refusal, make_model, run_cli, run_process
from support.media_files import Sound, make_video

from foleyflow.cues.files import read_cues
from foleyflow.media import measure_report, read_waveform

RATE_HZ = 48_000
SECONDS = 4
CUES = [
    {"time_s": 0.6, "material": "wood"},  # something falls on the left
    {"time_s": 1.6, "material": "wood"},  # and on the right
    {"time_s": 2.6, "material": "wood", "pan": 0.0},
]


def falling(index: int) -> np.ndarray:
    """A light square that falls on the left until 0.6 s, and on the right until 1.6 s."""
    picture = np.full((64, 96, 3), 50, np.uint8)
    for left, hit_s in ((6, 0.6), (80, 1.6)):
        top = round(44 - 250 * abs(index / 25 - hit_s))
        picture[max(top, 0) : max(top + 10, 0), left : left + 10] = 220
    return picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(path, n_frames=25 * SECONDS, painter=falling)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sheet") / "cues.json"
    path.write_text(json.dumps({"format": "foleyflow cues", "version": 1, "cues": CUES}))
    return path


@pytest.fixture(scope="module")
def generate(model, sheet):
    """Runs `generate` with the small model, which must succeed; returns the JSON."""

    def run(*arguments, cues=("--cues", sheet)):
        outcome = run_cli("generate", *arguments, *cues, "--model", model, "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.answer

    return run


@pytest.fixture(scope="module")
def first(generate, clip, tmp_path_factory) -> Path:
    """A stereo result with a sidecar."""
    output = tmp_path_factory.mktemp("first") / "first.wav"
    generate(clip, "--stereo", "--audio-only", "-o", output, "--sidecar")
    return output


def samples_of(path: Path) -> np.ndarray:
    """(channels, n) samples of a file."""
    return read_waveform(path).samples


def balance_db(sound: np.ndarray, time_s: float) -> float:
    """Level of the right channel above the left one, just after a time."""
    inside = sound[:, round((time_s - 0.01) * RATE_HZ) : round((time_s + 0.1) * RATE_HZ)]
    left, right = np.square(inside.astype(np.float64)).mean(1)
    return 10 * math.log10(right / left)


def check_places(path: Path, *, within_db: float = 0.1) -> None:
    """Checks that a file has the sounds on the left, on the right and in the centre."""
    sound = samples_of(path)
    assert len(sound) == 2 and sound.shape[1] >= SECONDS * RATE_HZ  # AAC ends with padding
    assert balance_db(sound, 0.6) < -4 and balance_db(sound, 1.6) > 4
    assert balance_db(sound, 2.6) == pytest.approx(0, abs=within_db)


def test_cues_are_panned_to_their_places(generate, clip, first, tmp_path):
    check_places(first)
    answer = generate(clip, "--audio-only", "-o", tmp_path / "mono.wav")
    assert answer["stereo"] is False and "pan" not in answer["cues"][0]
    record = json.loads(first.with_name("first.wav.json").read_text())
    assert record["stereo"] is True
    pans = [cue["pan"] for cue in record["cues"]]
    assert pans == [pytest.approx(-0.77, abs=0.2), pytest.approx(0.77, abs=0.2), 0.0]
    # The sum of the channels has the level of the mono sound
    mono, stereo = samples_of(tmp_path / "mono.wav")[0], samples_of(first)
    change_db = 20 * math.log10(np.std(stereo.sum(0) / math.sqrt(2)) / np.std(mono))
    assert -0.5 <= change_db <= 0.01
    assert record["loudness"]["integrated_lufs"] == pytest.approx(
        answer["loudness"]["integrated_lufs"], abs=0.1
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", ()),  # AAC
        ("a.mkv", ("--project", "reaper")),
        ("a.wav", ("--audio-only", "--format", "wav16")),
        ("a.wav", ("--audio-only", "--format", "bwf")),
        ("a.flac", ("--audio-only",)),
    ],
)
def test_all_formats_have_two_channels(generate, clip, tmp_path, name, options):
    generate(clip, "--stereo", "-o", tmp_path / name, *options)
    check_places(tmp_path / name, within_db=1.0)
    if "reaper" in options:
        check_places(tmp_path / "a.generated.wav")
        assert rpp.loads((tmp_path / "a.rpp").read_text()).findall("TRACK")


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_mixes_with_originals_of_any_channels(generate, tmp_path, channels):
    t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    tone = np.tile((0.02 * np.sin(2 * np.pi * 300 * t)).astype(np.float32), (channels, 1))
    video = make_video(
        tmp_path / "clip.mkv", n_frames=25 * SECONDS, painter=falling,
        sound=Sound(samples=tone, codec="flac"),
    )  # fmt: skip
    output = tmp_path / "a.mkv"
    answer = generate(
        video, "--stereo", "-o", output, "--mix", "mix", "--mix-level", "20", "--keep-original"
    )
    check_places(output, within_db=1.0)
    report = measure_report([samples_of(output)], RATE_HZ)
    assert report.integrated_lufs == pytest.approx(-23, abs=0.5)
    assert answer["loudness"]["true_peak_dbtp"] <= -1.0
    with av.open(str(output)) as container:
        assert [stream.codec_context.channels for stream in container.streams.audio][1] == channels


def test_a_result_can_be_made_again(generate, clip, first, tmp_path):
    again = tmp_path / "again.wav"
    answer = generate(clip, "--of", first, "-o", again, cues=())
    assert answer["stereo"] is True and answer["warnings"] == []
    assert again.read_bytes() == first.read_bytes()
    record = json.loads(first.with_name("first.wav.json").read_text())
    other = json.loads(again.with_name("again.wav.json").read_text())
    assert other["sound_sha256"] == record["sound_sha256"]
    outcome = run_cli("generate", clip, "--of", first, "--stereo", "-o", tmp_path / "x.wav")
    assert "--stereo with --of: it is a setting of the earlier result" in check_refusal(outcome)


def test_a_range_keeps_both_channels(generate, clip, first, tmp_path):
    new = tmp_path / "new.wav"
    generate(clip, "--of", first, "--range", "1.2:2", "-o", new, cues=())
    before, after = (soundfile.read(path, dtype="int32")[0] for path in (first, new))
    times_s = np.flatnonzero((before != after).any(1)) / RATE_HZ
    assert 1.2 <= times_s.min() and times_s.max() < 2
    check_places(new)


def test_a_pan_can_be_edited(generate, clip, first, tmp_path):
    edited, new = tmp_path / "edited.json", tmp_path / "new.wav"
    cues = [CUES[0] | {"pan": 1.0}, *CUES[1:]]
    edited.write_text(json.dumps({"format": "foleyflow cues", "version": 1, "cues": cues}))
    generate(clip, "--of", first, "-o", new, cues=("--cues", edited))
    sound, before = samples_of(new), samples_of(first)
    assert balance_db(sound, 0.6) > 5
    times_s = np.flatnonzero((sound != before).any(0)) / RATE_HZ
    assert 0.55 <= times_s.min() and times_s.max() < 0.71


@pytest.mark.parametrize("by", ["material", "cue"])
def test_stems_are_stereo(generate, clip, tmp_path, by):
    output = tmp_path / "clip.wav"
    answer = generate(clip, "--stereo", "--audio-only", "-o", output, "--stems", by)
    mix, _ = soundfile.read(output, dtype="int32")
    total = np.zeros(mix.shape, np.int64)
    for stem in answer["stems"]:
        samples, _ = soundfile.read(stem["file"], dtype="int32")
        start = round(stem["start_s"] * RATE_HZ)
        total[start : start + len(samples)] += samples >> 8
    np.testing.assert_array_equal(total, mix >> 8)


def test_takes_of_several_videos(generate, clip, tmp_path):
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for video in videos:
        video.write_bytes(clip.read_bytes())
    generate(*videos, "--stereo", "--candidates", "2", "--audio-only", "--sidecar", cues=())
    for name in ("a.foley", "a.foley.take2", "b.foley", "b.foley.take2"):
        assert len(samples_of(tmp_path / f"{name}.wav")) == 2
        assert json.loads((tmp_path / f"{name}.wav.json").read_text())["stereo"] is True


@pytest.mark.filterwarnings("ignore")  # Ray emits deprecation warnings
def test_stereo_on_ray(generate, clip, first, tmp_path):
    pytest.importorskip("ray", reason="needs the extra 'cluster' (ray)")
    generate(clip, "--stereo", "--audio-only", "-o", tmp_path / "a.wav", "--ray", "local")
    assert (tmp_path / "a.wav").read_bytes() == first.read_bytes()


def test_standard_input(model, clip, sheet, first, tmp_path):
    output = tmp_path / "a.wav"
    outcome = run_process(
        "generate", "-", "-o", output, "--stereo", "--audio-only", "--cues", sheet,
        "--model", model, given=clip.read_bytes(),
    )  # fmt: skip
    assert outcome.status == 0, outcome.stderr
    assert output.read_bytes() == first.read_bytes()


def test_a_model_without_cues_refuses_stereo(clip, tmp_path):
    plain = make_model(tmp_path / "model", with_cue_tracks=False)
    outcome = run_cli("generate", clip, "--stereo", "--model", plain, "-o", tmp_path / "a.mp4")
    assert "without cues to pan" in check_refusal(outcome)
    assert not (tmp_path / "a.mp4").exists()


def test_a_picture_without_motion_leaves_cues_in_the_centre(generate, tmp_path):
    still = make_video(tmp_path / "still.mp4", n_frames=25 * SECONDS, painter=lambda _: falling(0))
    answer = generate(still, "--stereo", "--audio-only", "-o", tmp_path / "a.wav", "--report")
    left, right = samples_of(tmp_path / "a.wav")
    assert left.tobytes() == right.tobytes() and left.any()
    assert Path(answer["report"]).exists()
    assert answer["warnings"] == []  # one cue of the sheet has a pan
    sheet = tmp_path / "cues.csv"
    sheet.write_text("time_s,material\n1.0,wood\n")
    cues = ("--cues", sheet)
    answer = generate(still, "--stereo", "-o", tmp_path / "b.mp4", cues=cues)
    assert any("so all are in the centre" in text for text in answer["warnings"])


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_spotted_cues_have_pans_that_files_keep(model, clip, tmp_path, suffix):
    path = tmp_path / f"cues.{suffix}"
    outcome = run_cli("spot", clip, "--model", model, "-o", path, "--sensitivity", "0.9", "--json")
    assert outcome.status == 0, outcome.stderr
    pans = [cue.get("pan") for cue in outcome.answer["cues"]]
    assert any(pans)
    assert [cue.pan for cue in read_cues(path, duration_s=None, materials=None)] == pans
