"""Options of `foleyflow generate` for takes and stems, and for changes of an earlier result."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from foleyflow.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from foleyflow.inference.request import Request

MOST_TAKES = 32

Candidates = Annotated[
    int,
    Option(
        min=1,
        max=MOST_TAKES,
        help="Number of takes, with the seeds SEED, SEED + 1, ...; the best one is the output, the "
        "others are NAME.take2.mp4 and so on.",
    ),
]
Stems = Annotated[
    Literal["material", "cue"] | None,
    Option(
        help="Also write the generated sound in parts, one WAV file for each material or cue, into "
        "the folder NAME.stems.",
    ),
]
Of = Annotated[
    Path | None,
    Option(
        "--of",
        metavar="RESULT",
        help="Start from this earlier result, which needs its sidecar (--sidecar), and keep all of "
        "it that --range or --cues do not concern.",
    ),
]
Range = Annotated[
    str | None,
    Option(
        "--range",
        metavar="START:END",
        help="Generate only this stretch of an earlier result again, by another seed. Times are "
        "seconds or HH:MM:SS.mmm. Default of --of: the output itself.",
    ),
]

_RANGE_HINT = "for instance --range 2:4.5 or --range 00:00:02.000:00:00:04.500"
# Options that the earlier result determines, as parameters of the command
_FIXED = (
    "steps",
    "guidance",
    "material",
    "sensitivity",
    "loudness",
    "library",
    "library_variation",
    "reference",
    "stereo",
    "candidates",
)
_DELIVERY = {
    "mix": "mix",
    "mix_level": "mix_level_lu",
    "duck_depth": "duck_depth_db",
    "keep_original": "keep_original",
    "sound_format": "sound_format",
}  # parameter -> setting


def parse_range(text: str) -> tuple[float, float]:
    """Start and end of a range in seconds.

    Raises:
        ConfigError: the text is no range, or the end is not after the start.
    """
    parts = text.split(":")
    middle = len(parts) // 2
    try:
        if len(parts) not in (2, 4, 6):
            raise ValueError
        start_s, end_s = (_seconds(each) for each in (parts[:middle], parts[middle:]))
    except ValueError as error:
        raise ConfigError(
            f"--range {text!r}: expected START:END, both in the same form", hint=_RANGE_HINT
        ) from error
    if not start_s < end_s:
        raise ConfigError(f"--range {text!r}: expected an end after the start", hint=_RANGE_HINT)
    return start_s, end_s


def revised(
    request: Request,
    videos: Collection[str],
    given: Collection[str],
    *,
    of: Path | None,
    range_text: str | None,
) -> Request:
    """The request with the settings of an earlier result, for all options that were not given.

    Args:
        request: with the options.
        videos: as the user gave them.
        given: parameters of the command that the user gave.
        of: the earlier result; None for the output itself.
        range_text: the stretch to generate again; None for the complete result.

    Raises:
        UsageError: an option does not fit, or there are several videos.
        MediaError: the earlier result has no sidecar.
        ConfigError: the range or the sidecar is not valid.
    """
    from foleyflow.inference.generation_job import sound_output
    from foleyflow.inference.revision import Revision
    from foleyflow.inference.sidecar import read_sidecar

    option = "--range" if of is None else "--of"
    for name in _FIXED:
        if name in given:
            raise UsageError(
                f"--{name.replace('_', '-')} with {option}: it is a setting of the earlier result",
                hint=f"leave it out, or generate the video again without {option}",
            )
    if "seed" in given and range_text is None:
        raise UsageError(
            "--seed with --of: the earlier result has its seed",
            hint="add --range START:END to generate a stretch by another seed",
        )
    if len(videos) != 1:
        raise UsageError(
            f"{option} with {len(videos)} videos: expected the one of the earlier result",
            hint="run the command for each video",
        )
    range_s = None if range_text is None else parse_range(range_text)
    sidecar = read_sidecar(of or sound_output(Path(next(iter(videos))), request))
    record = sidecar.record
    # Settings of the earlier result
    delivery = {
        setting: record[setting]
        for name, setting in _DELIVERY.items()
        if name not in given and setting in record
    }
    audio_only = request.audio_only
    if "audio_only" not in given:
        is_named = request.output is not None and request.folder is None
        audio_only = bool(record["audio_only"])
        if is_named and request.output is not None:
            audio_only = (
                dataclasses.replace(request.delivery, sound_format=None).format_of(
                    Path(request.output)
                )
                is not None
            )
    if not audio_only and "sound_format" in delivery:
        delivery["sound_format"] = None
    changes: dict[str, Any] = {
        name: record[name]
        for name in ("model", "device", "threads")
        if name not in given and name in record
    }
    return dataclasses.replace(
        request,
        seed=record["seed"],
        steps=record["steps"],
        guidance=float(record["guidance"]),
        material=record["material"],
        loudness_lufs=record["loudness_lufs"],
        library=record.get("library"),
        library_variation=record.get("library_variation", True),
        reference=record.get("reference"),
        stereo=record.get("stereo", False),
        delivery=dataclasses.replace(request.delivery, **delivery),
        audio_only=audio_only,
        sidecar=True,
        revision=Revision(
            sidecar=sidecar, range_s=range_s, seed=request.seed if "seed" in given else None
        ),
        **changes,
    )


def revision_to_json(request: Request) -> dict[str, Any]:
    """The change of an earlier result for --dry-run; all values are None without one."""
    revision = request.revision
    return {
        "of": None if revision is None else str(revision.sidecar.result),
        "range_s": None if revision is None else revision.range_s,
        "range_seed": None if revision is None else revision.seed,
    }


def takes_text(described: dict[str, Any]) -> list[str]:
    """Lines about the takes and stems of a result."""
    lines = [
        f"  {take['output']}  (rank {take['rank']}, seed {take['seed']}, score {take['score']:.3f})"
        for take in described.get("takes", [])
    ]
    return lines + [f"  {stem['file']}" for stem in described.get("stems", [])]


def _seconds(parts: list[str]) -> float:
    """Seconds of [seconds], [minutes, seconds] or [hours, minutes, seconds]."""
    *larger, seconds = parts
    total = float(seconds)
    if not 0 <= total < float("inf") or (larger and total >= 60):
        raise ValueError
    for factor, text in zip((60, 3600), reversed(larger), strict=False):
        if not (text.isascii() and text.isdigit()):
            raise ValueError
        total += factor * int(text)
    return total
