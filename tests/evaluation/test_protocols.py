"""Protocols: their metrics, band-limited references, and the refusal to mix them in a table."""

from __future__ import annotations

import html
import json
from functools import partial

import numpy as np
import pytest
import soundfile
import soxr
from support.click_sounds import write_sound
from support.random_judge import RandomJudge

from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.cases import Case
from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.html_report import page_text
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.metrics.semantics import kl_divergence
from foleyflow.evaluation.metrics.speed import generation_time
from foleyflow.evaluation.protocols import PROTOCOLS, protocol_named
from foleyflow.evaluation.report import systems_text
from foleyflow.evaluation.scores import Figure, MetricScore, common_protocol, scores_text
from foleyflow.evaluation.scoring import score_cases
from foleyflow.judges.interface import ClipRule
from foleyflow.judges.preprocessing import sinc_resample
from foleyflow.signals import Waveform

pytest.importorskip("librosa")
PAPER, AV_BENCHMARK = PROTOCOLS["paper"], PROTOCOLS["av-benchmark"]
RATE_HZ = 16000


@pytest.fixture
def folders(tmp_path):
    """Three pairs of 8.5 s of noise in two channels, increasingly bright; two have sidecars."""
    rng = np.random.default_rng(0)
    for index, case in enumerate("abc"):
        for side in ("true", "generated"):
            samples = rng.uniform(-0.2, 0.2, (round(8.5 * RATE_HZ), 2)) + 0.05
            samples[:, 0] = np.cumsum(samples[:, 0] - 0.05) / (10 + 10 * index)
            write_sound(tmp_path / side / f"{case}.wav", samples, RATE_HZ, subtype="FLOAT")
    for name, took_s in (("a.wav.json", 17), ("b.json", 8.5)):
        record = {"duration_s": 8.5, "timings_s": {"total": took_s}}
        (tmp_path / "generated" / name).write_text(json.dumps(record))
    return tmp_path / "generated", tmp_path / "true"


def judges(*names):
    return {name: RandomJudge(name, clip=ClipRule(), rate_hz=8000) for name in names}


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_protocols_name_existing_metrics_and_print_all_notes(protocol):
    assert PROTOCOLS[protocol.name] is protocol
    assert set(protocol.metrics) <= METRICS.keys()
    content = json.loads(json.dumps(protocol.to_json(), allow_nan=False))
    assert content["hearing"] == protocol.audio_preprocessing.description
    assert all(note in protocol.to_text() for note in protocol.notes)


def test_an_unknown_protocol_is_refused_with_the_list_of_known_ones():
    with pytest.raises(ConfigError, match="expected one of paper, av-benchmark") as caught:
        protocol_named("avbench")
    assert caught.value.hint == "did you mean av-benchmark?"


def test_metrics_without_a_judge_are_listed_with_the_reason(folders):
    report = evaluate_folder(*folders, protocol=PAPER, judges=judges("passt"))
    assert list(report.scores) == ["kl_passt", "generation_time"]
    assert report.not_measured == {
        "frechet_vggish": "the judge 'vggish' is not available",
        "align_acc": "the judge 'diff-foley' is not available",
    }
    assert {score.protocol for score in report.scores.values()} == {"paper"}
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert content["protocol"]["name"] == "paper"
    assert set(content["not_measured"]) == {"frechet_vggish", "align_acc"}
    text = report.to_text()
    assert "protocol paper: " in text and "not measured: 2" in text
    page = page_text({"generated": report}, title="x")
    assert "band-limited true sound" in page and "not measured" in page
    assert all(html.escape(note) in page for note in PAPER.notes)


def test_a_protocol_without_any_judge_is_refused(folders):
    message = "none of the judges of the protocol 'paper' is available"
    with pytest.raises(CheckpointError, match=message):
        evaluate_folder(*folders, protocol=PAPER)


def test_metrics_together_with_a_protocol_are_refused(folders):
    with pytest.raises(ConfigError, match="got metrics onset_f1 and the protocol 'paper'"):
        evaluate_folder(*folders, protocol=PAPER, metrics=["onset_f1"], judges=judges("passt"))


def test_the_paper_protocol_has_full_band_and_band_limited_references(folders):
    judge = judges("passt")["passt"]
    report = evaluate_folder(*folders, protocol=PAPER, judges={"passt": judge})
    score = report.scores["kl_passt"]
    assert {"generated", "generated_narrow", "true", "true_narrow"} <= score.figures.keys()
    assert "band-limited: the true sound at 8000 Hz" in score.remarks

    def logits_of(samples, rate_hz):
        sound = Waveform(samples=samples.T.astype(np.float32), rate_hz=rate_hz)
        return judge.logits(PAPER.audio_preprocessing.apply(sound, judge.rate_hz))

    by_condition = {"generated": [], "generated_narrow": [], "true_narrow": []}
    for case in "abc":
        generated, true = (soundfile.read(folder / f"{case}.wav")[0] for folder in folders)
        narrow = soxr.resample(true.astype(np.float32), RATE_HZ, 8000, quality="VHQ")
        narrow = logits_of(narrow, 8000)
        generated, true = logits_of(generated, RATE_HZ), logits_of(true, RATE_HZ)
        for condition, (first, second) in {
            "generated": (true, generated),
            "generated_narrow": (narrow, generated),
            "true_narrow": (true, narrow),
        }.items():
            by_condition[condition].append(kl_divergence(first[None], second[None])[0])
    for condition, values in by_condition.items():
        assert score.figures[condition].value == pytest.approx(np.mean(values), rel=1e-5)
    assert score.figures["generated"].value != score.figures["generated_narrow"].value
    text = scores_text({"system": report.scores})
    assert "system [generated, against band-limited true sound]" in text
    assert "[band-limited true sound]" in text


