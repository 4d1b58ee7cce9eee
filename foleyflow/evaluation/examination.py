"""Read the two files of a clip, detect their onsets, and decide what is scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from foleyflow.errors import FoleyflowError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.cases import Case, SoundFiles
from foleyflow.evaluation.files import (
    EVENT_SUFFIXES,
    MEDIA_SUFFIXES,
    find_files,
    find_videos,
    is_event_file,
    is_silent_video,
    read_onsets,
    read_reference,
)
from foleyflow.evaluation.metrics.synchrony import ClipOnsets


@dataclass(frozen=True, kw_only=True)
class ClipFiles:
    """The files of a clip.

    Attributes:
        name: of the clip.
        generated: its generated sound or video.
        reference: events, sound or video to compare with.
        true_sound: sound or video among the references, also where `reference` has events.
        video: file with the video stream, if a metric needs it.
    """

    name: str
    generated: Path
    reference: Path
    true_sound: Path | None = None
    video: Path | None = None


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """The files of two folders: clips that both have, by name, and names that only one has."""

    clips: tuple[ClipFiles, ...]
    only_generated: tuple[str, ...]
    only_reference: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExaminedClip:
    """What the files of a clip contain.

    Attributes:
        case: the clip as it is scored; None if it is not.
        true, estimated: onsets of the reference and of the generated sound.
        is_silent: whether the generated sound is silent.
        unreadable: reason why a file cannot be read; None if both can.
    """

    case: Case | None = None
    true: ClipOnsets | None = None
    estimated: ClipOnsets | None = None
    is_silent: bool = False
    unreadable: str | None = None


def find_clips(
    generated: Path,
    reference: Path,
    *,
    generated_pattern: str,
    reference_pattern: str,
    needs_video: bool,
) -> FoundFiles:
    """Pair the files of two folders; the patterns and errors are those of `find_files`."""
    generated_files = find_files(generated, generated_pattern, MEDIA_SUFFIXES)
    references = find_files(reference, reference_pattern, EVENT_SUFFIXES + MEDIA_SUFFIXES)
    true_sounds = find_files(reference, reference_pattern, MEDIA_SUFFIXES)
    videos: dict[str, Path] = {}
    if needs_video:
        videos = find_videos(generated, generated_pattern)
        videos |= find_videos(reference, reference_pattern)
    return FoundFiles(
        clips=tuple(
            ClipFiles(
                name=name,
                generated=generated_files[name],
                reference=references[name],
                true_sound=true_sounds.get(name),
                video=videos.get(name),
            )
            for name in sorted(generated_files.keys() & references.keys())
        ),
        only_generated=tuple(sorted(generated_files.keys() - references.keys())),
        only_reference=tuple(sorted(references.keys() - generated_files.keys())),
    )


def examine_clip(
    clip: ClipFiles, *, cache: ResultCache | None, files: SoundFiles, skip_without_onsets: bool
) -> ExaminedClip:
    """The onsets of a clip, and the clip as it is scored.

    Args:
        clip: its files.
        cache: where onsets are stored and looked up.
        files: sounds that were already read.
        skip_without_onsets: clips without true onsets have no case.
    """
    try:
        estimated, is_silent = read_onsets(clip.generated, cache, files)
        true = read_reference(
            clip.reference, duration_s=estimated.duration_s, cache=cache, sounds=files
        )
    except FoleyflowError as error:
        return ExaminedClip(unreadable=str(error))
    found = ExaminedClip(true=true, estimated=estimated, is_silent=is_silent)
    if skip_without_onsets and not len(true.times_s):
        return found
    case = Case(
        name=clip.name,
        generated=clip.generated,
        true_sound=clip.reference,
        onsets={clip.generated: estimated, clip.reference: true},
        video=clip.video,
    )
    if is_event_file(clip.reference):
        has_sound = clip.true_sound is not None and not is_silent_video(clip.true_sound)
        case = replace(case, true_sound=clip.true_sound if has_sound else None, events=true)
    return replace(found, case=case)
