"""Writes a project of an editing program next to a result: video, sounds and cues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foleyflow.cues.video_reference import VideoReference
from foleyflow.delivery import Stem, write_reaper_project
from foleyflow.inference.delivery import markers_of, start_of_day_s
from foleyflow.inference.result import Generated
from foleyflow.media import write_sound

PROJECTS = ("reaper",)
GENERATED = "generated"  # name of the track of the complete sound, and of its file

_PROJECT_SUFFIX = ".rpp"


def project_files(output: Path, *, has_stems: bool = False) -> list[Path]:
    """The project next to an output, and the complete sound, unless the project plays stems."""
    project = output.with_suffix(_PROJECT_SUFFIX)
    return [project] if has_stems else [project, output.with_suffix(f".{GENERATED}.wav")]


def write_project(
    output: Path,
    result: Generated,
    *,
    video: Path,
    reference: VideoReference,
    original_is_audible: bool = False,
    stems: Sequence[Stem] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Writes a REAPER project and, without stems, the generated sound; returns their paths.

    Args:
        output: of the result; the other files have its name.
        result: its cues become markers and regions.
        video: on the first track.
        reference: of the video.
        original_is_audible: play the sound of the video.
        stems: files that were written, for the other tracks; None for the complete sound.
        overwrite: replace existing files.

    Raises:
        MediaError: a file exists or can't be written.
    """
    project, *sounds = project_files(output, has_stems=stems is not None)
    if stems is None:
        stems = [Stem(path=path, name=GENERATED) for path in sounds]
        for path in sounds:
            write_sound(path, result.blocks(), result.sample_rate_hz, overwrite=overwrite)
    write_reaper_project(
        project,
        video=video,
        duration_s=result.info.duration_s,
        stems=stems,
        markers=markers_of(result.cues),
        rate_hz=result.sample_rate_hz,
        frame_rate=reference.frame_rate,
        drops_frames=reference.drops_frames,
        start_s=start_of_day_s(reference),
        original_is_audible=original_is_audible,
        overwrite=overwrite,
    )
    return [project, *sounds]
