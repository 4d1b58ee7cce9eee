"""Edits of cues: stored at once, then rendered, with an answer that names what changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from foleyflow.cues.cue import Cue
from foleyflow.errors import ConfigError
from foleyflow.inference.ranges import check_limits
from foleyflow.studio.history import EDIT, Operation
from foleyflow.studio.identified_cues import IdentifiedCues, in_order, sheet_of
from foleyflow.studio.jobs import Job
from foleyflow.studio.problems import NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.rendering import update_sound
from foleyflow.studio.studio import EDIT_LANE, Studio

LONGEST_WAIT_S = 20.0  # for the sound; then the answer has none
LONGEST_LABEL = 80

Answer = dict[str, Any]


def edit_cues(
    studio: Studio,
    project: Project,
    change: Callable[[IdentifiedCues, int], IdentifiedCues],
    *,
    label: str,
    base_revision: int | None = None,
    operation: Operation = EDIT,
) -> Answer:
    """Changes the cues and renders their sound.

    Args:
        studio, project: what to edit.
        change: (present cues, number of the next new id) -> cues.
        label: for undo.
        base_revision: the edit is refused if the project has another revision; None never.
        operation: how the sound follows from the one before.

    Raises:
        NotNow: there are no cues yet, or the revision is another one.
        ConfigError: a cue is not valid.
    """
    materials = studio.engine.model.materials
    with project.lock:
        project.check_editable()
        _check_revision(project, base_revision)
        cues = change(dict(project.history.cues), project.history.next_id)
        _check(cues, project, materials)
        count = project.change_count
        names: list[str] = []
        if cues != project.history.cues or operation is not EDIT:
            text = label.strip()[:LONGEST_LABEL] or "Edit cues"
            names = project.history.append(cues, label=text, operation=operation)
            project.write_cues()
        revision = project.history.revision
    return _rendered(studio, project, names, count, revision)


def step_back(studio: Studio, project: Project, *, redo: bool) -> Answer:
    """Undoes the last change, or does the last undone one again.

    Raises:
        NotNow: there is none.
    """
    with project.lock:
        project.check_editable()
        count, settings = project.change_count, project.settings
        names = project.history.redo() if redo else project.history.undo()
        project.write_cues()
        revision = project.history.revision
    answer = _rendered(studio, project, names, count, revision)
    if project.settings != settings:
        studio.publish(project)
    return answer


def regenerate(
    studio: Studio, project: Project, start_s: float, end_s: float, seed: int | None
) -> Answer:
    """Another sound of a stretch.

    Raises:
        NotNow: there is no sound yet.
        ConfigError: the stretch is not within the clip, too short or too long.
    """
    with project.lock:
        project.check_editable()
        check_limits(start_s, end_s, duration_s=project.analysed_until_s)
        if seed is None:
            used = [node.operation for node in project.history.path_to(project.history.node)]
            seeds = [each.get("seed") or each.get("settings", {}).get("seed", 0) for each in used]
            seed = max(seeds, default=0) + 1
    return edit_cues(
        studio,
        project,
        lambda cues, number: cues,
        label="Another sound of a stretch",
        operation={"kind": "regenerate", "start_s": start_s, "end_s": end_s, "seed": seed},
    )


def answer_to(
    project: Project,
    names: Sequence[str],
    count: int,
    *,
    revision: int | None = None,
    started_s: float = 0.0,
) -> Answer:
    """The answer to an edit.

    Args:
        project: after the edit.
        names: ids of the cues that it concerns.
        count: of the changes of the sound before it.
        revision: after the edit; None for the present one.
        started_s: when rendering began, by `time.perf_counter`; 0 if it is not measured.
    """
    with project.lock:
        history = project.history
        changed = project.changed_since(count)
        return {
            "revision": history.revision if revision is None else revision,
            "sound_revision": project.sound_revision,
            "cues": in_order(history.cues, names),
            "removed": sorted(name for name in names if name not in history.cues),
            "changed": [{"start_sample": start, "end_sample": end} for start, end in changed],
            "undo": history.undo_label,
            "redo": history.redo_label,
            "render_s": round(time.perf_counter() - started_s, 4) if started_s else 0.0,
            "warnings": list(project.sound_warnings),
        }


def publish_edit(studio: Studio, project: Project, answer: Answer) -> None:
    """Sends an edit to all streams."""
    studio.events.publish("edit", project.id, {"project": project.id, **answer})


def _rendered(
    studio: Studio, project: Project, names: Sequence[str], count: int, revision: int
) -> Answer:
    """Renders an edit that is stored, and answers when its sound is ready or late."""
    started_s = time.perf_counter()
    # A result that has to be made from the beginning must not hold up the edits of others
    is_open = studio.engine.is_ready(project.id, project.info, project.live.node)
    lane = EDIT_LANE if is_open else studio.lane_of(project)
    job = studio.start(
        project,
        lane,
        "edit",
        lambda job: update_sound(studio, project, job),
        is_shown=False,
    )
    job.finished.wait(LONGEST_WAIT_S)
    if job.problem is not None:
        raise job.problem
    answer = answer_to(project, names, count, revision=revision, started_s=started_s)
    if job.finished.is_set():
        publish_edit(studio, project, answer)
    else:
        _publish_later(studio, project, names, count, revision, lane)
    return answer


def _publish_later(
    studio: Studio,
    project: Project,
    names: Sequence[str],
    count: int,
    revision: int,
    lane: str,
) -> None:
    """Sends the edit when its sound is ready: the lane runs this job after the rendering."""

    def publish(job: Job) -> None:
        publish_edit(studio, project, answer_to(project, names, count, revision=revision))

    studio.start(project, lane, "edit", publish, is_shown=False)


def _check_revision(project: Project, base_revision: int | None) -> None:
    if base_revision is not None and base_revision != project.history.revision:
        raise NotNow(
            f"base_revision={base_revision}: the project has revision {project.history.revision}",
            hint="read the cues again",
        )


def _check(cues: Mapping[str, Cue], project: Project, materials: Sequence[str]) -> None:
    if not materials:
        raise ConfigError(
            "this model generates from the video alone, without cues",
            hint="use a model whose flow has cue tracks",
        )
    until_s = project.analysed_until_s
    try:
        sheet_of(cues, until_s)
    except ConfigError as error:
        if until_s < project.duration_s:
            raise NotNow(
                f"{error} (the video is analysed until {until_s:g} s)",
                hint="wait until it is ready",
            ) from error
        raise
