"""Long videos: the first stretch can be edited while the rest is analysed; queues are fair."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from foleyflow.cues.cue import Cue
from foleyflow.studio import analysing
from foleyflow.studio.editing import edit_cues, step_back
from foleyflow.studio.engine import Engine, replayed
from foleyflow.studio.history import Node
from foleyflow.studio.problems import NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.settings import StudioSettings
from foleyflow.studio.studio import Studio

FIRST_S = 0.8


@pytest.fixture
def studio(tmp_path):
    made = Studio(StudioSettings(folder=tmp_path / "projects", first_stretch_s=FIRST_S))
    made.engine.model  # noqa: B018  # loads it
    yield made
    made.close()


def wait(project: Project, condition) -> None:
    end_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_s, project.to_json()
        time.sleep(0.01)


def test_the_first_stretch_is_edited_while_the_rest_is_analysed(studio, short_clip, monkeypatch):
    released, analyse = threading.Event(), Engine.generate

    def waiting(self, info, cues, settings, progress, **options):
        if info.duration_s > FIRST_S:
            assert released.wait(60)
        return analyse(self, info, cues, settings, progress, **options)

    monkeypatch.setattr(Engine, "generate", waiting)
    project = studio.create(short_clip, name="clip.mp4", is_copy=True)
    with pytest.raises(NotNow):
        project.check_editable()
    job = analysing.start_analysis(studio, project)
    wait(project, lambda: project.analysed_until_s == FIRST_S and project.live.count)
    assert project.state == "analysing" and project.live.count == round(FIRST_S * 48_000)
    # Edits within the first stretch are possible, later ones are not yet
    added = Cue(time_s=0.4, material="glass")
    answer = edit_cues(
        studio, project, lambda cues, number: {**cues, f"c{number}": added}, label="Add"
    )
    assert answer["changed"] and len(answer["cues"]) == 1
    name = answer["cues"][0]["id"]
    with pytest.raises(NotNow, match="analysed until"):
        edit_cues(
            studio,
            project,
            lambda cues, number: {**cues, "c99": Cue(time_s=1.5)},
            label="Too late",
        )
    # They are kept when the rest is there; also one from during the generation
    moved = Cue(time_s=0.5, material="glass")
    edit_cues(studio, project, lambda cues, number: {**cues, name: moved}, label="Move")
    released.set()
    assert job.finished.wait(60) and job.state == "done", job.error
    assert project.state == "ready" and project.history.cues[name] == moved
    assert project.live.count == round(project.duration_s * 48_000)
    assert project.sound_revision == project.history.revision
    early = np.square(project.live.read(24_000, 28_000)).sum()
    assert early > 0


def test_undo_ends_where_the_complete_analysis_began(studio, short_clip):
    project = studio.create(short_clip, name="clip.mp4", is_copy=True)
    job = analysing.start_analysis(studio, project)
    assert job.finished.wait(60)
    wait(project, lambda: project.state == "ready")
    with pytest.raises(NotNow):
        step_back(studio, project, redo=False)


def test_a_shortened_history_ends_with_the_same_cues():
    def node(revision: int, kind: str) -> Node:
        return Node(
            revision=revision,
            parent=revision - 1,
            label="",
            operation={"kind": kind},
            after={},
            before={},
        )

    kinds = ["edit"] * 40 + ["regenerate"] + ["edit"] * 3
    edits = [node(index + 2, kind) for index, kind in enumerate(kinds)]
    assert [each.revision for each in replayed(edits)] == [41, 42, 45]
    assert replayed(edits[:5]) == edits[:5]


def test_many_edits_are_replayed_after_the_results_were_forgotten(studio, short_clip):
    project = studio.create(short_clip, name="clip.mp4", is_copy=True)
    assert analysing.start_analysis(studio, project).finished.wait(60)
    for index in range(3):
        cue = Cue(time_s=0.3 + index / 2, material="wood")
        edit_cues(studio, project, lambda cues, number, cue=cue: {**cues, "c9": cue}, label="Move")
    before = project.live.read(0, project.live.count)
    studio.engine.forget(project.id)
    analysing.open_again(studio, project)
    wait(project, lambda: studio.engine.kept(project.id, project.history.node) is not None)
    with project.render_lock:
        assert np.array_equal(project.live.read(0, project.live.count), before)
