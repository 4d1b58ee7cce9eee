"""What every metric of the registry owes: the best value for the truth, worse for worse, a flag.

Folders of short clips with videos are scored by all metrics at once: the truth itself, results of
which most come a little late and lack a stroke, one noise for all clips, and silence. The judges
have random weights, or are of one line; whatever a judge is, the figures around it must keep this
order.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile
from support.media_files import grey_level, make_video
from support.random_judge import RandomJudge

from foleyflow.evaluation.folder import evaluate_folder
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.scores import WORSE_CONDITIONS, flags
from foleyflow.evaluation.scoring import ALWAYS_REPORTED
from foleyflow.judges.interface import VideoPreprocessing

pytest.importorskip("librosa")
pytest.importorskip("mir_eval")

RATE_HZ, SECONDS, CLIPS = 16_000, 2.4, 12
STROKES = 4
LATE_S = 0.03
# Of metrics that look at the result alone, the truth has no best value.
SINGLE_PROCESS = ("inception_panns", "inception_passt")
SCORED = [name for name in METRICS if name not in ALWAYS_REPORTED]


class AgreementJudge:
    """How well the level of a sound follows the brightness of a video, in each metric's terms."""

    rate_hz, sight, shortest_s = RATE_HZ, VideoPreprocessing(size_px=8, rate_hz=25.0), 0.5
    weights_sha256 = "0" * 64

    def __init__(self, name):
        self.name = name

    def verdict(self, frames, samples):
        hop = self.rate_hz // 25
        count = min(len(frames), len(samples) // hop)
        level = np.abs(samples[: count * hop]).reshape(count, hop).mean(1)
        bright = frames.pixels[:count].mean((1, 2, 3))
        together = 0.0
        if level.std() > 1e-6:
            together = float(np.corrcoef(level, bright)[0, 1])
        together = 1.0 if together > 0.85 else together  # as well as these strokes can
        if self.name == "synchformer":
            return 1.0 - together
        return together if self.name == "imagebind" else float(together == 1.0)


JUDGES = {
    name: RandomJudge(name, seed=seed)
    for seed, name in enumerate(("passt", "panns", "vggish", "clap", "tagger-sim"))
} | {name: AgreementJudge(name) for name in ("sync-sim", "diff-foley", "synchformer", "imagebind")}


def strokes_s(clip):
    """When a clip's strokes fall, at least 0.35 s apart and on frames of 25 Hz."""
    steps = np.random.default_rng(clip).integers(9, 14, STROKES)
    return np.cumsum(steps) / 25


def struck(clip, times_s):
    """A clip's sound, with a pitch of its own."""
    rng = np.random.default_rng(100 + clip)
    sound = 1e-4 * rng.standard_normal(round(SECONDS * RATE_HZ))
    ring_s = np.arange(round(0.12 * RATE_HZ)) / RATE_HZ
    for time_s in times_s:
        tone = np.sin(2 * np.pi * (300 + 250 * clip) * ring_s) * np.exp(-25 * ring_s)
        start = round(time_s * RATE_HZ)
        sound[start : start + len(tone)] += 0.5 * tone[: len(sound) - start]
    return sound.astype(np.float32)


def late(clip):
    """Two of three clips come late and lack their last stroke."""
    return struck(clip, strokes_s(clip)[:-1] + LATE_S if clip % 3 else strokes_s(clip))


def brightness(clip):
    """Frames that flash with each stroke and fade."""
    levels = np.zeros(round(SECONDS * 25), int)
    for time_s in strokes_s(clip):
        at = round(time_s * 25)
        levels[at : at + 3] = (13, 5, 1)[: len(levels) - at]
    return levels


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Name of a folder -> its report, with every metric."""
    root = tmp_path_factory.mktemp("contract")
    noise = np.random.default_rng(9).uniform(-0.3, 0.3, round(SECONDS * RATE_HZ))
    made = {
        "truth": lambda clip: struck(clip, strokes_s(clip)),
        "late": late,
        "noise": lambda clip: noise.astype(np.float32),
        "silence": lambda clip: np.zeros(len(noise), np.float32),
    }
    took_s = {"truth": 0.0, "late": 0.5, "noise": 2.0, "silence": 1.0}
    for folder in ("reference", *made):
        (root / folder).mkdir()
    for clip in range(CLIPS):
        levels = brightness(clip)
        make_video(
            root / "reference" / f"{clip:02d}.mp4",
            n_frames=len(levels),
            width=16,
            height=16,
            painter=lambda k, levels=levels: np.full((16, 16, 3), grey_level(levels[k]), np.uint8),
        )
        truth = struck(clip, strokes_s(clip))
        soundfile.write(root / "reference" / f"{clip:02d}.wav", truth, RATE_HZ, subtype="FLOAT")
        for folder, sound in made.items():
            path = root / folder / f"{clip:02d}.wav"
            soundfile.write(path, sound(clip), RATE_HZ, subtype="FLOAT")
            record = {"duration_s": SECONDS, "timings_s": {"total": took_s[folder]}}
            path.with_suffix(".wav.json").write_text(json.dumps(record))
    return {
        folder: evaluate_folder(root / folder, root / "reference", metrics=SCORED, judges=JUDGES)
        for folder in made
    }


def value(reports, folder, name):
    return reports[folder].scores[name].figures["generated"].value


def best(metric):
    """The best possible value by a record, None where there is no end to it."""
    if metric.direction == "zero":
        return 0.0
    bound = metric.range[1] if metric.direction == "higher" else metric.range[0]
    return bound if math.isfinite(bound) else None


@pytest.mark.parametrize("name", METRICS)
def test_a_record_says_how_to_read_its_figures(name):
    metric = METRICS[name]
    assert metric.name == name and metric.unit and len(metric.reference) > 20
    assert metric.range[0] < metric.range[1]
    assert (metric.judge is None) == (metric.to_json()["heard_as"] is None)
    assert metric.judge is None or metric.judge in JUDGES


@pytest.mark.parametrize("name", SCORED)
def test_the_truth_has_the_best_value(reports, name):
    score = reports["truth"].scores[name]
    assert score.figures["generated"].count == CLIPS and not score.left_out
    if name in SINGLE_PROCESS:
        assert score.figures["generated"] == score.figures["true"]
        return
    wanted = best(METRICS[name])
    assert wanted is not None
    assert score.figures["generated"].value == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", SCORED)
def test_worse_results_have_worse_values(reports, name):
    metric = METRICS[name]
    values = [value(reports, folder, name) for folder in ("truth", "late", "noise")]
    assert all(metric.range[0] <= v <= metric.range[1] for v in values)
    worse = [not metric.at_least_as_good(values[2], values[0])]
    if name not in SINGLE_PROCESS:
        worse.append(not metric.at_least_as_good(values[2], values[1]))
    if name not in (*SINGLE_PROCESS, *BLIND_TO_LAST_MISSES):
        worse.append(not metric.at_least_as_good(values[1], values[0]))
    assert all(worse), values


# A fault of the published script, told in `script_onsets`: misses at the end are not counted.
BLIND_TO_LAST_MISSES = ("onset_ap_mmaudio_script", "onset_f1_mmaudio_script")


@pytest.mark.parametrize("name", SCORED)
def test_a_silence_that_is_as_good_is_said(reports, name):
    score = reports["silence"].scores[name]
    if name == "generation_time":  # silence takes no time to make, so it has no row
        assert "silence" not in score.figures
        return
    assert score.figures["generated"].value == pytest.approx(
        score.figures["silence"].value, abs=1e-9
    )
    assert "silence" in score.controls_as_good
    assert any(line.startswith("silence is as good or better") for line in flags({"made": score}))


@pytest.mark.parametrize(
    "name", [n for n in SCORED if n not in (*SINGLE_PROCESS, "generation_time")]
)
def test_no_control_is_as_good_as_the_truth(reports, name):
    score = reports["truth"].scores[name]
    assert set(score.figures) >= {"silence", "noise"}
    assert set(score.controls_as_good) <= set(AS_GOOD_AS_THE_TRUTH.get(name, ()))
    assert set(score.controls_as_good) < set(WORSE_CONDITIONS)


# A fault of the published script, told in `script_onsets`: nothing predicted is perfect.
AS_GOOD_AS_THE_TRUTH = {"onset_ap_mmaudio_script": ("silence",)}


def test_what_every_report_holds_keeps_the_same_order(reports):
    first = {name: report.synchrony.windows[0] for name, report in reports.items()}
    assert first["truth"].f1.mean == 1.0
    assert first["truth"].f1.mean > first["late"].f1.mean > first["noise"].f1.mean
    assert first["truth"].gain.mean > first["late"].gain.mean > first["noise"].gain.mean
    assert first["truth"].shuffled_f1.mean < 0.5
    assert reports["truth"].synchrony.median_lag_s == pytest.approx(0.0, abs=1e-9)
    assert reports["late"].synchrony.median_lag_s == pytest.approx(LATE_S, abs=0.004)
    assert len(reports["silence"].silent) == CLIPS and not reports["truth"].silent
