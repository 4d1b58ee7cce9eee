"""Settings of the complete sound: their checks, and changes that need no new sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.inference.cue_checks import check_material, check_reference, check_stereo
from foleyflow.studio.editing import Answer, answer_to, publish_edit
from foleyflow.studio.engine import applied
from foleyflow.studio.identified_cues import sheet_of
from foleyflow.studio.jobs import Job
from foleyflow.studio.project import Project
from foleyflow.studio.references import reference_of
from foleyflow.studio.rendering import commit_generated, update_sound
from foleyflow.studio.studio import Studio

OPENED_SHARE = 0.5  # of the progress of panning


def check_settings(studio: Studio, project: Project, changes: Mapping[str, Any]) -> None:
    """Checks settings before any work.

    Args:
        studio, project: to which the sound belongs.
        changes: settings to change.

    Raises:
        ConfigError: a setting is not possible with this server, model or the other settings.
        NotFound: there is no such recording.
    """
    settings, model = {**project.settings, **changes}, studio.engine.model
    if changes.get("library") and studio.settings.library is None:
        raise ConfigError(
            "library=true: foleyflow serve was started without --library",
            hint="start it with --library FOLDER",
        )
    if changes.get("stereo"):
        check_stereo(model.flow.config)
    if changes.get("reference") is not None:
        reference_of(project, changes["reference"])
    if settings["reference"] is not None:
        library = studio.settings.library if settings["library"] else None
        check_reference(model.materials, library)
    if changes.get("reference_material") is not None:
        check_material(changes["reference_material"], model.materials)


def start_panning(studio: Studio, project: Project, *, stereo: bool) -> Job:
    """Makes the present sound stereo or mono; nothing is generated again."""
    label = "Stereo sound" if stereo else "Mono sound"

    def work(job: Job) -> Answer:
        with project.lock:
            node, before = project.history.node, dict(project.history.cues)
            count = project.change_count
        if project.settings["stereo"] == stereo:
            return answer_to(project, [], count)
        # The present sound, and from it the one with other channels
        with project.render_lock:
            result = studio.engine.result_of(
                project.id, project.info, project.history, node, job.part(0.0, OPENED_SHARE)
            )
        operation = {"kind": "channels", "stereo": stereo}
        report = job.part(OPENED_SHARE, 1.0)
        panned = applied(
            result,
            operation,
            sheet_of(before, project.duration_s),
            progress=lambda done_s: report(done_s / project.duration_s),
        )
        stored = studio.engine.stored(project.id, project.info)
        panned = stored.write_panned(node, panned)
        names = commit_generated(
            studio,
            project,
            before=before,
            cues=before,
            label=label,
            operation=operation,
            keep=lambda added: studio.engine.keep(
                project.id, added, stored.append(added, node, result, panned)
            ),
        )
        update_sound(studio, project, job)
        answer = answer_to(project, names, count)
        publish_edit(studio, project, answer)
        studio.publish(project)
        return answer

    return studio.start(project, studio.lane_of(project), "render", work, label=label)
