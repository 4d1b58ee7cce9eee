"""Writes a project of an editing program next to a result: video, sounds and cues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.video_reference import VideoReference
from foleyflow.delivery import Stem, write_reaper_project
from foleyflow.inference.delivery import markers_of, start_of_day_s
from foleyflow.inference.result import Generated
from foleyflow.media import write_sound

PROJECTS = ("reaper",)
GENERATED = "generated"  # name of the track and of its file

_PROJECT_SUFFIX = ".rpp"


@dataclass(frozen=True, kw_only=True)
class NamedSound:
    """A sound for a track; `blocks` is called for (channels, n) float32 blocks."""

    name: str
    blocks: Callable[[], Iterable[NDArray[np.float32]]]


def project_files(output: Path, names: Sequence[str] = (GENERATED,)) -> list[Path]:
    """The project next to an output, and its sound files."""
    return [output.with_suffix(_PROJECT_SUFFIX), *(_sound_file(output, name) for name in names)]


def write_project(
    output: Path,
    result: Generated,
    *,
    video: Path,
    reference: VideoReference,
    original_is_audible: bool = False,
    sounds: Sequence[NamedSound] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Writes a REAPER project and its sound files; returns their paths.

    Args:
        output: of the result; the other files have its name.
        result: its cues become markers and regions.
        video: on the first track.
        reference: of the video.
        original_is_audible: play the sound of the video.
        sounds: of the other tracks; None for the generated sound.
        overwrite: replace existing files.

    Raises:
        MediaError: a file exists or can't be written.
    """
    sounds = sounds or [NamedSound(name=GENERATED, blocks=result.blocks)]
    stems = [Stem(path=_sound_file(output, sound.name), name=sound.name) for sound in sounds]
    for sound, stem in zip(sounds, stems, strict=True):
        write_sound(stem.path, sound.blocks(), result.sample_rate_hz, overwrite=overwrite)
    project = write_reaper_project(
        output.with_suffix(_PROJECT_SUFFIX),
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
    return [project, *(stem.path for stem in stems)]


def _sound_file(output: Path, name: str) -> Path:
    return output.with_suffix(f".{name}.wav")
