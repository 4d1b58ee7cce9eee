"""Generated sounds of one loudness are noticed if the references have different ones."""

from __future__ import annotations

import numpy as np
import pytest
from support.click_sounds import clicks, write_sound

from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.report import systems_text
from foleyflow.media.loudness import loudness_gain, loudness_lufs
from foleyflow.signals import Waveform

pytest.importorskip("librosa")

TARGET_LUFS = -23.0
RATE_HZ = 22050


def normalised(sound):
    waveform = Waveform(samples=sound.astype(np.float32)[None], rate_hz=RATE_HZ)
    return sound * loudness_gain(loudness_lufs(waveform), TARGET_LUFS)


def write_pairs(root, *, clips=6, normalise, equal_references=False, outliers=0):
    for index in range(clips):
        sound = clicks([0.4, 1.1, 2.0], level=0.5 * 0.7**index, decay_s=0.05, seed=index)
        made = normalised(sound) if normalise and index >= outliers else 0.3 * sound
        write_sound(root / "made" / f"{index}.wav", made, RATE_HZ, subtype="FLOAT")
        true = normalised(sound) if equal_references else sound
        write_sound(root / "true" / f"{index}.wav", true, RATE_HZ, subtype="FLOAT")
    return root / "made", root / "true"


def test_normalised_sounds_against_natural_ones_give_a_warning(tmp_path):
    report = evaluate_folder(*write_pairs(tmp_path, normalise=True))
    found = report.equal_loudness
    assert found.generated_lufs == pytest.approx(TARGET_LUFS, abs=0.1)
    assert found.reference_high_lufs - found.reference_low_lufs > 10
    assert found.clips == 6
    assert "compare sounds of `foleyflow generate --loudness off`" in report.to_text()
    assert report.to_json()["equal_loudness"]["clips"] == 6


@pytest.mark.parametrize(
    "pairs",
    [
        {"normalise": False},
        {"normalise": True, "equal_references": True},
        {"normalise": True, "clips": 4},
        {"normalise": True, "outliers": 3},
    ],
)
def test_nothing_is_said_of_other_sounds(tmp_path, pairs):
    report = evaluate_folder(*write_pairs(tmp_path, **pairs))
    assert report.equal_loudness is None
    assert "warning" not in report.to_text() and "equal_loudness" not in report.to_json()


def test_one_sound_below_the_target_does_not_hide_it(tmp_path):
    assert evaluate_folder(*write_pairs(tmp_path, normalise=True, outliers=1)).equal_loudness


def test_each_system_has_its_own_warning(tmp_path):
    made, true = write_pairs(tmp_path / "pairs", normalise=True)
    for index in range(6):
        folder = tmp_path / "all" / str(index)
        folder.mkdir(parents=True)
        (made / f"{index}.wav").rename(folder / "loud.wav")
        (folder / "natural.wav").write_bytes((true / f"{index}.wav").read_bytes())
        (true / f"{index}.wav").rename(folder / "gt.wav")
    text = systems_text(evaluate_systems(tmp_path / "all"))
    assert "loud: warning: the generated sounds all have about -23.0 LUFS" in text
    assert "natural: warning" not in text
