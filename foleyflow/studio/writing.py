"""Writes results to files, as `foleyflow generate` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foleyflow.cues.files import format_of, write_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.delivery import Delivery, check_delivery
from foleyflow.inference.generation_job import describe
from foleyflow.inference.outputs import write_companions, write_record
from foleyflow.inference.request import Job, Request
from foleyflow.inference.result import Generated
from foleyflow.inference.stems import StemKind
from foleyflow.inference.video_reference import reference_of
from foleyflow.media import SoundFormat, default_suffix, sound_suffix
from foleyflow.studio.jobs import Job as StudioJob
from foleyflow.studio.project import Project
from foleyflow.studio.studio import Studio


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an export contains.

    Attributes:
        stem: name of the files without a suffix.
        video: suffix of the video; None for none, "" for that of the original.
        sound: format of the sound file; None for none.
        delivery: mixing and what is kept.
        stems: None for none.
        cues: suffixes of cue sheets.
        project, report, sidecar: see `foleyflow generate --help`.
    """

    stem: str
    video: str | None
    sound: SoundFormat | None
    delivery: Delivery
    stems: StemKind | None
    cues: Sequence[str]
    project: str | None
    report: bool
    sidecar: bool


def write_sound_with_record(
    studio: Studio, project: Project, result: Generated, path: Path
) -> None:
    """Writes a sound file with 24 bits and its sidecar."""
    result = dataclasses.replace(result, warnings=list(result.warnings))
    delivery = Delivery(sound_format="wav24")
    job = _job(studio, project, result, path, delivery, sidecar=True)
    result.save(path, overwrite=True, delivery=delivery)
    write_record(describe(result, job), result, job)


def write_export(
    studio: Studio,
    project: Project,
    result: Generated,
    folder: Path,
    wanted: Wanted,
    running: StudioJob,
    *,
    sheet: CueSheet,
) -> dict[str, Any]:
    """Writes an export into a folder; returns the outputs, their loudness and warnings.

    `sheet` are the cues of the project, which have attributes that a recording replaces.

    Raises:
        MediaError: the format can't hold the video, or a file can't be written.
        UsageError: settings contradict each other.
    """
    # The video, then the sound; companions belong to the first of them
    result = dataclasses.replace(result, warnings=list(result.warnings))
    outputs: list[tuple[Path, Delivery]] = []
    name = f"{wanted.stem}.foley"
    own = dataclasses.replace(
        wanted.delivery, sound_format=None, description=f"Sound for {project.get('video')['name']}"
    )
    if wanted.video is not None:
        outputs.append((folder / (name + (wanted.video or default_suffix(project.video))), own))
    if wanted.sound is not None:
        delivery = dataclasses.replace(own, sound_format=wanted.sound, keep_original=False)
        outputs.append((folder / (name + sound_suffix(wanted.sound)), delivery))
    for output, delivery in outputs:
        check_delivery(result.info, output, delivery)
    for place, (output, delivery) in enumerate(outputs):
        running.report(0.1 + 0.5 * place / len(outputs))
        result.save(output, overwrite=True, delivery=delivery)
    # Cue sheets
    reference = reference_of(result.info, project.get("video")["name"])
    cues = result.cues if result.settings["reference"] is None else sheet
    for suffix in wanted.cues:
        format_of(Path(suffix))
        middle = ".cues" if suffix in (".json", ".csv") else ""
        write_cues(folder / f"{wanted.stem}{middle}{suffix}", cues, video=reference)
    # Files next to the output
    running.report(0.6)
    main, delivery = outputs[0] if outputs else (folder / f"{name}.wav", own)
    job = _job(
        studio,
        project,
        result,
        main,
        delivery,
        stems=wanted.stems,
        project_kind=wanted.project,
        report=wanted.report,
        sidecar=wanted.sidecar and bool(outputs),
    )
    described = describe(result, job)
    write_companions(described, result, job)
    loudness = None if result.delivered is None else result.delivered.loudness.to_json()
    return {
        "outputs": [output.name for output, _ in outputs],
        "loudness": loudness,
        "warnings": list(dict.fromkeys(described["warnings"])),
    }


def _job(
    studio: Studio,
    project: Project,
    result: Generated,
    output: Path,
    delivery: Delivery,
    *,
    stems: StemKind | None = None,
    project_kind: str | None = None,
    report: bool = False,
    sidecar: bool = False,
) -> Job[Request]:
    """The job of `foleyflow generate` that would write these files."""
    values: dict[str, Any] = result.settings
    request = Request(
        output=str(output),
        model=studio.settings.model,
        device=studio.settings.device,
        weights_dir=None,
        threads=studio.settings.threads,
        overwrite=True,
        sensitivity=project.settings["sensitivity"],
        seed=values["seed"],
        steps=values["steps"],
        guidance=values["guidance"],
        material=values["material"],
        cues=None,
        loudness_lufs=values["loudness_lufs"],
        library=values["library"],
        library_variation=values["library_variation"],
        reference=values["reference"],
        stereo=values["stereo"],
        delivery=delivery,
        audio_only=output.suffix.lower() in (".wav", ".flac"),
        project=project_kind,
        report=report,
        events=False,
        sidecar=sidecar,
        stems=stems,
    )
    return Job(
        name=project.get("video")["name"],
        video=result.info.path,
        output=output,
        request=request,
    )
