"""Options of `foleyflow generate` that depend on each other, and levels as text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foleyflow.errors import ConfigError, UsageError


@dataclass(frozen=True, kw_only=True)
class SoundOptions:
    """Options that have an effect only with another one, or that exclude each other."""

    mix: str
    mix_level: str | None
    duck_depth: float | None
    keep_original: bool
    audio_only: bool
    sound_format: Any
    library: Path | None
    library_variation: str | None
    reference: Path | None


def checked_sound(options: SoundOptions, typed: Collection[str]) -> SoundOptions:
    """The options without configured defaults that the others leave without effect.

    Args:
        options: from the command line and the configuration.
        typed: parameters that the command line has.

    Raises:
        UsageError: the command line has an option without effect, or two that exclude each other.
    """
    if options.reference is not None and options.library is not None:
        idle = [name for name in ("library", "reference") if name not in typed]
        if idle:
            gives_way: dict[str, Any] = {idle[0]: None}
            options = replace(options, **gives_way)
    without_effect = {
        "mix_level": options.mix == "replace",
        "duck_depth": options.mix != "duck",
        "keep_original": options.audio_only,
        "sound_format": not options.audio_only,
        "library_variation": options.library is None,
    }
    absent: dict[str, Any] = {
        name: False if name == "keep_original" else None
        for name, is_idle in without_effect.items()
        if is_idle and name not in typed
    }
    options = replace(options, **absent)
    _check(options)
    return options


def parse_loudness(text: str) -> float | None:
    """LUFS of --loudness; None keeps the level."""
    if text == "off":
        return None
    hint = "-23 is the usual level of broadcasts; off keeps the generated level"
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"--loudness {text!r}: expected LUFS, or off", hint=hint) from error
    if not -70 <= value <= 0:
        raise ConfigError(f"--loudness {value:g}: expected -70 to 0 LUFS, or off", hint=hint)
    return value


def parse_mix_level(text: str | None) -> float | None:
    """LU of --mix-level; None keeps the levels of both."""
    if text is None:
        return 0.0
    if text == "off":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"--mix-level {text!r}: expected LU, or off",
            hint="6 makes the generated sound 6 LU louder than that of the video",
        ) from error


def _check(options: SoundOptions) -> None:
    """Refuses options that have no effect without another one, or that contradict each other."""
    if options.mix_level is not None and options.mix == "replace":
        raise UsageError(
            f"--mix-level {options.mix_level} without a mix: expected --mix mix or --mix duck",
            hint="add --mix mix, or leave --mix-level out",
        )
    if options.duck_depth is not None and options.mix != "duck":
        raise UsageError(
            f"--duck-depth {options.duck_depth:g} with --mix {options.mix}: expected --mix duck",
            hint="add --mix duck, or leave --duck-depth out",
        )
    if options.keep_original and options.audio_only:
        raise UsageError(
            "--keep-original with --audio-only: a sound file can't keep the original sound",
            hint="leave one of them out",
        )
    if options.sound_format is not None and not options.audio_only:
        raise UsageError(
            f"--format {options.sound_format} without --audio-only: it is the format of a sound "
            "file",
            hint="add --audio-only; the suffix of -o chooses the format of a video",
        )
    if options.library_variation is not None and options.library is None:
        raise UsageError(
            f"--library-variation {options.library_variation} without --library",
            hint="add --library FOLDER, or leave it out",
        )
    if options.reference is not None and options.library is not None:
        raise UsageError(
            "--reference with --library: expected one of them",
            hint="--library repeats recordings exactly, --reference varies one",
        )
