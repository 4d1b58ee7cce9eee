"""A project that is opened again reads its sound from the disk; only edits generate."""

from __future__ import annotations

import time

import numpy as np
import pytest

from foleyflow.cues.cue import Cue
from foleyflow.studio.analysing import open_again, start_analysis, start_render
from foleyflow.studio.editing import edit_cues, regenerate, step_back
from foleyflow.studio.engine import Engine
from foleyflow.studio.project import Project
from foleyflow.studio.settings import StudioSettings
from foleyflow.studio.studio import Studio

CUES = {
    "c1": Cue(time_s=0.5, material="wood", level_db=-6.0),
    "c2": Cue(time_s=1.2, material="glass"),
    "c3": Cue(time_s=1.9, material="wood"),
}


def opened(folder) -> Studio:
    studio = Studio(StudioSettings(folder=folder))
    studio.engine.model  # noqa: B018  # loads it
    return studio


@pytest.fixture
def edited(tmp_path, short_clip):
    """The folder of a studio with a project, its id, and its samples after each of four edits."""
    studio = opened(tmp_path / "projects")
    project = studio.create(short_clip, name="clip.mp4", is_copy=True)
    assert start_analysis(studio, project).finished.wait(60)
    replace_cues(studio, project, CUES)
    sounds = [samples(project)]
    for change in ({"time_s": 0.7}, {"level_db": -20.0}):
        cue = Cue(**{**vars(CUES["c1"]), **change})
        replace_cues(studio, project, {**project.history.cues, "c1": cue})
        sounds.append(samples(project))
    regenerate(studio, project, 1.5, 2.2, None)
    sounds.append(samples(project))
    studio.close()
    return tmp_path / "projects", project.id, sounds


def replace_cues(studio: Studio, project: Project, cues: dict[str, Cue]) -> dict:
    return edit_cues(studio, project, lambda present, number: cues, label="Edit")


def samples(project: Project) -> np.ndarray:
    return project.live.read(0, project.live.count)[0]


def refuse(*arguments) -> None:
    raise AssertionError("a complete sound was generated")


def wait(condition) -> None:
    end_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_nothing_is_generated_for_the_first_edit(edited, monkeypatch):
    folder, name, sounds = edited
    monkeypatch.setattr(Engine, "generate", refuse)
    studio = opened(folder)
    project = studio.project(name)
    answer = replace_cues(studio, project, {**project.history.cues, "c3": Cue(time_s=2.0)})
    (changed,) = answer["changed"]
    assert answer["sound_revision"] == answer["revision"]
    assert changed["start_sample"] > 80_000
    untouched = slice(0, changed["start_sample"])
    assert np.array_equal(samples(project)[untouched], sounds[-1][untouched])
    # Undo goes back through the edits before the restart, with the same samples
    for expected in reversed(sounds):
        step_back(studio, project, redo=False)
        assert np.array_equal(samples(project), expected)
    answer = step_back(studio, project, redo=True)
    assert np.array_equal(samples(project), sounds[1])
    (changed,) = answer["changed"]
    assert changed["end_sample"] - changed["start_sample"] < 48_000
    studio.close()


def test_opening_leaves_the_sound_as_it_is(edited, monkeypatch):
    folder, name, sounds = edited
    monkeypatch.setattr(Engine, "generate", refuse)
    studio = opened(folder)
    project = studio.project(name)
    revision, count = project.history.revision, project.change_count
    open_again(studio, project)
    wait(lambda: studio.engine.kept(project.id, project.history.node) is not None)
    wait(lambda: project.change_count > count)
    assert project.sound_revision == revision and not project.changed_since(count)
    assert np.array_equal(samples(project), sounds[-1])
    studio.close()


def test_channels_and_their_edits_are_read_as_well(edited, monkeypatch):
    folder, name, sounds = edited
    studio = opened(folder)
    project = studio.project(name)
    job = start_render(studio, project, {"stereo": True})
    assert job.finished.wait(60) and job.state == "done", job.error
    panned = Cue(**{**vars(project.history.cues["c2"]), "pan": 1.0})
    replace_cues(studio, project, {**project.history.cues, "c2": panned})
    left, right = project.live.read(0, project.live.count)
    studio.close()
    monkeypatch.setattr(Engine, "generate", refuse)
    studio = opened(folder)
    project = studio.project(name)
    assert project.settings["stereo"]
    replace_cues(studio, project, {**project.history.cues, "c3": Cue(time_s=2.0)})
    assert project.live.channels == 2
    step_back(studio, project, redo=False)
    assert np.array_equal(project.live.read(0, project.live.count), [left, right])
    for _ in range(2):
        step_back(studio, project, redo=False)
    assert project.live.channels == 1 and np.array_equal(samples(project), sounds[-1])
    studio.close()


def test_what_is_missing_is_generated_again(edited):
    folder, name, sounds = edited
    (stored,) = (folder / name / "cache" / "sounds").iterdir()
    lines = (stored / "edits.jsonl").read_bytes().splitlines(keepends=True)
    for damage in ("last edit", "samples of the edits", "everything"):
        if damage == "last edit":
            (stored / "edits.jsonl").write_bytes(b"".join(lines[:-1]))
        elif damage == "samples of the edits":
            (stored / "edits.bin").write_bytes(b"")
        else:
            (stored / "sound.f32").unlink()
        studio = opened(folder)
        project = studio.project(name)
        open_again(studio, project)
        wait(lambda studio=studio, project=project: _is_ready(studio, project))
        with project.render_lock:
            assert np.array_equal(samples(project), sounds[-1]), damage
        studio.close()


def _is_ready(studio: Studio, project: Project) -> bool:
    return studio.engine.kept(project.id, project.history.node) is not None


def test_only_the_last_two_generated_sounds_are_kept(edited):
    folder, name, _ = edited
    studio = opened(folder)
    project = studio.project(name)
    for seed in (5, 6):
        job = start_render(studio, project, {"seed": seed})
        assert job.finished.wait(60) and job.state == "done", job.error
    assert len(list((folder / name / "cache" / "sounds").iterdir())) == 2
    sound = samples(project)
    step_back(studio, project, redo=False)
    step_back(studio, project, redo=True)
    assert np.array_equal(samples(project), sound)
    studio.close()


def test_a_project_without_its_video_is_still_shown(edited):
    folder, name, _ = edited
    studio = opened(folder)
    project = studio.project(name)
    project.video.unlink()
    open_again(studio, project)
    assert studio.describe(project)["state"] == "ready"
    studio.close()
