"""Event files contain the cues when they are read back."""

from __future__ import annotations

from foleyflow.cues.cue import Cue
from foleyflow.cues.files import read_cues, write_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.event_files import write_event_files

CUES = CueSheet(
    cues=(
        Cue(time_s=0.0, level_db=3.0, material="wood"),
        Cue(time_s=0.02, level_db=-6.0, confidence=0.9),
        Cue(time_s=0.5, material="glass", enabled=False),
        Cue(time_s=1.2345, level_db=-50.0),
        Cue(time_s=2.0, kind="roll", end_s=3.5, level_curve_db=(-40.0, -12.0), material="metal"),
        Cue(time_s=754.4),
    )
)
LABELS = (
    (0.0, 0.0, "hit wood 3.0 dB"),
    (0.02, 0.02, "hit -6.0 dB"),
    (1.2345, 1.2345, "hit -50.0 dB"),
    (2.0, 3.5, "roll metal -12.0 dB"),
    (754.4, 754.4, "hit"),
)


def test_sheets_have_all_cues_and_labels_those_that_sound(tmp_path):
    paths = write_event_files(tmp_path / "clip.foley.mp4", CUES)
    assert [path.name for path in paths] == [
        "clip.foley.mp4.cues.json",
        "clip.foley.mp4.cues.csv",
        "clip.foley.mp4.labels.txt",
        "clip.foley.mp4.mid",
    ]
    for path in paths[:2]:
        assert read_cues(path, duration_s=None, materials=None) == CUES
    for line, expected in zip(paths[2].read_text().splitlines(), LABELS, strict=True):
        start, end, label = line.split("\t")
        assert (float(start), float(end), label) == expected
    write_cues(tmp_path / "wanted.mid", CUES)
    assert paths[3].read_bytes() == (tmp_path / "wanted.mid").read_bytes()
    assert len(list(tmp_path.iterdir())) == 5


def test_files_without_cues_are_valid(tmp_path):
    for path in write_event_files(tmp_path / "x.wav", CueSheet()):
        assert read_cues(path, duration_s=None, materials=None) == CueSheet()
