"""Keeps the present sound of a project equal to its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from foleyflow.cues.cue import Cue
from foleyflow.inference.changes import changed_samples, samples_between
from foleyflow.studio.history import EDIT
from foleyflow.studio.identified_cues import IdentifiedCues
from foleyflow.studio.jobs import Job
from foleyflow.studio.project import Project
from foleyflow.studio.studio import Studio


def update_sound(studio: Studio, project: Project, job: Job) -> None:
    """Renders the present node, unless it is rendered, and replaces the samples that differ."""
    with project.render_lock:
        with project.lock:
            history = project.history
            node, revision = history.node, history.revision
        if node == 0 or (node == project.live.node and project.sound_revision == revision):
            return
        old_node = project.live.node
        new = studio.engine.result_of(project.id, project.info, history, node, job.report)
        # Of a project that was opened again, the old result has been read for the new one
        old = studio.engine.kept(project.id, old_node) if old_node else None
        ranges = None if old is None else changed_samples(old, new)
        if ranges is None:
            ranges = project.live.replace(node, new.blocks())
        else:
            parts = [(start, samples_between(new, start, stop)) for start, stop in ranges]
            project.live.patch(node, parts)
        project.note_change(revision, ranges, new.warnings)


def commit_generated(
    studio: Studio,
    project: Project,
    *,
    before: Mapping[str, Cue],
    cues: IdentifiedCues,
    label: str,
    operation: Mapping[str, Any],
    keep: Callable[[int], None],
    is_start: bool = False,
) -> list[str]:
    """Adds the sound of all cues to the history; returns the ids of the cues that changed.

    Args:
        studio, project: to which the sound belongs.
        before: the cues when the generation began; what was edited since then is edited again.
        cues: of the sound, with their ids.
        label, operation, is_start: of the node.
        keep: remembers the sound as that of the node.
    """
    with project.lock:
        history = project.history
        present = dict(history.cues)
        edited = {
            name: present.get(name)
            for name in present.keys() | before.keys()
            if present.get(name) != before.get(name)
        }
        changed = history.append(cues, label=label, operation=operation, is_start=is_start)
        keep(history.node)
        if edited:
            merged = {name: cue for name, cue in cues.items() if name not in edited}
            merged |= {name: cue for name, cue in edited.items() if cue is not None}
            changed += history.append(merged, label="Edits meanwhile", operation=EDIT)
        project.write_cues()
        return changed
