"""Delivers the sound of a result: mixed with that of the video, as a video or a sound file."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from foleyflow import clock
from foleyflow.cues.labels import label_text
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.delivery import Ducking, MixedSound, MixMode, check_original, mix_sounds
from foleyflow.errors import ConfigError, MediaError, UsageError
from foleyflow.media import (
    BroadcastInfo,
    LoudnessReport,
    MediaInfo,
    SoundFormat,
    check_copy,
    measure_report,
    mux,
    sound_suffix,
    write_sound,
)
from foleyflow.signals import Marker

SOUND_FORMATS: tuple[SoundFormat, ...] = get_args(SoundFormat)
# Suffix of a sound file -> its formats, of which the first is the default
_FORMATS_BY_SUFFIX: dict[str, tuple[SoundFormat, ...]] = {
    ".wav": ("wav24", "wav16", "bwf"),
    ".bwf": ("bwf",),
    ".flac": ("flac",),
}
_LARGEST_DEPTH_DB = 60.0
_LARGEST_LEVEL_LU = 40.0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How the sound of a result is written.

    Attributes:
        mix: "replace" the sound of the video, "mix" it with the generated sound, or "duck" it
            around the enabled cues. A video without sound has a warning and the generated sound.
        mix_level_lu: loudness of the generated sound above that of the video's own sound; None
            keeps the levels of both.
        duck_depth_db: by how much "duck" lowers the video's own sound.
        keep_original: keep the audio tracks of the video after the new one.
        sound_format: of a sound file; None chooses by its suffix, and .wav has 24 bits.
        description: in Broadcast Wave; None names the video.

    Raises:
        ConfigError: a value is out of range.
    """

    mix: MixMode = "replace"
    mix_level_lu: float | None = 0.0
    duck_depth_db: float = Ducking.depth_db
    keep_original: bool = False
    sound_format: SoundFormat | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        if self.mix not in get_args(MixMode):
            raise ConfigError(
                f"mix {self.mix!r}: expected one of {', '.join(get_args(MixMode))}",
                hint="duck lowers the video's own sound around the cues",
            )
        level_lu = 0.0 if self.mix_level_lu is None else self.mix_level_lu
        if not abs(level_lu) <= _LARGEST_LEVEL_LU:
            raise ConfigError(
                f"mix level {level_lu:g} LU: expected {-_LARGEST_LEVEL_LU:g} to "
                f"{_LARGEST_LEVEL_LU:g} LU",
                hint="0 makes the generated sound as loud as that of the video",
            )
        if not 0.0 <= self.duck_depth_db <= _LARGEST_DEPTH_DB:
            raise ConfigError(
                f"duck depth {self.duck_depth_db:g} dB: expected 0 to {_LARGEST_DEPTH_DB:g} dB",
                hint="9 dB is clear and unobtrusive",
            )
        if self.sound_format is not None and self.sound_format not in SOUND_FORMATS:
            raise ConfigError(
                f"format {self.sound_format!r}: expected one of {', '.join(SOUND_FORMATS)}",
                hint="wav24 is read by all editing programs",
            )

    def format_of(self, path: Path) -> SoundFormat | None:
        """The format of a sound file; None for a video.

        Raises:
            UsageError: the suffix does not fit the chosen format.
        """
        formats = _FORMATS_BY_SUFFIX.get(path.suffix.lower())
        if formats is None:
            return None
        if self.sound_format is None:
            return formats[0]
        if self.sound_format not in formats:
            raise UsageError(
                f"{path}: expected a name for the format {self.sound_format}",
                hint=f"use a name with {sound_suffix(self.sound_format)}, or another --format",
            )
        return self.sound_format

    def to_json(self) -> dict[str, str | float | bool | None]:
        """The settings by name, without the description."""
        return {name: value for name, value in vars(self).items() if name != "description"}


