"""A stored result with its edits is read without any generation, and can be edited further."""

from __future__ import annotations

import numpy as np
import pytest
from support.cli_model import make_model
from support.media_files import make_video
from support.sound_folders import strike, write_strikes

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.changes import changed_samples
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.result_store import ResultStore
from foleyflow.inference.sidecar import edits_to_json
from foleyflow.library import SoundLibrary
from foleyflow.media import write_wav

DURATION_S = 4.0
CUES = CueSheet(
    cues=(
        Cue(time_s=0.5, material="wood", level_db=-6.0),
        Cue(time_s=1.5, material="glass"),
        Cue(time_s=2.2, kind="roll", end_s=2.9, level_curve_db=(-30.0, -6.0), material="wood"),
        Cue(time_s=3.2, material="wood", level_db=-9.0, pan=0.5),
    ),
    duration_s=DURATION_S,
)
ORIGIN = {"video": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return FoleyFlow.from_pretrained(make_model(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", n_frames=100)


@pytest.fixture(params=["mono", "stereo", "library", "reference"])
def options(request, tmp_path):
    if request.param == "library":
        return {"library": SoundLibrary.open(write_strikes(tmp_path / "library", [0.2, 0.9]))}
    if request.param == "reference":
        write_wav(tmp_path / "hit.wav", [strike()[None]], rate_hz=48_000)
        return {"reference": tmp_path / "hit.wav"}
    return {"stereo": request.param == "stereo"}


EDITS = {  # key -> key of the result before, and the edits
    3: (1, lambda result: result.rerender(result.cues.replace(0, time_s=0.7))),
    4: (3, lambda result: result.regenerate(1.2, 2.0, seed=9)),
    5: (4, lambda result: turned(result.rerender(result.cues.replace(1, level_db=-9.0)))),
    6: (5, lambda result: result.rerender(result.cues.replace(3, level_db=-12.0))),
    7: (6, lambda result: turned(result)),
    8: (1, lambda result: result.rerender(result.cues.remove(3))),
}


def turned(result):
    return result.with_stereo(result.channels == 1)


def edited(first):
    """Results by key."""
    results = {1: first}
    for key, (parent, edit) in EDITS.items():
        results[key] = edit(results[parent])
    return results


def written(folder, first):
    store, first = ResultStore.write(folder, first, origin=ORIGIN)
    store.begin(1)
    results = {1: first}
    for key, (parent, edit) in EDITS.items():
        before = results[parent]
        results[key] = store.append(key, parent, before, edit(before))
    return store, results


def read(store, key, results, *, model, options):
    return store.read(
        key,
        model,
        results[1].info,
        cues_of=lambda each: results[each].cues,
        library=options.get("library"),
    )


def test_every_result_is_read_as_it_was(model, clip, options, tmp_path):
    first = model.generate(clip, cues=CUES, **options)
    expected = edited(first)
    _, results = written(tmp_path / "store", first)
    store = ResultStore.open(tmp_path / "store", origin=ORIGIN)
    for key, result in expected.items():
        found = read(store, key, results, model=model, options=options)
        assert found.waveform.tobytes() == result.waveform.tobytes()
        assert results[key].waveform.tobytes() == result.waveform.tobytes()
        assert found.cues == result.cues and found.settings == result.settings
        assert found.warnings == result.warnings
        assert found.placements == result.placements
        assert edits_to_json(found) == edits_to_json(result)
        # Another edit gives the same samples as if nothing had been stored
        cues = result.cues.replace(1, level_db=-20.0)
        again, once_more = found.rerender(cues), result.rerender(cues)
        assert again.waveform.tobytes() == once_more.waveform.tobytes()
        assert edits_to_json(again) == edits_to_json(once_more)


def test_only_the_samples_of_edits_differ_between_results_that_were_read(model, clip, tmp_path):
    store, results = written(tmp_path / "store", model.generate(clip, cues=CUES))
    found = read(store, 3, results, model=model, options={})
    assert changed_samples(found, results[3]) == []
    assert changed_samples(results[4], results[5]) is None  # other channels
    ranges = changed_samples(read(store, 5, results, model=model, options={}), results[6])
    assert ranges and sum(stop - start for start, stop in ranges) < found.sample_count / 2
    ranges = changed_samples(found, results[8])
    differ = np.flatnonzero(found.waveform != results[8].waveform)
    assert all(any(start <= at < stop for start, stop in ranges) for at in differ)
    assert sum(stop - start for start, stop in ranges) < found.sample_count / 2


def test_damage_and_changes_are_noticed(model, clip, tmp_path):
    folder = tmp_path / "store"
    _, results = written(folder, model.generate(clip, cues=CUES))
    assert ResultStore.open(folder, origin={"video": 2}) is None
    assert ResultStore.open(tmp_path / "nothing", origin=ORIGIN) is None
    # A line that was not completed
    lines = (folder / "edits.jsonl").read_bytes()
    (folder / "edits.jsonl").write_bytes(lines + b'{"key": 9')
    store = ResultStore.open(folder, origin=ORIGIN)
    assert 8 in store and 9 not in store
    assert (folder / "edits.jsonl").read_bytes() == lines
    # A library that the result was generated without
    changed = write_strikes(tmp_path / "library", [0.2])
    library = {"library": SoundLibrary.open(changed)}
    assert read(store, 1, results, model=model, options=library) is None
    # Samples that are not those that were written
    data = bytearray((folder / "edits.bin").read_bytes())
    data[-1] ^= 1
    (folder / "edits.bin").write_bytes(data)
    assert read(store, 8, results, model=model, options={}) is None
    assert read(store, 4, results, model=model, options={}) is not None
    (folder / "sound.f32").write_bytes(b"")
    assert read(store, 1, results, model=model, options={}) is None


def test_an_edited_result_is_not_a_beginning(model, clip, tmp_path):
    result = model.generate(clip, cues=CUES).rerender(CUES.remove(0))
    with pytest.raises(ValueError, match="edited"):
        ResultStore.write(tmp_path / "store", result, origin=ORIGIN)
