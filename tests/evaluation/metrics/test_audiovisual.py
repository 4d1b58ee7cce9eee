"""Metrics of videos with sounds: shifted controls in closed form, and judges with simple rules."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from support.media_files import grey_level, make_video

from foleyflow.errors import ConfigError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.folder import evaluate_folder
from foleyflow.evaluation.html_report import page_text
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.metrics.audiovisual import control_shift_s, shifted_pair
from foleyflow.evaluation.protocols import protocol_named
from foleyflow.judges.interface import PairJudge, PairPadding, VideoPreprocessing
from foleyflow.signals import Frames

pytest.importorskip("librosa")

RATE_HZ = 8000


def test_shifts_are_seeded_have_both_signs_and_a_third_are_small():
    shifts = np.array([control_shift_s(seed, 2.0) for seed in range(600)])
    assert control_shift_s(7, 2.0) == control_shift_s(7, 2.0)
    sizes = np.abs(shifts)
    assert sizes.min() >= 0.12 and sizes.max() <= 1.4
    assert 0.27 < (sizes < 0.32).mean() < 0.40
    assert 0.4 < (shifts > 0).mean() < 0.6


def test_shifts_are_limited_by_the_length_of_the_pair():
    sizes = [abs(control_shift_s(seed, 0.5)) for seed in range(200)]
    assert max(sizes) <= 0.5 and min(sizes) >= 0.12
    assert {round(abs(control_shift_s(seed, 0.12)), 9) for seed in range(9)} == {0.12}
    with pytest.raises(ValueError, match=r"a shift of 0.12 s does not fit in 0\.10 s"):
        control_shift_s(0, 0.1)


def moving_frames(count=50, rate_hz=25.0):
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((4, 4, 3), np.uint8)
    return Frames(pixels=pixels, times_s=np.arange(count) / rate_hz)


@pytest.mark.parametrize("shift_s", [0.4, -0.4, 0.13, -0.7])
def test_a_shifted_pair_is_cut_to_its_overlap(shift_s):
    samples = np.zeros(2 * RATE_HZ, np.float32)
    samples[round(1.2 * RATE_HZ)] = 1.0  # together with frame 30
    frames, moved = shifted_pair(moving_frames(), samples, RATE_HZ, shift_s)
    at = int(np.flatnonzero(frames.pixels[:, 0, 0, 0] == 30)[0])
    click_s = float(moved.argmax()) / RATE_HZ
    assert click_s - frames.times_s[at] == pytest.approx(shift_s, abs=1e-9)
    assert 0 <= frames.times_s[0] < 0.04
    length_s = 2.0 - abs(shift_s)
    assert len(moved) / RATE_HZ == pytest.approx(length_s, abs=0.04)
    assert len(frames) == pytest.approx(25 * length_s, abs=1)


def test_a_shift_beyond_the_end_is_refused():
    with pytest.raises(ValueError, match=r"a shift of \+3\.00 s leaves nothing of the pair"):
        shifted_pair(moving_frames(), np.zeros(2 * RATE_HZ, np.float32), RATE_HZ, 3.0)


class LevelJudge(PairJudge):
    """Accepts a pair as in sync if the sound is loud exactly while the frames are bright."""

    name, rate_hz, shortest_s, weights_sha256 = "sync-sim", RATE_HZ, 0.5, "0" * 64
    video_preprocessing = VideoPreprocessing(size_px=16)

    def __init__(self):
        self.calls = 0

    def score(self, frames, samples):
        self.calls += 1
        bright = frames.pixels.mean((1, 2, 3)) > grey_level(7)
        at = np.clip((frames.times_s * RATE_HZ).astype(int) + 160, 0, len(samples) - 1)
        loud = np.array([np.abs(samples[max(0, i - 160) : i + 160]).mean() > 0.05 for i in at])
        return float((bright == loud).mean() > 0.9)


@pytest.fixture
def folders(tmp_path):
    """Videos with true sounds, and generated sounds of which the last is shifted."""
    generated, true = tmp_path / "generated", tmp_path / "true"
    generated.mkdir()
    true.mkdir()
    levels = [(index * (1 + clip)) % 14 for clip in range(3) for index in range(50)]
    for clip, case in enumerate("abc"):
        own = levels[50 * clip : 50 * (clip + 1)]
        make_video(
            true / f"{case}.mp4",
            n_frames=50,
            width=32,
            height=32,
            painter=lambda index, own=own: np.full((32, 32, 3), grey_level(own[index]), np.uint8),
        )
        loud = np.repeat(np.array(own) > 7, RATE_HZ // 25)
        sound = 0.3 * np.sin(np.arange(2 * RATE_HZ)) * loud
        soundfile.write(true / f"{case}.wav", sound, RATE_HZ)
        shift = 3200 if case == "c" else 0
        soundfile.write(generated / f"{case}.wav", np.roll(sound, shift), RATE_HZ)
    return generated, true


def test_in_sync_fractions_and_false_positives(folders, tmp_path):
    judge = LevelJudge()
    cache = ResultCache(tmp_path / "cache")
    how = {"metrics": ["AlignAcc-sim"], "judges": {"sync-sim": judge}, "cache": cache}
    score = evaluate_folder(*folders, **how).scores["AlignAcc-sim"]
    assert score.clips == {"a": 1.0, "b": 1.0, "c": 0.0}
    fractions = {condition: figure.value for condition, figure in score.figures.items()}
    assert fractions["generated"] == pytest.approx(2 / 3)
    assert [fractions[name] for name in ("true", "silence", "other", "shifted")] == [1, 0, 0, 0]
    assert score.remarks == (
        "false positives, on true sounds: 0 % of 3 shifted pairs, 0 % of 3 swapped pairs",
    )
    calls = judge.calls
    assert evaluate_folder(*folders, **how).scores["AlignAcc-sim"] == score
    assert judge.calls == calls  # all from the cache


class RecordingJudge(LevelJudge):
    """Stores its frames and returns the length of the sound."""

    name = "synchformer"

    def __init__(self, video_preprocessing):
        super().__init__()
        self.video_preprocessing = video_preprocessing
        self.frames = []

    def score(self, frames, samples):
        self.frames.append(frames)
        return len(samples) / RATE_HZ


@pytest.mark.parametrize("size", [(96, 48), (48, 96), (64, 64)], ids=["wide", "high", "square"])
def test_judges_get_frames_on_a_grid_cropped_as_requested(tmp_path, size):
    width, height = size
    side = min(size)

    def painter(index):
        picture = np.zeros((height, width, 3), np.uint8)
        top, left = (height - side) // 2, (width - side) // 2
        picture[top : top + side, left : left + side] = grey_level(index % 14)
        return picture

    for folder, seconds in (("generated", 1), ("true", 2)):
        (tmp_path / folder).mkdir()
        sound = np.full(seconds * RATE_HZ, 0.1)
        soundfile.write(tmp_path / folder / "a.wav", sound, RATE_HZ)
    path = tmp_path / "true" / "a.mp4"
    make_video(path, n_frames=50, width=width, height=height, painter=painter)
    for video_preprocessing, count, inside in (
        (VideoPreprocessing(size_px=24, rate_hz=5.0, shape="middle"), 10, 1.0),
        (VideoPreprocessing(size_px=24, rate_hz=5.0), 10, side * side / (width * height)),
        (VideoPreprocessing(size_px=24), 50, side * side / (width * height)),
    ):
        judge = RecordingJudge(video_preprocessing)
        folders, judges = (tmp_path / "generated", tmp_path / "true"), {"synchformer": judge}
        score = evaluate_folder(*folders, metrics=["desync"], judges=judges).scores["desync"]
        frames = judge.frames[0]
        assert frames.pixels.shape == (count, 24, 24, 3)
        step = 50 // count
        np.testing.assert_allclose(frames.times_s, np.arange(count) * step / 25, atol=1e-6)
        for index in range(count):
            # At 5 Hz, the last frame whose rounded place is `index`
            level = grey_level((index * step + step // 2) % 14)
            middle = frames.pixels[index, 8:16, 8:16].mean()
            assert middle == pytest.approx(level, abs=4)
            if level:
                bright = (frames.pixels[index, :, :, 0] > level / 2).mean()
                assert bright == pytest.approx(inside, abs=0.1)
        # The judge's output is the value itself, without a threshold
        assert score.figures["generated"].value == pytest.approx(1.0)
        assert score.figures["true"].value == pytest.approx(2.0)
        assert score.judge["sight"]["shape"] == video_preprocessing.shape
        assert score.remarks == ()


def make_pairs(folder, seconds, *, n_frames, rate=25):
    """Folders with the clips "a", "b" ... of given lengths, of a video and two sounds each."""
    for name in ("generated", "true"):
        (folder / name).mkdir()
    for case, length_s in zip("abc", seconds, strict=False):
        make_video(folder / "true" / f"{case}.mp4", n_frames=n_frames, rate=rate)
        sound = 0.1 * np.random.default_rng(0).standard_normal(round(length_s * RATE_HZ))
        for name in ("generated", "true"):
            soundfile.write(folder / name / f"{case}.wav", sound, RATE_HZ)
    return folder / "generated", folder / "true"


class PaddingJudge(LevelJudge):
    """Pads sounds to 3 s and accepts every pair."""

    name, pads = "diff-foley", "sound with zeros to 3 s"

    def score(self, frames, samples):
        self.calls += 1
        return 0.9

    def padding(self, frames, samples):
        missing_s = max(0.0, 3.0 - len(samples) / RATE_HZ)
        return PairPadding(sound_s=missing_s, sound_fraction=missing_s / 3)


def test_padding_is_stated_in_text_json_and_html(tmp_path):
    folders = make_pairs(tmp_path, (2.0, 2.5, 3.5), n_frames=50)
    judge, cache = PaddingJudge(), ResultCache(tmp_path / "cache")
    how = {"metrics": ["align_acc"], "judges": {"diff-foley": judge}, "cache": cache}
    report = evaluate_folder(*folders, **how)
    score = report.scores["align_acc"]
    # (1.0 + 0.5) / 2 s of 3 s
    stated = "sound of 2 of 3 clips padded by 0.75 s (25.0 % of the input) on average, with zeros"
    (line,) = [line for line in score.remarks if stated in line]
    assert line.startswith("padding, generated, true sound, silence, white noise")
    assert any("padding" in line and "shifted true sound" in line for line in score.remarks)
    assert stated in report.to_text()
    assert stated in page_text({"generated": report}, title="t", clips=0)
    content = json.loads(json.dumps(report.to_json()))["scores"]["align_acc"]
    assert content["judge"]["pads"] == judge.pads
    padding = content["padding"]["generated"]
    assert [padding[case]["sound_s"] for case in "abc"] == pytest.approx([1.0, 0.5, 0.0])
    assert padding["a"]["sound_fraction"] == pytest.approx(1 / 3)
    assert padding["a"]["video_s"] == padding["a"]["video_fraction"] == 0.0
    # A shifted pair is shorter, so it has more padding
    shifted = content["padding"]["shifted"]
    assert all(shifted[case]["sound_s"] > padding[case]["sound_s"] for case in "ab")
    calls = judge.calls
    assert evaluate_folder(*folders, **how).scores["align_acc"] == score
    assert judge.calls == calls  # the padding comes from the cache too


def test_judges_that_do_not_pad_report_none(folders):
    judges = {"sync-sim": LevelJudge()}
    score = evaluate_folder(*folders, metrics=["AlignAcc-sim"], judges=judges).scores[
        "AlignAcc-sim"
    ]
    assert score.to_json()["padding"] == {}
    assert not any("padding" in remark for remark in score.remarks)


def test_judges_get_the_frames_of_the_filter(tmp_path):
    """Frame n of 30 Hz has the place 2 n / 15 at 4 Hz; each picture is the last of its place."""
    folders = make_pairs(tmp_path, (4.0,), n_frames=120, rate=30)
    judge = RecordingJudge(VideoPreprocessing(size_px=24, rate_hz=4.0))
    evaluate_folder(*folders, metrics=["desync"], judges={"synchformer": judge})
    frames = judge.frames[0]
    indices = [max(n for n in range(120) if np.floor(2 * n / 15 + 0.5) <= k) for k in range(16)]
    found = frames.pixels[:, 12, 12].mean(-1)
    assert found == pytest.approx([grey_level(index) for index in indices], abs=4)
    assert frames.times_s == pytest.approx(np.arange(16) / 4)


@pytest.mark.parametrize(
    ("n_frames", "count"), [(250, 200), (200, 200), (197, 200), (196, None), (110, None)]
)
def test_a_protocol_completes_videos_as_its_script(tmp_path, n_frames, count):
    """av-benchmark takes 8 s, and repeats the last frame up to three times."""
    folders = make_pairs(tmp_path, (8.5,), n_frames=n_frames)
    judge = RecordingJudge(VideoPreprocessing(size_px=24, rate_hz=25.0, end_copies=3))
    report = evaluate_folder(
        *folders,
        judges={"synchformer": judge},
        protocol=protocol_named("av-benchmark"),
    )
    if count is None:
        reason = report.scores["desync"].left_out["a"]
        assert f"{n_frames} frames at 25 Hz, expected at least 197 for 8 s" in reason
        return
    pixels = judge.frames[0].pixels
    assert len(pixels) == count
    last = min(n_frames, 200) - 1
    assert pixels[-1, 12, 12].mean() == pytest.approx(grey_level(last), abs=4)
    # Without a protocol, a video keeps its own length
    free = RecordingJudge(judge.video_preprocessing)
    evaluate_folder(*folders, metrics=["desync"], judges={"synchformer": free})
    assert len(free.frames[0]) == n_frames


def test_a_video_without_a_frame_at_the_rate_of_the_judge_is_left_out(tmp_path):
    folders = make_pairs(tmp_path, (0.8,), n_frames=20)
    judge = RecordingJudge(VideoPreprocessing(size_px=24, rate_hz=0.5))
    report = evaluate_folder(*folders, metrics=["desync"], judges={"synchformer": judge})
    left_out = report.scores["desync"].left_out["a"]
    assert "0.80 s of video give no frame at 0.5 Hz" in left_out


def test_a_judge_output_that_is_not_finite_leaves_its_pair_out(folders):
    judge = RecordingJudge(VideoPreprocessing(size_px=8))
    judge.score = lambda frames, samples: float("nan")
    judges = {"synchformer": judge}
    score = evaluate_folder(*folders, metrics=["desync"], judges=judges).scores["desync"]
    assert not score.figures
    assert "'synchformer' returned a number that is not finite" in score.left_out["a"]


def test_cropping_needs_a_frame_grid():
    with pytest.raises(ConfigError, match="own frames can only be squashed"):
        VideoPreprocessing(size_px=8, shape="middle")


def test_an_unreadable_video_leaves_its_clip_out(folders):
    (folders[1] / "b.mp4").write_bytes(b"no video")
    judges = {"sync-sim": LevelJudge()}
    (score,) = evaluate_folder(*folders, metrics=["AlignAcc-sim"], judges=judges).scores.values()
    assert set(score.clips) == {"a", "c"}
    assert "b.mp4" in score.left_out["b"]


def test_metrics_of_our_judges_are_marked_as_not_comparable():
    ours = [name for name in METRICS if name.endswith("-sim")]
    assert ours == ["KLD-sim", "FAD-sim", "AlignAcc-sim"]
    for name in ours:
        assert METRICS[name].judge.endswith("-sim")
        assert "not comparable with" in METRICS[name].reference