@dataclass(frozen=True, kw_only=True)
class DeliveredSound:
    """The sound that is written, computed whenever its blocks are read.

    Attributes:
        info: the video.
        cues: of the generated sound.
        rate_hz, sample_count: of the sound.
        delivery: settings.
        mixed: the mix; None where the generated sound replaces that of the video.
        warnings: for the user.
    """

    info: MediaInfo
    cues: CueSheet
    rate_hz: int
    sample_count: int
    delivery: Delivery
    mixed: MixedSound | None
    warnings: tuple[str, ...] = ()
    _generated: Callable[[], Iterable[NDArray[np.float32]]] = field(repr=False)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The sound in (1 or 2, n) float32 blocks, `sample_count` samples in total."""
        yield from self._generated() if self.mixed is None else self.mixed.blocks()

    @functools.cached_property
    def loudness(self) -> LoudnessReport:
        """Loudness and true peak; of a sound that is not a mix, measured at the first use."""
        if self.mixed is not None:
            return self.mixed.report
        return measure_report(self._generated(), self.rate_hz)

    def to_json(self) -> dict[str, float | None]:
        """What the mix has done with the levels."""
        if self.mixed is None:
            return {}
        gains = {
            "generated_gain_db": self.mixed.generated_gain_db,
            "original_gain_db": self.mixed.original_gain_db,
            "limited_db": self.mixed.limited_db,
        }
        return {
            name: None if gain is None or not math.isfinite(gain) else round(gain, 2)
            for name, gain in gains.items()
        }

    def save(self, path: Path, *, overwrite: bool = False) -> list[str]:
        """Write a sound file or a copy of the video, by the suffix; returns what was lost.

        Raises:
            MediaError: the output exists or can't be written, or the sound is for frames, which
                have no video file to copy.
            UsageError: the output is a sound file, and the original is to be kept.
        """
        sound_format = self.delivery.format_of(path)
        if sound_format is None:
            _check_source(self.info, path)
            return mux(
                self.info.path,
                path,
                self.blocks(),
                rate_hz=self.rate_hz,
                n_samples=self.sample_count,
                overwrite=overwrite,
                keep_original=self.delivery.keep_original,
                info=self.info,
            )
        check_delivery(self.info, path, self.delivery)
        is_broadcast = sound_format == "bwf"
        write_sound(
            path,
            self.blocks(),
            self.rate_hz,
            format=sound_format,
            broadcast=self._broadcast_info() if is_broadcast else None,
            markers=markers_of(self.cues) if is_broadcast else (),
            overwrite=overwrite,
        )
        return []

    def _broadcast_info(self) -> BroadcastInfo:
        reference = VideoReference.measured(
            rate_hz=self.info.rate_hz,
            start_time_code=self.info.start_time_code,
            name=self.info.path.name,
        )
        description = self.delivery.description
        if description is None:
            description = f"Sound for {self.info.path.name}"
        return BroadcastInfo(
            description=description,
            time_reference_samples=clock.count_at(start_of_day_s(reference), self.rate_hz),
            loudness=self.loudness,
        )


def deliver(
    generated: Callable[[], Iterable[NDArray[np.float32]]],
    info: MediaInfo,
    cues: CueSheet,
    delivery: Delivery,
    *,
    rate_hz: int,
    sample_count: int,
    target_lufs: float | None,
) -> DeliveredSound:
    """The generated sound, or its mix with the sound of the video.

    Args:
        generated: called for the generated sound in blocks, several times.
        info: the video.
        cues: of the generated sound.
        delivery: settings.
        rate_hz, sample_count: of the sound.
        target_lufs: loudness of the mix; None keeps the level.

    Raises:
        MediaError: the sound of the video can't be decoded.
    """
    mixed: MixedSound | None = None
    warnings: tuple[str, ...] = ()
    if delivery.mix != "replace" and not info.has_audio:
        warnings = ("the video has no sound to mix with; it gets the generated sound",)
    elif delivery.mix != "replace":
        mixed = mix_sounds(
            generated,
            info.path,
            mode=delivery.mix,
            rate_hz=rate_hz,
            sample_count=sample_count,
            target_lufs=target_lufs,
            relative_level_lu=delivery.mix_level_lu,
            stretches=[(cue.time_s, cue.end_s or cue.time_s) for cue in cues.enabled],
            ducking=Ducking(depth_db=delivery.duck_depth_db),
        )
        warnings = mixed.warnings
    return DeliveredSound(
        info=info,
        cues=cues,
        rate_hz=rate_hz,
        sample_count=sample_count,
        delivery=delivery,
        mixed=mixed,
        warnings=warnings,
        _generated=generated,
    )


def check_delivery(info: MediaInfo, output: Path, delivery: Delivery) -> None:
    """Refuses, before any work, what can't be delivered.

    Raises:
        MediaError: the format of a copy can't hold the video or its audio tracks, or the sound of
            the video, which is to be mixed, can't be decoded.
        UsageError: a sound file can't keep the audio tracks of the video.
    """
    sound_format = delivery.format_of(output)
    if sound_format is None:
        check_copy(info, output, keep_original=delivery.keep_original)
    elif delivery.keep_original:
        raise UsageError(
            f"{output}: a sound file can't keep the original sound",
            hint="write a video, or leave --keep-original out",
        )
    if delivery.mix != "replace" and info.has_audio:
        check_original(info.path)


def _check_source(info: MediaInfo, output: Path) -> None:
    if not info.is_file:
        raise MediaError(
            f"{output}: the sound was generated for frames, which have no video file to copy",
            hint="save it as .wav or .flac, or take `waveform` and encode both",
        )


def markers_of(cues: CueSheet) -> list[Marker]:
    """A marker for each enabled cue; rolls and scrapes have an end."""
    return [
        Marker(time_s=cue.time_s, end_s=cue.end_s, name=label_text(cue)) for cue in cues.enabled
    ]


def start_of_day_s(reference: VideoReference) -> float:
    """Seconds from midnight to the first frame, by the time code of a video."""
    return float(reference.first_count / reference.frame_rate)
