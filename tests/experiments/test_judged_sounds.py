"""KLD, FAD and Align Acc of sounds in memory equal those of `foleyflow evaluate` on files."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from support import bouncing_ball
from support.small_judges import SMALL_NETWORKS, randomised

from foleyflow.evaluation.cases import Case
from foleyflow.evaluation.protocols import PROTOCOLS
from foleyflow.evaluation.scoring import score_cases
from foleyflow.experiments.judged_sounds import (
    JUDGED_COLUMNS,
    PUBLISHED_COLUMNS,
    SIMULATION_COLUMNS,
    ColumnJudges,
    SoundScores,
    load_column_judges,
)
from foleyflow.features.frames import Split
from foleyflow.judges.adapters import PUBLISHED
from foleyflow.judges.interface import ClipRule
from foleyflow.media.waveform import fit_length, read_waveform
from foleyflow.signals import Waveform

WINDOW_S = 2.56
RATE_HZ = 48_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Split:
    """Four simulated clips, longer than the window."""
    from foleyflow.simulation.dataset.simulate import simulate

    folder = tmp_path_factory.mktemp("clips")
    simulate(
        folder,
        clips=4,
        seed=5,
        split="test",
        duration_s=2.8,
        workers=1,
        sample_scene=bouncing_ball.sample_scene,
    )
    return Split.at(folder, "test")


@pytest.fixture(scope="module")
def sounds(clips) -> tuple[list[Waveform], list[Waveform]]:
    """The first 2.56 s of the true sounds, and the same sounds late by 0.3 s with noise."""
    true, generated = [], []
    rng = np.random.default_rng(0)
    for index in range(len(clips.clips)):
        with clips.clips.files(index) as (_, path):
            samples = read_waveform(path, rate_hz=RATE_HZ).mono()
        samples = fit_length(samples, round(WINDOW_S * RATE_HZ))
        late = np.roll(samples, round(0.3 * RATE_HZ))
        late += 0.003 * rng.standard_normal(len(late)).astype(np.float32)
        true.append(Waveform(samples=samples[None], rate_hz=RATE_HZ))
        generated.append(Waveform(samples=late[None], rate_hz=RATE_HZ))
    return true, generated


def evaluated(folder, clips, sounds, judges, columns, protocol=None) -> dict[str, float]:
    """Column -> value by the evaluation of files."""
    cases = []
    for index, pair in enumerate(zip(*sounds, strict=True)):
        paths = [folder / f"{side}-{index}.wav" for side in ("true", "generated")]
        for path, sound in zip(paths, pair, strict=True):
            soundfile.write(path, sound.samples[0], sound.rate_hz, subtype="FLOAT")
        with clips.clips.files(index) as (video, _):
            cases.append(
                Case(name=str(index), generated=paths[1], true_sound=paths[0], video=video)
            )
    scores = score_cases(
        cases,
        [JUDGED_COLUMNS[column] for column in columns],
        judges=judges.judges,
        protocol=protocol,
    )
    return {column: scores[JUDGED_COLUMNS[column]].figures["generated"].value for column in columns}


def test_our_columns_equal_those_of_the_evaluation(clips, sounds, tmp_path):
    judges = load_column_judges(tmp_path / "no weights")
    assert set(judges.missing) == set(PUBLISHED_COLUMNS)
    assert "weights not found" in str(judges.missing["KLD"]) and judges.missing["KLD"].hint
    assert set(judges.columns) == set(SIMULATION_COLUMNS)
    scores = SoundScores(judges, sounds[0], clips, range(4))
    found = scores.figures(sounds[1])
    expected = evaluated(tmp_path, clips, sounds, judges, SIMULATION_COLUMNS)
    assert found.pop("not_measured") == {}
    assert {column: found[column]["mean"] for column in found} == pytest.approx(expected, rel=1e-4)
    assert {found[column]["count"] for column in found} == {4}
    assert set(found["KLD-sim"]) == {"mean", "low", "high", "count"}
    assert set(found["FAD-sim"]) == {"mean", "count"}
    # True sounds are perfect by the first two, and as good as the judge by the third.
    true = scores.figures(sounds[0])
    assert true["KLD-sim"]["mean"] == 0 and true["FAD-sim"]["mean"] == pytest.approx(0, abs=1e-3)
    assert true["Align Acc-sim"]["mean"] >= found["Align Acc-sim"]["mean"]


def small_published_judges() -> dict:
    """The judges of the paper's columns with small networks and random weights."""
    parts = {"passt": ("passt",), "vggish": ("vggish",), "diff-foley": ("diff-foley", "cavp")}
    return {
        name: PUBLISHED[name](*(randomised(SMALL_NETWORKS[each]()) for each in each_part), "0" * 64)
        for name, each_part in parts.items()
    }


def test_published_columns_have_the_preprocessing_of_the_papers_protocol(clips, sounds, tmp_path):
    shipped = load_column_judges(tmp_path)
    judges = ColumnJudges(judges={**shipped.judges, **small_published_judges()}, missing={})
    found = SoundScores(judges, sounds[0], clips, range(4)).figures(sounds[1])
    expected = evaluated(tmp_path, clips, sounds, judges, ("KLD", "FAD"), PROTOCOLS["paper"])
    assert {name: found[name]["mean"] for name in expected} == pytest.approx(expected, rel=1e-4)
    # 2.56 s of the 8.192 s of sound, and 11 of the 32 video features, are not padding.
    assert found["Align Acc"]["count"] == 4 and 0 <= found["Align Acc"]["mean"] <= 1
    assert found["Align Acc"]["sound_padding"] == pytest.approx(1 - 2.56 / 8.192)
    assert 0.6 < found["Align Acc"]["video_padding"] < 0.7


def test_what_depends_on_the_clips_alone_is_computed_once(clips, sounds, tmp_path):
    class CountedJudge:
        """A judge of one class whose embedding is the loudness."""

        name, rate_hz, weights_sha256, clip = "tagger-sim", 16_000, "0" * 64, ClipRule()
        calls = 0

        def embed(self, samples):
            type(self).calls += 1
            return np.array([[float(np.abs(samples).mean())]] * 2)

        def logits(self, samples):
            return np.zeros(1)

    shipped = load_column_judges(tmp_path)
    judges = ColumnJudges(
        judges={**shipped.judges, "tagger-sim": CountedJudge()}, missing=shipped.missing
    )
    scores = SoundScores(judges, sounds[0], clips, range(4))
    first = scores.figures(sounds[1])
    assert CountedJudge.calls == 8
    assert scores.figures(sounds[1]) == first
    assert CountedJudge.calls == 12


def test_a_column_without_any_value_has_the_reason(clips, sounds, tmp_path):
    short = [
        Waveform(samples=sound.samples[:, : RATE_HZ // 2], rate_hz=RATE_HZ) for sound in sounds[0]
    ]
    found = SoundScores(load_column_judges(tmp_path), short, clips, range(4)).figures(short)
    assert set(found["not_measured"]) == {"Align Acc-sim"}
    assert "'sync-sim' needs 2.56 s" in found["not_measured"]["Align Acc-sim"]
