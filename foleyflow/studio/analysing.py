"""Finds the cues of a project and generates its sound: at first, or again with other settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import FoleyflowError
from foleyflow.inference.pipeline import DEFAULT_LUFS
from foleyflow.inference.sensitivity import DEFAULT_SENSITIVITY
from foleyflow.studio.editing import Answer, answer_to, publish_edit
from foleyflow.studio.engine import ANALYSIS_SHARE
from foleyflow.studio.identified_cues import IdentifiedCues, sheet_of, with_ids
from foleyflow.studio.jobs import Cancelled, Job, describe_problem
from foleyflow.studio.problems import NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.rendering import commit_generated, update_sound
from foleyflow.studio.settings import LATER_SETTINGS
from foleyflow.studio.sound_settings import check_settings, start_panning
from foleyflow.studio.studio import EDIT_LANE, Studio
from foleyflow.system.atomic_files import draft_of
from foleyflow.system.stopwatch import Stopwatch

FIND = "Find the cues"


def default_settings(studio: Studio) -> dict[str, Any]:
    """The settings of a new project."""
    return {
        "seed": 0,
        "steps": 1,
        "guidance": studio.engine.model.flow.config.default_guidance,
        "sensitivity": DEFAULT_SENSITIVITY,
        "loudness_lufs": DEFAULT_LUFS,
        "library": studio.settings.library is not None,
        **LATER_SETTINGS,
    }


def start_analysis(studio: Studio, project: Project) -> Job:
    """Starts the work on a new project; a long video begins with its first stretch."""
    if project.duration_s > 2 * studio.settings.first_stretch_s and not project.history.node:
        studio.start(
            project,
            "short",
            "analyse",
            lambda job: _analyse_first_stretch(studio, project, job),
            is_shown=False,
        )
    job = studio.start(
        project,
        studio.lane_of(project),
        "analyse",
        lambda job: _guarded(studio, project, job),
        label=FIND,
    )
    start_playback(studio, project)
    return job


def resume(studio: Studio) -> None:
    """Continues the work on all projects that an earlier process has not completed."""
    for project in studio.projects():
        if project.state == "analysing":
            start_analysis(studio, project)


def open_again(studio: Studio, project: Project) -> None:
    """Prepares an opened project for edits: its result is read, or generated in the background."""
    if project.state == "analysing" or not project.history.node:
        return
    known = studio.engine.kept(project.id, project.history.node) is not None
    if known and project.live.node == project.history.node:
        return
    waiting = studio.jobs.listed(project.id, hidden=True)
    if any(job.kind == "open" and not job.finished.is_set() for job in waiting):
        return
    try:
        is_stored = studio.engine.is_ready(project.id, project.info, project.history.node)
    except FoleyflowError:  # the video is missing: edits will say so
        return
    studio.start(
        project,
        EDIT_LANE if is_stored else studio.lane_of(project),
        "open",
        lambda job: _open(studio, project, job),
        is_shown=False,
    )


def start_playback(studio: Studio, project: Project) -> None:
    """Finds out what browsers can play, and makes a copy for them if necessary."""

    def prepare(job: Job) -> None:
        if project.choose_playback() == "preparing":
            studio.start(
                project,
                "media",
                "proxy",
                lambda inner: _make_proxy(studio, project, inner),
                label="Make a copy for the browser",
            )
        studio.publish(project)

    studio.start(project, "media", "playback", prepare, is_shown=False)


def start_render(studio: Studio, project: Project, changes: Mapping[str, Any]) -> Job:
    """Generates the complete sound with other settings."""
    _check_ready(project)
    check_settings(studio, project, changes)
    if set(changes) == {"stereo"}:
        return start_panning(studio, project, stereo=changes["stereo"])

    def work(job: Job) -> Answer:
        with project.lock:
            before, settings = dict(project.history.cues), {**project.settings, **changes}
        sheet = sheet_of(before, project.duration_s)
        return _generate(studio, project, job, before, before, sheet, settings, "Generate again")

    return studio.start(
        project, studio.lane_of(project), "render", work, label="Generate the sound"
    )


def start_spotting(studio: Studio, project: Project, sensitivity: float) -> Job:
    """Finds the cues again."""
    _check_ready(project)

    def work(job: Job) -> Answer:
        with project.lock:
            before, number = dict(project.history.cues), project.history.next_id
            settings = {**project.settings, "sensitivity": sensitivity}
        sheet, warnings = _spot(studio, project, job, sensitivity)
        project.update(warnings=warnings)
        cues = with_ids(list(sheet), before, number=number)
        return _generate(studio, project, job, before, cues, sheet, settings, FIND)

    return studio.start(project, studio.lane_of(project), "spot", work, label=FIND)


def _check_ready(project: Project) -> None:
    if project.state != "ready":
        raise NotNow("the video is still being analysed", hint="wait until it is ready")


def _generate(
    studio: Studio,
    project: Project,
    job: Job,
    before: IdentifiedCues,
    cues: IdentifiedCues,
    sheet: CueSheet,
    settings: dict[str, Any],
    label: str,
    *,
    is_start: bool = False,
    **values: Any,
) -> Answer:
    """Generates the sound of cues with settings, and makes it the present one.

    Args:
        before: the cues when the work began.
        cues, sheet: of the sound, with ids and without.
        is_start: undo does not go back further.
        values: of the project's record.
    """
    count = project.change_count
    result = studio.engine.generate(
        project.info, sheet, settings, job.report, folder=project.folder
    )
    written = studio.engine.write(project.id, project.info, result)
    job.report(1.0)
    with project.lock:
        names = commit_generated(
            studio,
            project,
            before=before,
            cues=cues,
            label=label,
            operation={"kind": "generate", "settings": settings},
            keep=lambda node: studio.engine.begin(project.id, project.info, node, written),
            is_start=is_start,
        )
        if values:
            project.update(**values)
    update_sound(studio, project, job)
    project.update(state="ready", error=None)
    answer = answer_to(project, names, count)
    publish_edit(studio, project, answer)
    studio.publish(project)
    return answer


def _guarded(studio: Studio, project: Project, job: Job) -> None:
    """The analysis; a failure becomes the state of the project."""
    try:
        _analyse(studio, project, job)
    except Exception as problem:
        cancelled = isinstance(problem, Cancelled)
        error = (
            {"error": "the analysis was cancelled", "hint": "create the project again"}
            if isinstance(problem, Cancelled)
            else describe_problem(problem)
        )
        # A stopped server continues when it starts again
        if not project.is_deleted and not (cancelled and studio.is_closed):
            project.update(state="failed", error=error)
            studio.publish(project)
        raise


def _analyse(studio: Studio, project: Project, job: Job) -> None:
    settings = default_settings(studio)
    sheet, warnings = _spot(studio, project, job, settings["sensitivity"])
    # Edits of the first stretch are kept; without any, all cues are those of the complete video
    with project.lock:
        history = project.history
        before, number = dict(history.cues), history.next_id
        is_edited = history.revision > 1
        until_s = project.analysed_until_s
    cues = with_ids(list(sheet), before, number=number)
    if is_edited:
        later = {name: cue for name, cue in cues.items() if cue.time_s >= until_s}
        cues = {**{n: cue for n, cue in before.items() if cue.time_s < until_s}, **later}
        sheet = sheet_of(cues, project.duration_s)
    _generate(
        studio,
        project,
        job,
        before,
        cues,
        sheet,
        settings,
        FIND,
        is_start=True,
        warnings=warnings,
        analysed_until_s=project.duration_s,
    )


def _analyse_first_stretch(studio: Studio, project: Project, job: Job) -> None:
    """Cues and sound of the beginning of a long video."""
    until_s = studio.settings.first_stretch_s
    settings = default_settings(studio)
    clip = dataclasses.replace(project.info, duration_s=until_s)
    result = studio.engine.generate(clip, None, settings, job.report)
    written = studio.engine.write(project.id, project.info, result)
    with project.lock:
        if project.state != "analysing" or project.history.node:
            return
        names = commit_generated(
            studio,
            project,
            before={},
            cues=with_ids(list(result.cues), {}, number=1),
            label=FIND,
            operation={"kind": "generate", "settings": settings, "until_s": until_s},
            keep=lambda node: studio.engine.begin(project.id, project.info, node, written),
            is_start=True,
        )
        project.update(analysed_until_s=until_s)
    update_sound(studio, project, job)
    publish_edit(studio, project, answer_to(project, names, 0))
    studio.publish(project)


def _spot(
    studio: Studio, project: Project, job: Job, sensitivity: float
) -> tuple[CueSheet, list[str]]:
    """The cues of the complete video, and warnings."""
    model, duration_s = studio.engine.model, project.duration_s
    analysis, warnings = model.analyse(
        project.info, Stopwatch(), lambda done_s: job.report(ANALYSIS_SHARE * done_s / duration_s)
    )
    if not model.materials:
        return CueSheet(duration_s=duration_s), warnings
    spotting = model.spot_in(analysis, sensitivity)
    return spotting.cues, [*warnings, *spotting.warnings]


def _open(studio: Studio, project: Project, job: Job) -> None:
    with project.render_lock:
        history, engine = project.history, studio.engine
        node, count = history.node, project.change_count
        stored = engine.known(project.id, project.info, history, node, job.report)
        if project.live.node != node:
            update_sound(studio, project, job)
        elif stored is not None:
            project.note_change(history.revision, [], stored.warnings)
        else:
            # A shortened sequence of edits may give slightly other samples
            result = engine.result_of(project.id, project.info, history, node, job.report)
            ranges = project.live.replace(node, result.blocks())
            project.note_change(history.revision, ranges, result.warnings)
    if project.changed_since(count):
        publish_edit(studio, project, answer_to(project, [], count))


def _make_proxy(studio: Studio, project: Project, job: Job) -> None:
    try:
        with draft_of(project.proxy) as draft:
            studio.decoding.copy_for_browsers(
                project.info,
                draft,
                progress=lambda done_s: job.report(done_s / project.duration_s),
            )
    except Exception:
        if not project.is_deleted:
            project.update(playback="none")
        raise
    finally:
        studio.publish(project)
