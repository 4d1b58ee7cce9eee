"""Unusual inputs of `foleyflow evaluate`, handled as `folder.py` describes."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from support.media_files import Sound, make_video
from support.random_judge import RandomJudge

from foleyflow.evaluation.folder import evaluate_folder
from foleyflow.judges.interface import ClipRule

pytest.importorskip("librosa")

RATE_HZ, SECONDS = 48_000, 2.0
TIMES_S = [0.3, 0.9, 1.5]
# One metric of each group or kind of computation.
METRICS = [
    "onset_f1",
    "onset_f1_300ms",
    "onset_f1_mmaudio_script",
    "envelope_correlation",
    "log_spectral_distance",
    "kl_passt",
]


def clicks(rate_hz=RATE_HZ, *, seconds=SECONDS, times_s=TIMES_S):
    """Decaying tones below 4 kHz, the same at every rate."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    sound = np.zeros(len(time_s))
    for start_s in times_s:
        after_s = time_s - start_s
        ring = np.exp(-np.maximum(after_s, 0) / 0.05) * np.sin(2 * np.pi * 1500 * after_s)
        sound += 0.5 * ring * (after_s >= 0)
    return sound


def write(folder, name, sound, rate_hz=RATE_HZ, **how):
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / name, sound, rate_hz, **how)


@pytest.fixture
def pair(tmp_path):
    """A folder of generated sounds and one of references, each with an ordinary clip."""
    generated, true = tmp_path / "generated", tmp_path / "true"
    for folder in (generated, true):
        write(folder, "plain.wav", clicks())
    return generated, true


def score(generated, true):
    judges = {"passt": RandomJudge(clip=ClipRule(longest_s=SECONDS))}
    return evaluate_folder(generated, true, metrics=METRICS, judges=judges)


def values(report, case):
    return {name: scored.clips.get(case) for name, scored in report.scores.items()}


def score_odd(pair, sound, rate_hz=RATE_HZ, **how):
    """The report and the values of another clip, whose generated sound is given."""
    write(pair[1], "odd.wav", clicks())
    write(pair[0], "odd.wav", sound, rate_hz, **how)
    report = score(*pair)
    return report, values(report, "odd")


BEST = {name: 0.0 if "distance" in name or "kl" in name else 1.0 for name in METRICS}


@pytest.mark.parametrize("side", [0, 1], ids=["result", "reference"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("odd.wav", b""),
        ("odd.wav", b"RIFF\x00\x00"),
        ("odd.flac", bytes(range(256)) * 40),
        ("odd.mp3", b"no sound at all"),
    ],
    ids=["zero bytes", "half a header", "noise", "text"],
)
def test_corrupt_files_are_listed_and_the_rest_is_scored(pair, side, name, content):
    write(pair[1 - side], "odd.wav", clicks())
    (pair[side] / name).write_bytes(content)
    report = score(*pair)
    assert list(report.unreadable) == ["odd"]
    assert "odd" in report.unreadable["odd"]
    assert f"unreadable: 1\n  odd: {report.unreadable['odd']}" in report.to_text()
    assert values(report, "plain") == pytest.approx(BEST, abs=1e-9)
    assert values(report, "odd") == dict.fromkeys(METRICS)


def test_a_video_without_an_audio_track_is_unreadable(pair):
    write(pair[1], "video.wav", clicks())
    make_video(pair[0] / "video.mp4", n_frames=25)
    assert "no sound in it" in score(*pair).unreadable["video"]


def test_a_video_with_an_audio_track_is_scored(pair):
    write(pair[1], "video.wav", clicks())
    sound = clicks()[None].astype(np.float32)
    make_video(pair[0] / "video.mp4", n_frames=50, sound=Sound(samples=sound))
    report = score(*pair)
    assert report.unreadable == {}
    assert values(report, "video")["onset_f1"] == 1.0


