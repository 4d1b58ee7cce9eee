"""A library finds its files, decodes each content once, and lists what it can't use."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from support.click_sounds import write_sound
from support.sound_folders import steady, strike, write_strikes

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import DataError
from foleyflow.library import SkippedFile, SoundLibrary, index, split_cues


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sounds"


@pytest.fixture
def opened(folder, tmp_path):
    """Opens the folder with an index of its own."""
    return lambda **options: SoundLibrary.open(folder, cache_folder=tmp_path / "cache", **options)


def index_file(tmp_path):
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_files_by_material_and_kind_from_quiet_to_loud(folder, opened):
    write_strikes(folder, (0.5, 0.1, 0.3))
    write_sound(folder / "GlassRoll.flac", steady(), 44_100)
    library = opened()
    assert library.materials == ("glass", "wood")
    quiet_to_loud = [sound.file for sound in library.sounds("wood", "hit")]
    assert quiet_to_loud == ["wood/1.wav", "wood/2.wav", "wood/0.wav"]
    (roll,) = library.sounds("glass", "roll")
    assert (roll.file, roll.measures.rate_hz) == ("GlassRoll.flac", 44_100)
    assert library.sounds("glass", "hit") == []
    assert library.warnings() == []


def test_the_second_open_decodes_nothing(folder, opened):
    write_strikes(folder, (0.5, 0.1, 0.3))
    (folder / "wood" / "noise.wav").write_bytes(b"not a sound")
    first, second = opened(), opened()
    assert (first.decoded, second.decoded) == (4, 0)
    assert (first.files, first.unreadable) == (second.files, second.unreadable)


def test_only_a_changed_file_is_decoded_again(folder, opened):
    write_strikes(folder, (0.5, 0.1, 0.3))
    opened()
    write_sound(folder / "wood" / "1.wav", strike(level=0.8, seed=9), 48_000, subtype="FLOAT")
    library = opened()
    assert library.decoded == 1
    assert library.sounds("wood", "hit")[-1].file == "wood/1.wav"
    assert opened().decoded == 0


def test_renamed_copied_and_touched_files_are_not_decoded(folder, opened):
    write_strikes(folder, (0.5, 0.1, 0.3))
    opened()
    (folder / "wood" / "0.wav").rename(folder / "metal.wav")
    shutil.copy(folder / "wood" / "1.wav", folder / "glass.wav")
    os.utime(folder / "wood" / "2.wav", ns=(1, 1))
    library = opened()
    assert library.decoded == 0
    assert library.materials == ("glass", "metal", "wood")


def test_a_removed_file_is_not_used(folder, opened):
    write_strikes(folder, (0.5, 0.1))
    opened()
    (folder / "wood" / "0.wav").unlink()
    assert [sound.file for sound in opened().files] == ["wood/1.wav"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"48000", b"44100", 1),
        lambda data: b"\xff" + data,
        lambda data: b"{}",
    ],
    ids=["empty", "truncated", "changed", "not text", "other"],
)
def test_a_damaged_index_is_built_again(folder, opened, tmp_path, caplog, damage):
    write_strikes(folder, (0.5, 0.1))
    before = opened()
    path = index_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    after = opened()
    assert after.decoded == 2
    assert after.files == before.files
    assert "damaged" in caplog.text
    assert opened().decoded == 0


def test_an_index_that_cannot_be_stored_is_no_error(folder, tmp_path, caplog):
    write_strikes(folder, (0.5,))
    blocked = tmp_path / "file"
    blocked.touch()
    assert len(SoundLibrary.open(folder, cache_folder=blocked).files) == 1
    assert "can't be stored" in caplog.text


def test_many_files_are_opened_from_the_index(folder, opened):
    write_strikes(folder, (0.5, 0.1))
    for number in range(1000):
        os.link(folder / "wood" / f"{number % 2}.wav", folder / "wood" / f"copy {number}.wav")
    assert opened().decoded == 2
    library = opened()
    assert (len(library.files), library.decoded) == (1002, 0)


def test_unnamed_files_are_listed_with_suggestions(folder, opened):
    write_strikes(folder, (0.5,))
    for name in ("wod_1.wav", "kick.wav", "wood on metal.wav"):
        write_sound(folder / name, strike())
    library = opened()
    assert library.unnamed == (
        SkippedFile(file="kick.wav", reason="it names no known material"),
        SkippedFile(file="wod_1.wav", reason="it names no known material", suggestions=("wood",)),
        SkippedFile(file="wood on metal.wav", reason="it names wood and metal"),
    )
    (warning,) = library.warnings()
    assert warning == (
        f"{folder}: 3 sound files are not used, kick.wav (it names no known material), wod_1.wav "
        "(it names no known material; did you mean wood?), wood on metal.wav (it names wood and "
        "metal)"
    )
    assert library.decoded == 1


def test_unreadable_files_are_listed_with_their_reason(folder, opened):
    write_strikes(folder, (0.5,))
    (folder / "wood" / "text.wav").write_text("Dear diary, today nothing rang.\n" * 50)
    (folder / "wood" / "empty.wav").touch()
    write_sound(folder / "wood" / "silent.wav", np.zeros(1000))
    library = opened()
    reasons = {skipped.file: skipped.reason for skipped in library.unreadable}
    assert list(reasons) == ["wood/empty.wav", "wood/silent.wav", "wood/text.wav"]
    assert reasons["wood/empty.wav"] == "the file is empty (0 bytes)"
    assert reasons["wood/silent.wav"] == "the file is silent"
    assert reasons["wood/text.wav"].startswith("not a media file that can be read")
    assert str(folder) not in "".join(reasons.values())


def test_odd_names_and_links(folder, opened):
    write_strikes(folder, (0.5,))
    sound = folder / "wood" / "0.wav"
    (folder / "Колокола").mkdir()
    for name in ("Колокола/steel 🔔.WAV", "a'b\"c;glass\n.wav", os.fsdecode(b"rubber\xff.wav")):
        shutil.copy(sound, folder / name)
    shutil.copy(sound, folder / "._plastic.wav")  # macOS stores attributes in such files
    (folder / "wood" / "notes.txt").write_text("not a sound")
    (folder / "stone.wav").mkdir()
    (folder / "wood" / "outside").symlink_to(folder)  # a cycle
    (folder / "ceramic.wav").symlink_to(folder / "missing.wav")
    for _ in range(2):
        library = opened()
        assert library.materials == ("glass", "metal", "rubber", "wood")
        assert (library.unnamed, library.unreadable) == ((), ())
    assert library.decoded == 0


@pytest.mark.parametrize("name", [None, "kick.wav", "glas_1.wav"])
def test_a_folder_without_usable_files_is_an_error(folder, opened, name):
    folder.mkdir()
    if name:
        write_sound(folder / name, strike())
    with pytest.raises(DataError, match="no usable sound file") as caught:
        opened()
    assert "wood/knock_1.wav" in caught.value.hint
    if name == "glas_1.wav":
        assert "did you mean glass?" in str(caught.value)


def test_a_missing_folder_and_a_file_are_errors(folder, opened):
    with pytest.raises(DataError, match="no such folder"):
        opened()
    folder.touch()
    with pytest.raises(DataError, match="is a file, not a folder"):
        opened()


def test_materials_of_another_model(folder, opened):
    write_strikes(folder, (0.5,), material="Ice")
    assert opened(materials=("ice", "snow")).materials == ("ice",)


def test_cues_are_split_between_model_and_library(folder, opened):
    write_strikes(folder, (0.5,))
    sheet = CueSheet(
        cues=(
            Cue(time_s=0.1, material="wood"),
            Cue(time_s=0.2, material="metal"),
            Cue(time_s=0.3),
            Cue(time_s=0.4, material="wood", enabled=False),
            Cue(time_s=0.5, material="wood", kind="roll", end_s=0.8),
        ),
        duration_s=1.0,
    )
    for_model, for_library = split_cues(sheet, opened())
    assert for_library == CueSheet(cues=sheet.cues[:1], duration_s=1.0)
    assert for_model == CueSheet(cues=sheet.cues[1:], duration_s=1.0)


def test_an_interrupted_scan_goes_on_where_it_was_saved(folder, opened, monkeypatch):
    write_strikes(folder, (0.1, 0.2, 0.3, 0.4, 0.5))
    monkeypatch.setattr(index, "SAVED_AFTER", 2)

    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(progress=interrupt)
    assert opened().decoded == 3  # two were saved before the third was decoded
    assert opened().decoded == 0


def test_progress_counts_all_files(folder, opened):
    write_strikes(folder, (0.5, 0.1))
    write_sound(folder / "kick.wav", strike())
    calls = []
    opened(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
