"""Folders of sound files and videos as training sounds."""

from __future__ import annotations

import numpy as np
import pytest
from support.cli_model import run_cli

from foleyflow.errors import DataError
from foleyflow.features.sound_folder import folder_sounds, is_plain_folder
from foleyflow.media.sound_file import write_wav

RATE_HZ = 48_000


@pytest.fixture
def folder(tmp_path):
    """40 sounds of 0.25 s whose constant samples name the file, one of 1.3 s, and other files."""
    for index in range(40):
        samples = np.full((1, RATE_HZ // 4), (index + 1) / 100, np.float32)
        (tmp_path / f"part {index % 3}").mkdir(exist_ok=True)
        write_wav(tmp_path / f"part {index % 3}" / f"{index:02d}.wav", [samples], RATE_HZ)
    write_wav(tmp_path / "long.wav", [np.full((2, 62_400), 0.7, np.float32)], RATE_HZ)
    (tmp_path / "notes.txt").write_text("no sound")
    (tmp_path / "broken.flac").write_bytes(b"no sound")
    return tmp_path


def levels(sounds: np.ndarray) -> list[int]:
    return sorted(round(100 * float(row[:100].mean()) / 32_767) for row in sounds)


def test_every_sound_belongs_to_one_split(folder):
    train, validation = (
        folder_sounds(folder, split, rate_hz=RATE_HZ, piece_s=0.5)
        for split in ("train", "validation")
    )
    assert train.dtype == np.int16 and train.shape[1] == validation.shape[1] == 24_000
    found = levels(train) + levels(validation)
    # The long sound has two complete pieces, and a rest of 0.3 s that is filled with zeros
    assert sorted(found) == [*range(1, 41), 70, 70, 70]
    assert 0 < len(validation) < len(train)
    again = folder_sounds(folder, "train", rate_hz=RATE_HZ, piece_s=0.5)
    assert np.array_equal(again, train)


def test_short_rests_are_left_out_and_sounds_resampled(folder):
    sound = (folder / "long.wav").read_bytes()
    other = folder / "other"
    other.mkdir()
    for index in range(20):
        (other / f"{index}.wav").write_bytes(sound)
    sounds = folder_sounds(other, "train", rate_hz=24_000, piece_s=0.6)
    # 1.3 s of each file: two pieces, and 0.1 s that are left out
    assert sounds.shape[1] == 14_400 and len(sounds) % 2 == 0 and len(sounds) <= 40
    assert set(levels(sounds)) == {70}


def test_folders_without_sounds_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no sound")
    assert is_plain_folder(tmp_path)
    with pytest.raises(DataError, match="no sounds for 'train'"):
        folder_sounds(tmp_path, "train", rate_hz=RATE_HZ, piece_s=1.0)


def test_codec_learns_from_a_folder_of_sounds(folder, tmp_path):
    command = ["train", "codec", "--recipe", "smoke-general", "--device", "cpu", "--json"]
    outcome = run_cli(*command, "--data", folder, "--out", tmp_path / "run")
    assert outcome.status == 0, outcome.stderr
    assert outcome.answer["components"] == ["codec"]
