"""The file of the cues for other programs: few are written at once, many a little later."""

from __future__ import annotations

import threading

import pytest

from foleyflow.cues.cue import Cue
from foleyflow.cues.files import read_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.studio import cue_file as module
from foleyflow.studio.cue_file import CueFile


def sheet_of_length(count: int) -> CueSheet:
    return CueSheet(cues=tuple(Cue(time_s=k / 10) for k in range(count)), duration_s=1e4)


@pytest.fixture
def written(tmp_path):
    """A file, and its present cues as the only item of a list."""
    present = [sheet_of_length(3)]
    return CueFile(tmp_path / "cues.json", lambda: present[0]), present, tmp_path / "cues.json"


def test_few_cues_are_written_at_once(written):
    file, present, path = written
    file.note_change(3)
    assert read_cues(path, duration_s=1e4, materials=None) == present[0]


def test_many_cues_are_written_when_they_have_to_be(written):
    file, present, path = written
    present[0] = sheet_of_length(module.WRITTEN_AT_ONCE + 1)
    file.note_change(len(present[0]))
    assert not path.exists()
    file.flush()
    assert read_cues(path, duration_s=1e4, materials=None) == present[0]
    # Nothing waits any more
    path.unlink()
    file.flush()
    assert not path.exists()


def test_many_cues_are_written_after_a_while(written, monkeypatch):
    monkeypatch.setattr(module, "DELAY_S", 0.01)
    file, present, path = written
    present[0] = sheet_of_length(module.WRITTEN_AT_ONCE + 1)
    file.note_change(len(present[0]))
    timer = file._timer
    timer.join(20)
    assert read_cues(path, duration_s=1e4, materials=None) == present[0]


def test_an_edit_does_not_wait_for_the_file_and_the_file_not_for_an_edit(tmp_path, monkeypatch):
    """The owner holds its own lock while it notes a change, and while it is asked for the cues."""
    monkeypatch.setattr(module, "DELAY_S", 0.0)
    lock, sheet = threading.RLock(), sheet_of_length(module.WRITTEN_AT_ONCE + 1)

    def present() -> CueSheet:
        with lock:
            return sheet

    file = CueFile(tmp_path / "cues.json", present)

    def edit() -> None:
        for _ in range(20):
            with lock:
                file.note_change(len(sheet))

    threads = [threading.Thread(target=edit, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    file.flush()
    assert read_cues(tmp_path / "cues.json", duration_s=1e4, materials=None) == sheet
