"""Metrics over folders of real files: controls, flags, judges, cache and left-out clips."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import soundfile
from support.click_sounds import RATE_HZ, write_sound
from support.click_sounds import clicks as short_clicks
from support.media_files import make_video
from support.random_judge import RandomJudge

from foleyflow.errors import CheckpointError, ConfigError, UsageError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.cases import Silence, Sound
from foleyflow.evaluation.computations import Pairwise, PairwiseGroup
from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics import METRICS, script_onsets
from foleyflow.evaluation.metrics.distribution import fit_gaussian, frechet_distance
from foleyflow.evaluation.metrics.semantics import kl_divergence
from foleyflow.evaluation.pairwise_scores import NO_TRUE_SOUND
from foleyflow.evaluation.report import systems_text
from foleyflow.evaluation.run import evaluate
from foleyflow.evaluation.scores import Figure, MetricScore
from foleyflow.evaluation.scoring import ALWAYS_REPORTED, check_metrics
from foleyflow.judges.interface import ClipRule
from foleyflow.signals import Waveform

pytest.importorskip("librosa")

clicks = partial(short_clicks, decay_s=0.01)
TIMES_S = {"a": [0.5, 1.3, 2.2], "b": [0.85, 1.8], "c": [0.3, 1.5, 2.6]}
PAIR_METRICS = [name for name, m in METRICS.items() if isinstance(m.computation, Pairwise)]


def folders(root, *, late_s=0.0, noise=0.0):
    """True clicks, and the same ones late and with noise."""
    rng = np.random.default_rng(1)
    for case, times_s in TIMES_S.items():
        write_sound(root / "true" / f"{case}.wav", clicks(times_s), subtype="FLOAT")
        generated = clicks([t + late_s for t in times_s])
        generated += noise * rng.uniform(-1, 1, len(generated))
        write_sound(root / "generated" / f"{case}.wav", generated, subtype="FLOAT")
    return root / "generated", root / "true"


def test_every_metric_has_a_computation_or_is_always_reported():
    alone = [name for name, metric in METRICS.items() if metric.judge is None]
    assert sorted([*PAIR_METRICS, *ALWAYS_REPORTED, "generation_time"]) == sorted(alone)


def test_silence_that_scores_well_is_flagged(tmp_path):
    names = ["onset_ap_mmaudio_script", "onset_ap"]
    report = evaluate_folder(*folders(tmp_path, late_s=0.35), metrics=names)
    script = report.scores["onset_ap_mmaudio_script"]
    assert script.figures["silence"].value == 1.0
    assert "silence" in script.controls_as_good
    flag = "! silence is as good or better, so the figure proves nothing about: generated"
    assert flag in report.to_text()
    content = report.to_json()["scores"]["onset_ap_mmaudio_script"]
    assert "silence" in content["controls_as_good_as_generated"]
    assert report.scores["onset_ap"].figures["silence"].value == 0.0


def test_flags_follow_the_direction_of_the_metric():
    def score(name, generated, control):
        values = {"generated": generated, "true": generated, "silence": control}
        figures = {
            condition: Figure(value=v, low=v, high=v, count=2) for condition, v in values.items()
        }
        return MetricScore(metric=METRICS[name], figures=figures).controls_as_good

    assert score("onset_f1", 0.5, 0.5) == score("onset_f1", 0.5, 0.6) == ("silence",)
    assert score("onset_f1", 0.5, 0.4) == ()
    assert score("log_spectral_distance", 5.0, 4.0) == ("silence",)
    assert score("log_spectral_distance", 5.0, 6.0) == ()
    assert score("median_lag", -0.02, 0.01) == ("silence",)


def test_metrics_only_add_scores_to_the_report(tmp_path):
    pair = folders(tmp_path)
    plain, scored = evaluate_folder(*pair), evaluate_folder(*pair, metrics=["onset_f1"])
    assert "scores" not in plain.to_json()
    assert {k: v for k, v in scored.to_json().items() if k != "scores"} == plain.to_json()
    assert scored.to_text().startswith(plain.to_text().rstrip())
    windows = scored.to_json()["synchrony"]["windows"]
    assert scored.scores["onset_f1"].figures["generated"].value == windows["50_ms"]["f1"]["mean"]


def test_the_report_with_scores_is_strict_json(tmp_path):
    names = ["log_spectral_distance", "onset_f1_mmaudio_script", "kl_passt"]
    judges = {"passt": RandomJudge()}
    report = evaluate_folder(*folders(tmp_path, late_s=0.02), metrics=names, judges=judges)
    record = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert list(record["scores"]) == names
    distance = record["scores"]["log_spectral_distance"]
    assert distance["metric"]["range"] == [0.0, None]
    assert distance["rows"]["generated"]["count"] == 3


def write_events(folder, *, late_s=0.0):
    for case, times_s in TIMES_S.items():
        events = [{"time_s": time_s + late_s} for time_s in times_s]
        (folder / f"{case}.json").write_text(json.dumps({"events": events, "duration_s": 3.0}))


def test_onsets_are_compared_with_events_and_other_metrics_with_the_sound(tmp_path):
    generated, true = folders(tmp_path)
    write_events(true, late_s=0.35)
    names = ["onset_f1", "onset_f1_300ms", "onset_f1_mmaudio_script", "log_spectral_distance"]
    scores = evaluate_folder(generated, true, metrics=names).scores
    # By events that are 0.35 s off, even the true sound is wrong; its spectrum is right.
    assert [scores[name].figures["true"].value for name in names] == pytest.approx([0, 0, 0, 0])
    for case in TIMES_S:
        (true / f"{case}.wav").unlink()
    # A video without an audio track next to the events is no true sound.
    make_video(true / "a.mp4")
    names += ["kl_passt", "inception_passt"]
    judges = {"passt": RandomJudge()}
    scores = evaluate_folder(generated, true, metrics=names, judges=judges).scores
    assert list(scores["onset_f1"].figures) == ["generated", "silence"]
    assert set(scores["kl_passt"].left_out) == set(TIMES_S)
    assert scores["kl_passt"].figures == scores["inception_passt"].left_out == {}
    assert scores["log_spectral_distance"].figures == {}
    assert scores["log_spectral_distance"].left_out == dict.fromkeys(TIMES_S, NO_TRUE_SOUND)


@pytest.mark.parametrize("broken", ["nan", "text"])
def test_a_broken_reference_sound_is_left_out_where_events_do_not_suffice(tmp_path, broken):
    generated, true = folders(tmp_path)
    write_events(true)
    if broken == "nan":
        write_sound(true / "b.wav", np.full(3 * RATE_HZ, np.nan), subtype="FLOAT")
    else:
        (true / "b.wav").write_text("no sound")
    scores = evaluate_folder(generated, true, metrics=["onset_f1", "log_spectral_distance"]).scores
    assert set(scores["onset_f1"].clips) == set(TIMES_S)
    left_out = {"b (true sound)", "b (white noise)", "c (other clip)"}
    left_out |= {"b (silence)"} if broken == "text" else set()
    assert set(scores["onset_f1"].left_out) == left_out
    assert set(scores["log_spectral_distance"].clips) == {"a", "c"}
    assert "b" in scores["log_spectral_distance"].left_out


def test_a_single_clip_has_no_other_clip(tmp_path):
    write_sound(tmp_path / "generated/a.wav", clicks([0.5]))
    write_sound(tmp_path / "true/a.wav", clicks([0.5]))
    report = evaluate_folder(tmp_path / "generated", tmp_path / "true", metrics=["onset_f1"])
    assert list(report.scores["onset_f1"].figures) == ["generated", "true", "silence", "noise"]


def test_the_other_clip_is_the_previous_one(tmp_path):
    generated, true = folders(tmp_path)
    # The true sound of b equals that of a, so "other" is exact for b only.
    write_sound(true / "b.wav", clicks(TIMES_S["a"]), subtype="FLOAT")
    score = evaluate_folder(generated, true, metrics=["onset_f1"]).scores["onset_f1"]
    assert score.figures["other"].value == pytest.approx(1 / 3, abs=0.01)


@pytest.fixture
def many(tmp_path):
    """Twelve pairs of noises of half a second, each a little brighter than the previous one."""
    rng = np.random.default_rng(0)
    for index in range(12):
        for side in ("true", "generated"):
            sound = np.cumsum(rng.uniform(-0.05, 0.05, 4000)) * (12 - index) / 40
            sound += rng.uniform(-0.3, 0.3, 4000) * index / 12
            write_sound(tmp_path / side / f"{index:02}.wav", np.clip(sound, -1, 1), 8000)
    return tmp_path / "generated", tmp_path / "true"


def outputs_of(folder, method):
    sounds = [soundfile.read(path, dtype="float32")[0] for path in sorted(folder.glob("*.wav"))]
    return [method(np.pad(sound, (0, 8000 - len(sound)))) for sound in sounds]


def test_judge_metrics_equal_their_definition_on_the_judges_outputs(many):
    judge = RandomJudge()
    names = ["kl_passt", "frechet_passt", "inception_passt"]
    scores = evaluate_folder(*many, metrics=names, judges={"passt": judge}).scores
    generated, true = (np.stack(outputs_of(folder, judge.logits)) for folder in many)
    assert list(scores["kl_passt"].clips.values()) == pytest.approx(kl_divergence(true, generated))
    generated, true = (
        fit_gaussian(np.concatenate(outputs_of(folder, judge.embed))) for folder in many
    )
    distance = scores["frechet_passt"]
    assert generated.count == 24
    assert distance.figures["generated"].value == pytest.approx(frechet_distance(true, generated))
    for score in scores.values():
        assert score.judge["weights_sha256"] == judge.weights_sha256
    assert scores["kl_passt"].figures["true"].value == pytest.approx(0, abs=1e-12)
    assert distance.figures["true"].value == pytest.approx(0, abs=1e-9)
    assert distance.figures["silence"].value > distance.figures["generated"].value
    assert "other" in scores["kl_passt"].figures
    # The set of all other clips' true sounds is the set of true sounds: no control.
    assert "other" not in distance.figures
    assert distance.figures["generated"].low is None
    assert any("no interval" in remark for remark in distance.remarks)
    assert scores["inception_passt"].figures["generated"].value >= 1


def test_few_embeddings_and_few_clips_give_remarks(tmp_path):
    judges = {"passt": RandomJudge(dimension=6)}
    names = ["frechet_passt", "inception_passt"]
    scores = evaluate_folder(*folders(tmp_path), metrics=names, judges=judges).scores
    assert any("6 embeddings of 6 numbers" in remark for remark in scores["frechet_passt"].remarks)
    assert scores["inception_passt"].figures == {}
    assert "generated: 3 clips for 10 splits" in scores["inception_passt"].remarks[0]


def test_a_clip_that_a_judge_refuses_is_listed(tmp_path):
    generated, true = folders(tmp_path)
    write_sound(generated / "b.wav", clicks([0.1], duration_s=0.3))
    judges = {"passt": RandomJudge(clip=ClipRule())}
    score = evaluate_folder(generated, true, metrics=["kl_passt"], judges=judges).scores["kl_passt"]
    assert set(score.clips) == {"a", "c"}
    assert "expected at least 4000" in score.left_out["b"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("onset_f", ConfigError, "no metric 'onset_f'; did you mean 'onset_f1'"),
        ("pesq", ConfigError, "no metric 'pesq'$"),
        ("gain", ConfigError, "gain is part of every report"),
        ("frechet_vggish", CheckpointError, "frechet_vggish needs the judge 'vggish'"),
    ],
)
def test_metrics_that_cannot_be_computed_are_refused_before_any_work(
    tmp_path, name, error, message
):
    with pytest.raises(error, match=message):
        check_metrics(["onset_f1", name], {})
    with pytest.raises(error, match=message):
        evaluate_folder(tmp_path, tmp_path, metrics=[name])


def test_a_cache_gives_the_same_report_without_computation(tmp_path, many):
    names = ["onset_f1", "log_spectral_distance", "kl_passt", "frechet_passt"]

    def run():
        cache, judge = ResultCache(tmp_path / "cache"), RandomJudge()
        report = evaluate_folder(*many, metrics=names, judges={"passt": judge}, cache=cache)
        return report.to_json(), cache, judge

    uncached = evaluate_folder(*many, metrics=names, judges={"passt": RandomJudge()}).to_json()
    first, cache, judge = run()
    assert first == uncached
    assert judge.calls > 0
    again, cache, judge = run()
    assert again == first
    assert (cache.misses, judge.calls) == (0, 0)
    # One changed sound: its onsets and loudness, its pairs in two groups and two judge outputs.
    write_sound(many[0] / "03.wav", np.zeros(4000), 8000)
    changed, cache, judge = run()
    assert (cache.misses, judge.calls) == (6, 2)
    assert changed != first


def test_systems_share_their_controls(tmp_path):
    for case, times_s in TIMES_S.items():
        write_sound(tmp_path / case / "gt.wav", clicks(times_s))
        write_sound(tmp_path / case / "exact.wav", clicks(times_s))
        write_sound(tmp_path / case / "late.wav", clicks([t + 0.2 for t in times_s]))
    calls = []
    reports = evaluate_systems(
        tmp_path,
        metrics=["onset_f1", "envelope_correlation"],
        progress=lambda *counts: calls.append(counts),
    )
    values = [report.scores["onset_f1"].figures["generated"].value for report in reports.values()]
    assert values == [1.0, 0.0]
    assert calls == [(done, 12) for done in range(1, 13)]  # onsets, then scores, of each system
    text = systems_text(reports)
    assert text.count("[silence]") == text.count("[true sound]") == 2
    assert "! silence is as good or better, so the figure proves nothing about: late\n" in text
    # A system with other clips has other controls, which are then listed separately.
    (tmp_path / "a" / "late.wav").unlink()
    text = systems_text(evaluate_systems(tmp_path, metrics=["onset_f1"]))
    assert "[true sound, late]" in text


def test_silence_is_analysed_once_for_clips_of_one_length():
    def sound(name, count):
        return Sound(name, lambda: Waveform(samples=np.ones((1, count), np.float32), rate_hz=8000))

    shared, calls = {}, []
    for name, count in (("a", 9), ("b", 9), ("c", 5)):
        silence = Silence(sound(name, count), shared)
        assert silence.identity == f"silence:{name}"
        shape = silence.analysis("shape", lambda sound: calls.append(1) or sound.samples.shape)
        assert shape == silence.waveform.samples.shape and not silence.waveform.samples.any()
    assert len(calls) == 2


def test_clips_that_are_left_out_count_as_done(tmp_path):
    generated, true = folders(tmp_path)
    (generated / "b.wav").write_bytes(b"no sound")
    calls = []
    evaluate_folder(
        generated, true, metrics=["onset_f1"], progress=lambda *counts: calls.append(counts)
    )
    assert calls == [(1, 6), (2, 6), (3, 6), (5, 6), (6, 6)]


def test_two_groups_share_the_published_detector(tmp_path, monkeypatch):
    lengths, detect = [], script_onsets.detect_script_onsets

    def counted(samples, rate_hz):
        lengths.append(len(samples))
        return detect(samples, rate_hz)

    monkeypatch.setattr(script_onsets, "detect_script_onsets", counted)
    generated, true = folders(tmp_path, late_s=0.1)
    names = ["onset_f1_300ms", "onset_f1_mmaudio_script"]
    both = evaluate_folder(generated, true, metrics=names).scores
    # Generated, true and noise of three clips, and one silence for all
    assert len(lengths) == 3 * 3 + 1
    for name in names:
        assert evaluate_folder(generated, true, metrics=[name]).scores[name] == both[name]


def test_a_metric_needs_only_its_record(tmp_path, monkeypatch):
    group = PairwiseGroup(
        name="peaks",
        modules=(),
        analyse=lambda waveform: float(np.abs(waveform.samples).max()),
        analyse_events=None,
        compare=lambda true, sound: abs(true - sound),
    )
    computation = Pairwise(group=group)
    peak = Metric(name="peaks", direction="lower", reference="test", computation=computation)
    monkeypatch.setitem(METRICS, peak.name, peak)
    report = evaluate_folder(*folders(tmp_path, noise=0.02), metrics=[peak.name, "onset_f1"])
    score = report.scores[peak.name]
    assert list(score.figures) == ["generated", "true", "silence", "noise", "other"]
    assert 0 < score.figures["generated"].value < score.figures["silence"].value
    assert score.figures["true"].value == 0
    assert peak.name in report.to_text()


def test_evaluate_prints_nothing_and_reports_missing_judges(tmp_path, capsys):
    generated, true = folders(tmp_path)
    missing, calls = [], []
    with pytest.raises(CheckpointError, match="'passt': weights not found"):
        evaluate(generated, true, metrics=["kl_passt"], judge_folder=tmp_path)
    reports = evaluate(
        generated,
        true,
        metrics=["onset_f1"],
        cache_folder=tmp_path / "cache",
        progress=lambda *counts: calls.append(counts),
        on_missing_judge=missing.append,
    )
    expected = evaluate_folder(generated, true, metrics=["onset_f1"])
    assert reports["generated"].to_json() == expected.to_json()
    assert calls[-1] == (6, 6) and missing == []
    with pytest.raises(UsageError, match="a pattern was given, but no REFERENCE"):
        evaluate(tmp_path, generated_pattern="{case}/late")
    assert capsys.readouterr() == ("", "")
