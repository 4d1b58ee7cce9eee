"""A stretch of a result that is generated again by another seed."""

import numpy as np
import pytest
from support.cli_model import make_model
from support.media_files import make_video

from foleyflow import Cue, CueSheet, FoleyFlow
from foleyflow.errors import ConfigError

RATE_HZ = 48_000
CUES = CueSheet(cues=tuple(Cue(time_s=t, material="metal") for t in (0.5, 1.5, 2.5, 3.5)))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = FoleyFlow.from_pretrained(make_model(folder / "model"), device="cpu")
    return model.generate(make_video(folder / "clip.mp4", n_frames=100), cues=CUES)


def changed(old, new) -> np.ndarray:
    """Positions of the samples that differ."""
    return np.flatnonzero(old.waveform != new.waveform)


def test_only_the_samples_of_a_range_change(first):
    before = first.waveform.tobytes()
    new = first.regenerate(1.2, 2.2, seed=5)
    places = changed(first, new)
    assert 1.2 * RATE_HZ <= places.min() and places.max() < 2.2 * RATE_HZ
    assert len(places) > 0.9 * RATE_HZ
    assert first.waveform.tobytes() == before
    assert first.regenerate(1.2, 2.2, seed=5).waveform.tobytes() == new.waveform.tobytes()
    assert len(changed(new, first.regenerate(1.2, 2.2, seed=6))) > 0.9 * RATE_HZ


def test_ranges_add_up_and_take_new_seeds(first):
    one = first.regenerate(0.2, 1.2)
    two = one.regenerate(2.0, 4.0)
    assert [edit.seed for edit in two.edits] == [1, 2]
    places = changed(one, two)
    assert 2.0 * RATE_HZ <= places.min() and places.max() == 4 * RATE_HZ - 1
    # Replaying the edits makes the result again
    again = first
    for edit in two.edits:
        again = again.regenerate(edit.start_s, edit.end_s, seed=edit.seed)
    assert again.waveform.tobytes() == two.waveform.tobytes()


def test_a_range_takes_cues_that_differ_within_it(first):
    cues = first.cues.replace(1, material="glass")
    new = first.regenerate(1.2, 2.2, seed=5, cues=cues)
    assert new.cues == cues
    assert len(changed(new, first.regenerate(1.2, 2.2, seed=5))) > 0
    with pytest.raises(ConfigError, match=r"the cues differ outside it \(hit at 1.5 s\)"):
        first.regenerate(2.0, 3.0, cues=cues)


@pytest.mark.parametrize(
    ("start_s", "end_s", "message"),
    [
        (-1.0, 1.0, "both within the clip"),
        (3.0, 4.1, "both within the clip"),
        (2.0, 2.0, "a start before the end"),
        (2.0, 2.01, "expected 0.05 s to 300 s"),
    ],
)
def test_ranges_outside_the_clip_are_refused(first, start_s, end_s, message):
    with pytest.raises(ConfigError, match=message):
        first.regenerate(start_s, end_s)
    with pytest.raises(ConfigError, match="seed=-1"):
        first.regenerate(1.0, 2.0, seed=-1)