def test_av_benchmark_removes_the_offset_mixes_channels_and_refuses_short_sounds(folders):
    judge = judges("panns")["panns"]
    short = soundfile.read(folders[0] / "c.wav")[0][: 8 * RATE_HZ - 2]
    write_sound(folders[0] / "c.wav", short, RATE_HZ, subtype="FLOAT")
    report = evaluate_folder(*folders, protocol=AV_BENCHMARK, judges={"panns": judge})
    score = report.scores["kl_panns"]
    assert set(score.clips) == {"a", "b"}
    assert "expected at least 8 s" in score.left_out["c"]
    assert "generated_narrow" not in score.figures
    assert score.judge["resampler"].startswith("windowed sinc of width 6, mean of the channels, of")
    generated, true = (soundfile.read(folder / "a.wav")[0].mean(1) for folder in folders)
    logits = [
        judge.logits(sinc_resample((x - x.mean()).astype(np.float32), RATE_HZ, 8000)[:64000])
        for x in (true, generated)
    ]
    wanted = kl_divergence(logits[0][None], logits[1][None])[0]
    assert score.clips["a"] == pytest.approx(wanted, rel=1e-3)


def test_cached_values_belong_to_their_protocol(folders, tmp_path):
    def score_by(protocol, cache=None):
        report = evaluate_folder(*folders, protocol=protocol, judges=judges("passt"), cache=cache)
        return report.scores["kl_passt"]

    cache = ResultCache(tmp_path / "cache")
    paper, av_benchmark = score_by(PAPER, cache), score_by(AV_BENCHMARK, cache)
    assert av_benchmark == score_by(AV_BENCHMARK)
    assert paper.clips != av_benchmark.clips


def score(protocol):
    figure = Figure(value=1.0, low=None, high=None, count=3)
    return MetricScore(metric=METRICS["kl_passt"], figures={"generated": figure}, protocol=protocol)


def test_scores_of_different_protocols_are_refused_in_one_table(folders):
    assert common_protocol([]) is None
    assert common_protocol([score("paper"), score("paper")]) == "paper"
    mixed = {"a": {"kl_passt": score("paper")}, "b": {"kl_passt": score("av-benchmark")}}
    message = "scores of 'paper' and 'av-benchmark' cannot share a table"
    with pytest.raises(ConfigError, match=message):
        scores_text(mixed)
    mixed["b"] = {"kl_passt": score(None)}
    with pytest.raises(ConfigError, match="scores of 'paper' and no protocol cannot share"):
        scores_text(mixed)
    reports = {
        name: evaluate_folder(*folders, protocol=p, judges=judges("passt"))
        for name, p in PROTOCOLS.items()
    }
    for table in (partial(page_text, title="x"), systems_text):
        with pytest.raises(ConfigError, match=message):
            table(reports)


def test_several_systems_by_one_protocol(folders, tmp_path):
    for case in "abc":
        for folder, name in zip(folders, ("ours", "gt"), strict=True):
            samples = soundfile.read(folder / f"{case}.wav")[0]
            write_sound(tmp_path / "all" / case / f"{name}.wav", samples, RATE_HZ, subtype="FLOAT")
    reports = evaluate_systems(tmp_path / "all", protocol=PAPER, judges=judges("passt"))
    text = systems_text(reports)
    assert text.count("protocol paper: ") == 1
    assert "ours [generated, against band-limited true sound]" in text


def test_generation_time_is_read_from_sidecars(folders):
    case = [Case(name=name, generated=folders[0] / f"{name}.wav") for name in "abc"]
    score = score_cases(case, ["generation_time"])["generation_time"]
    assert score.clips == {"a": 2.0, "b": 1.0}
    assert score.figures["generated"].value == 1.5
    assert score.left_out == {"c": "no c.wav.json with the time of its generation next to it"}
    assert score_cases(case[2:], ["generation_time"])["generation_time"].figures == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1", r"expected \{.duration_s.: 8.0.*JSONDecodeError"),
        ('{"duration_s": 8}', "KeyError"),
        ('{"duration_s": 0, "timings_s": {"total": 1}}', r"got 1\.0 s for 0\.0 s of sound"),
        ('{"duration_s": 1, "timings_s": {"total": -1}}', r"-1\.0 s for 1\.0 s of sound"),
    ],
)
def test_sidecars_without_valid_times_are_refused(tmp_path, text, message):
    (tmp_path / "a.wav.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        generation_time(tmp_path / "a.wav")
