"""Sounds as judges take them, records of judges, and errors for missing judges."""

from __future__ import annotations

import numpy as np
import pytest
from support.random_judge import RandomJudge

from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.scoring import judge_for
from foleyflow.judges.interface import ClipRule, judge_json, preprocess_audio
from foleyflow.signals import Waveform


def waveform(seconds, *, rate_hz=16000, channels=1):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.5, 0.5, (channels, round(seconds * rate_hz))).astype(np.float32)
    return Waveform(samples=samples, rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("rule", "seconds", "expected"),
    [
        (ClipRule(longest_s=1.0, filled=True), 0.5, 8000),
        (ClipRule(longest_s=1.0, filled=True), 2.0, 8000),
        (ClipRule(longest_s=1.0), 0.5, 4000),
        (ClipRule(longest_s=1.0), 2.0, 8000),
        (ClipRule(), 2.0, 16000),
    ],
)
def test_sounds_are_cut_and_padded_by_the_clip_rule(rule, seconds, expected):
    judge = RandomJudge(clip=rule)
    for rate_hz in (8000, 22050, 96000):
        samples = preprocess_audio(judge, waveform(seconds, rate_hz=rate_hz))
        assert len(samples) == pytest.approx(expected, abs=1)
        assert samples.dtype == np.float32


def test_padding_is_zeros_and_channels_are_averaged():
    judge = RandomJudge(clip=ClipRule(longest_s=1.0, filled=True))
    sound = waveform(0.5, rate_hz=8000, channels=2)
    samples = preprocess_audio(judge, sound)
    assert np.array_equal(samples[:4000], sound.mono())
    assert not samples[4000:].any()
    assert not preprocess_audio(judge, waveform(0.0)).any()


def test_missing_judge_is_named_in_the_error():
    with pytest.raises(CheckpointError, match=r"kl_passt needs the judge 'passt'.*available: none"):
        judge_for(METRICS["kl_passt"], {})
    judges = {"panns": RandomJudge("panns")}
    with pytest.raises(CheckpointError, match=r"frechet_vggish needs .*'vggish'.*available: panns"):
        judge_for(METRICS["frechet_vggish"], judges)
    assert judge_for(METRICS["kl_panns"], judges) is judges["panns"]


def test_judge_under_another_name_is_refused():
    with pytest.raises(CheckpointError, match="'passt', got one named 'panns'"):
        judge_for(METRICS["kl_passt"], {"passt": RandomJudge("panns")})


def test_judge_json_contains_weights_and_preprocessing():
    judge = RandomJudge(rate_hz=8000, clip=ClipRule(longest_s=2.0))
    record = judge_json(judge)
    assert record["name"] == "passt"
    assert record["weights_sha256"] == judge.weights_sha256
    assert (record["rate_hz"], record["longest_s"], record["filled"]) == (8000, 2.0, False)
    assert judge_json(RandomJudge(seed=1))["weights_sha256"] != judge.weights_sha256


def test_invalid_clip_rules_are_refused():
    with pytest.raises(ConfigError, match="longest_s: got 0, expected more than 0"):
        ClipRule(longest_s=0)
    with pytest.raises(ConfigError, match="filled: expected longest_s"):
        ClipRule(filled=True)
