"""Kept versions of the sound of a project, with a sound file and a sidecar each."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.inference.candidates import CandidateScores
from foleyflow.inference.result import Generated
from foleyflow.studio.editing import Answer, edit_cues
from foleyflow.studio.engine import GENERATED_SHARE
from foleyflow.studio.identified_cues import sheet_of
from foleyflow.studio.jobs import Job
from foleyflow.studio.problems import NotFound, NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.project_files import display_name, now
from foleyflow.studio.studio import Studio
from foleyflow.studio.writing import write_sound_with_record

MOST_COUNT = 16
MOST_TAKES = 200


def takes_to_json(project: Project) -> list[dict[str, Any]]:
    """The takes as the API shows them."""
    return [take_to_json(project, take) for take in project.get("takes")]


def take_to_json(project: Project, take: dict[str, Any]) -> dict[str, Any]:
    """A take as the API shows it; the scores of a kept one are null."""
    shown = {key: take[key] for key in ("id", "name", "seed", "created_at", "revision", "scores")}
    return {
        **shown,
        "channels": take.get("channels", 1),
        "is_current": take["current_at"] == project.history.node,
    }


def take_of(project: Project, name: str) -> dict[str, Any]:
    """The record of a take.

    Raises:
        NotFound: there is none with this id.
    """
    for take in project.get("takes"):
        if take["id"] == name:
            return dict(take)
    raise NotFound("there is no such take", hint="read the project again")


def take_file(project: Project, name: str) -> Path:
    """The sound file of a take.

    Raises:
        NotFound: there is none with this id.
    """
    return project.folder / "takes" / f"{take_of(project, name)['id']}.wav"


def channels_of_take(project: Project, name: str) -> int:
    """Channels of the sound file of a take.

    Raises:
        NotFound: there is none with this id.
    """
    return int(take_of(project, name).get("channels", 1))


def start_keeping(studio: Studio, project: Project, name: str) -> Job:
    """Keeps the present sound."""
    _check(project, 1)
    with project.lock:
        revision = project.history.node

    def work(job: Job) -> dict[str, Any]:
        with project.render_lock:
            result = studio.engine.result_of(
                project.id, project.info, project.history, revision, job.report
            )
        operation = {"kind": "same", "revision": revision}
        take = _add(studio, project, result, name, revision, operation, None)
        _change(project, take["id"], {"current_at": revision})
        studio.publish(project)
        return take_to_json(project, take_of(project, take["id"]))

    return studio.start(
        project, studio.lane_of(project), "keep", work, label=f"Keep {display_name(name)}"
    )


def start_takes(studio: Studio, project: Project, count: int) -> Job:
    """Generates takes of the present cues by new seeds."""
    if not 1 <= count <= MOST_COUNT:
        raise ConfigError(f"count={count}: expected 1 to {MOST_COUNT} takes", hint="4 is usual")
    _check(project, count)
    settings = project.settings
    seeds = [int(settings["seed"]), *(take["seed"] for take in project.get("takes"))]
    with project.lock:
        revision, cues = project.history.node, dict(project.history.cues)

    def work(job: Job) -> dict[str, Any]:
        sheet = sheet_of(cues, project.duration_s)
        takes = studio.engine.candidates(
            project.info,
            sheet,
            settings,
            job.report,
            seed=max(seeds) + 1,
            count=count,
            folder=project.folder,
        )
        added = []
        for place, take in enumerate(takes):
            job.report(GENERATED_SHARE + (1 - GENERATED_SHARE) * place / count)
            operation = {"kind": "generate", "settings": {**settings, "seed": take.seed}}
            added.append(
                _add(studio, project, take.result, "", revision, operation, take.scores)["id"]
            )
        studio.publish(project)
        return {"takes": [take_to_json(project, take_of(project, name)) for name in added]}

    return studio.start(
        project, studio.lane_of(project), "takes", work, label=f"Generate {count} takes"
    )


def use_take(studio: Studio, project: Project, name: str) -> Answer:
    """Makes a take the present sound, with its cues."""
    take = take_of(project, name)
    cues = project.history.cues_at(take["revision"])
    answer = edit_cues(
        studio,
        project,
        lambda present, number: cues,
        label=f"Use {take['name']}",
        operation={**take["operation"], "take": name},
    )
    _change(project, name, {"current_at": answer["revision"]})
    studio.publish(project)
    return answer


def rename_take(studio: Studio, project: Project, name: str, text: str) -> dict[str, Any]:
    """Gives a take another name."""
    take_of(project, name)
    _change(project, name, {"name": display_name(text)})
    studio.publish(project)
    return take_to_json(project, take_of(project, name))


def delete_take(studio: Studio, project: Project, name: str) -> None:
    """Deletes a take and its files."""
    path = take_file(project, name)
    with project.lock:
        project.update(takes=[take for take in project.get("takes") if take["id"] != name])
    for file in (path, path.with_name(path.name + ".json")):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
    studio.publish(project)


def _check(project: Project, count: int) -> None:
    if project.state != "ready":
        raise NotNow("the video is still being analysed", hint="wait until it is ready")
    if len(project.get("takes")) + count > MOST_TAKES:
        raise NotNow(f"a project has at most {MOST_TAKES} takes", hint="delete some")


def _add(
    studio: Studio,
    project: Project,
    result: Generated,
    name: str,
    revision: int,
    operation: dict[str, Any],
    scores: CandidateScores | None,
) -> dict[str, Any]:
    """Writes the sound of a take and adds it to the record."""
    with project.lock:
        number = project.get("next_number")
        project.update(next_number=number + 1)
    take = {
        "id": f"t{number}",
        "name": display_name(name) if name.strip() else f"Take {number}",
        "seed": int(str(result.settings["seed"])),
        "created_at": now(),
        "revision": revision,
        "operation": operation,
        "current_at": 0,
        "channels": result.channels,
        "scores": None if scores is None else {**vars(scores), "total": scores.total},
    }
    write_sound_with_record(studio, project, result, project.folder / "takes" / f"{take['id']}.wav")
    studio.engine.keep(project.id, take["id"], result)
    with project.lock:
        project.update(takes=[*project.get("takes"), take])
    return take


def _change(project: Project, name: str, values: dict[str, Any]) -> None:
    with project.lock:
        takes = [
            {**take, **values} if take["id"] == name else take for take in project.get("takes")
        ]
        project.update(takes=takes)