@pytest.mark.parametrize("side", [0, 1], ids=["result", "reference"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_unreadable(pair, side, wrong):
    write(pair[1 - side], "odd.wav", clicks())
    sound = clicks()
    sound[1000] = wrong
    write(pair[side], "odd.wav", sound, subtype="FLOAT")
    assert "some samples are not finite" in score(*pair).unreadable["odd"]


def test_a_truncated_file_is_scored_on_the_decodable_part(pair):
    write(pair[1], "odd.flac", clicks())
    write(pair[0], "odd.flac", clicks())
    content = (pair[0] / "odd.flac").read_bytes()
    (pair[0] / "odd.flac").write_bytes(content[: len(content) // 2])
    report = score(*pair)
    assert report.short == ("odd",) and report.unreadable == {}
    assert values(report, "odd")["onset_f1"] == 1.0


def test_empty_and_silent_sounds(pair):
    for case, count in (("none", 0), ("mute", round(SECONDS * RATE_HZ))):
        write(pair[1], f"{case}.wav", clicks())
        write(pair[0], f"{case}.wav", np.zeros(count))
    report = score(*pair)
    assert report.silent == ("mute", "none")
    assert report.short == ("none",)
    assert values(report, "mute")["onset_f1"] == 0.0
    assert values(report, "mute")["envelope_correlation"] == 0.0
    assert values(report, "mute")["log_spectral_distance"] > 5
    for name in METRICS[2:]:
        assert values(report, "none")[name] is None and "none" in report.scores[name].left_out
    assert "without a value: none: an empty sound" in report.to_text()


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 44100, 96000])
def test_values_do_not_depend_on_the_sample_rate(pair, rate_hz):
    report, found = score_odd(pair, clicks(rate_hz), rate_hz, subtype="FLOAT")
    assert found["onset_f1"] == found["onset_f1_300ms"] == 1.0
    assert found["onset_f1_mmaudio_script"] > 0.9
    assert found["envelope_correlation"] > 0.99
    assert found["log_spectral_distance"] < 3.0
    assert report.short == report.long == ()


@pytest.mark.parametrize("channels", [2, 6])
def test_the_mean_of_the_channels_is_scored(pair, channels):
    _, found = score_odd(pair, np.tile(clicks()[:, None], channels), subtype="FLOAT")
    assert found["onset_f1"] == 1.0 and found["envelope_correlation"] > 0.999
    if channels == 2:
        assert found["log_spectral_distance"] == pytest.approx(0.0, abs=0.5)


def test_channels_of_opposite_sign_cancel_and_are_listed(pair):
    report, _ = score_odd(pair, np.stack([clicks(), -clicks()], 1), subtype="FLOAT")
    assert report.silent == ("odd",)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "DOUBLE"])
def test_sample_formats(pair, subtype):
    _, found = score_odd(pair, clicks(), subtype=subtype)
    # Eight bits leave noise at -48 dB in the pauses, which lowers the correlation in dB
    least = 0.8 if subtype == "PCM_U8" else 0.99
    assert found["onset_f1"] == 1.0 and found["envelope_correlation"] > least


@pytest.mark.parametrize(
    ("seconds", "listed"), [(1.0, "short"), (1.8, None), (2.2, None), (4.0, "long")]
)
def test_clips_of_different_lengths(pair, seconds, listed):
    later_s = [2.5, 3.1] if seconds > 3 else []
    sound = clicks(seconds=seconds, times_s=[*TIMES_S, *later_s])
    report, found = score_odd(pair, sound)
    for name in ("short", "long"):
        assert getattr(report, name) == (("odd",) if name == listed else ())
    # Only the common part is compared, so there are no misses and no extra onsets
    assert found["onset_f1"] == 1.0
    assert found["envelope_correlation"] > 0.99
    assert found["log_spectral_distance"] < 0.5
    assert found["kl_passt"] is not None


def test_clip_names_with_special_characters(pair):
    for case in ("a b", "ünï", "x.y", "-z"):
        for folder in pair:
            write(folder, f"{case}.wav", clicks())
    assert set(score(*pair).files) == {"plain", "a b", "ünï", "x.y", "-z"}
