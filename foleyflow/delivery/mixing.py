"""Mix the generated sound with the video's own sound, to a target loudness (EBU R128).

All work is done in blocks, so memory does not grow with the length of a video. The sounds are read
several times: to measure them, and at last to write them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foleyflow.delivery.ducking import Ducking, ducked_blocks
from foleyflow.delivery.limiter import limited_blocks
from foleyflow.errors import ConfigError, MediaError
from foleyflow.media.loudness import LoudnessMeter
from foleyflow.media.loudness_report import LoudnessReport, measure_report
from foleyflow.media.waveform import fit_blocks, read_sound_blocks, split_blocks

logger = logging.getLogger(__name__)

MixMode = Literal["replace", "mix", "duck"]
Blocks = Iterable[NDArray[np.float32]]

CEILING_DBTP = -1.0

_BLOCK_SAMPLES = 1 << 15
# Quieter sound counts as silence: its loudness is not changed.
_SILENCE_LUFS = -60.0
_LARGEST_LIMITING_DB = 20.0
# Below the ceiling, for the true peaks that the changing gain adds.
_LIMITER_MARGIN_DB = 0.05
_LOUDNESS_TOLERANCE_LU = 0.1
_LARGEST_ERROR_LU = 0.5  # beyond it, the result has a warning
_LARGEST_TRIES = 8
_LEAST_SLOPE = 0.1  # of the loudness over the gain, against too large steps


@dataclass(frozen=True, kw_only=True)
class MixedSound:
    """A mix that is computed whenever its blocks are read.

    Attributes:
        channels, rate_hz, sample_count: of the mix.
        generated_gain_db: constant gain of the generated sound.
        original_gain_db: constant gain of the video's own sound, apart from ducking; None without
            it.
        limited_db: by how much the limiter lowers the highest peak; 0 if it is not used.
        report: loudness of the mix.
        warnings: for the user.
    """

    channels: int
    rate_hz: int
    sample_count: int
    generated_gain_db: float
    original_gain_db: float | None
    limited_db: float
    report: LoudnessReport
    warnings: tuple[str, ...]
    _blocks: Callable[[], Blocks] = field(repr=False)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The mix in (channels, n) float32 blocks, `sample_count` samples in total."""
        yield from self._blocks()


def mix_sounds(
    generated: Callable[[], Blocks],
    original: str | Path,
    *,
    mode: MixMode,
    rate_hz: int,
    sample_count: int,
    target_lufs: float | None,
    relative_level_lu: float | None = 0.0,
    stretches: Sequence[tuple[float, float]] = (),
    ducking: Ducking | None = None,
) -> MixedSound:
    """Mix a generated sound with the sound of its video.

    Mono sound is added to both channels of stereo sound with equal gain, so the mix is stereo if
    one of the sounds is. The original is resampled to the rate of the generated sound and cut or
    extended by silence to its length. The true peak stays below -1 dBTP: by the gain if the target
    permits it, else by a limiter (`limited_blocks`) that lowers peaks by at most 20 dB.

    Args:
        generated: called for (1 or 2, n) float32 blocks, several times, for instance
            `result.blocks`.
        original: the video; not read by "replace".
        mode: "replace" gives the generated sound alone, "mix" adds the original, and "duck" lowers
            the original around `stretches`.
        rate_hz, sample_count: of the generated sound and of the mix.
        target_lufs: integrated loudness of the mix; None keeps the level, except for peaks.
        relative_level_lu: loudness of the generated sound above that of the original before
            ducking, both measured in the channels of the mix; None keeps the levels of both.
        stretches: (start, end) in seconds of each cue, for "duck".
        ducking: depth, attack and release; None for the default ones.

    Raises:
        ConfigError: there is no such mode.
        MediaError: the video has no sound, or it can't be decoded.
    """
    if mode not in get_args(MixMode):
        raise ConfigError(
            f"no mode of mixing {mode!r}", hint="use one of " + " ".join(get_args(MixMode))
        )
    layers: list[Callable[[], Blocks]] = [partial(_fitted, generated, sample_count)]
    if mode != "replace":
        if mode == "mix":
            stretches = ()
        layers.append(
            partial(_original_blocks, Path(original), rate_hz=rate_hz, sample_count=sample_count)
        )
    warnings: list[str] = []
    # Bring both sounds to the channels of the mix
    channels = max(_channels_of(layer()) for layer in layers)
    layers = [partial(_with_channels, layer, channels) for layer in layers]
    # Set the level of the generated sound against that of the original
    generated_gain_db = 0.0
    if len(layers) == 2 and relative_level_lu is not None:
        ours_lufs, theirs_lufs = (_integrated_lufs(layer(), rate_hz, channels) for layer in layers)
        if min(ours_lufs, theirs_lufs) < _SILENCE_LUFS:
            silent = "generated" if ours_lufs < _SILENCE_LUFS else "original"
            warnings.append(f"the {silent} sound is silent; the levels of both sounds are kept")
        else:
            generated_gain_db = theirs_lufs + relative_level_lu - ours_lufs
    if len(layers) == 2 and stretches:
        layers[1] = partial(
            _ducked, layers[1], rate_hz=rate_hz, stretches=stretches, ducking=ducking or Ducking()
        )
    # Bring the mix to its target
    mixture = partial(_sum, layers, (_factor(generated_gain_db), 1.0))
    master = _Master.to_target(mixture, rate_hz, target_lufs)
    for text in (*warnings, *master.warnings):
        logger.warning("%s", text)
    return MixedSound(
        channels=channels,
        rate_hz=rate_hz,
        sample_count=sample_count,
        generated_gain_db=generated_gain_db + master.gain_db,
        original_gain_db=master.gain_db if len(layers) == 2 else None,
        limited_db=master.limited_db,
        report=master.report,
        warnings=(*warnings, *master.warnings),
        _blocks=master.blocks,
    )


def check_original(video: str | Path) -> None:
    """Decode the start of the sound of a video.

    Raises:
        MediaError: the video has no sound, or it can't be decoded.
    """
    next(iter(_original_blocks(Path(video), rate_hz=48_000, sample_count=1)))


@dataclass(frozen=True, kw_only=True)
class _Master:
    """Gain and limiter that bring a mixture to its loudness and peak."""

    blocks: Callable[[], Blocks]
    gain_db: float
    limited_db: float
    report: LoudnessReport
    warnings: tuple[str, ...] = ()

    @classmethod
    def to_target(
        cls, mixture: Callable[[], Blocks], rate_hz: int, target_lufs: float | None
    ) -> _Master:
        """Find the gain by measuring; with the limiter, by measuring repeatedly."""
        before = measure_report(mixture(), rate_hz)
        room_db = CEILING_DBTP - before.true_peak_dbtp  # inf for silence
        if target_lufs is None or before.integrated_lufs < _SILENCE_LUFS:
            gain_db = min(0.0, room_db)
            warnings: tuple[str, ...] = ()
            if target_lufs is not None:
                warnings = ("the sound is silent; its loudness is not changed",)
            return cls(
                blocks=partial(_scaled, mixture, gain_db),
                gain_db=gain_db,
                limited_db=0.0,
                report=before.scaled(gain_db),
                warnings=warnings,
            )
        gain_db = target_lufs - before.integrated_lufs
        if gain_db <= room_db:
            return cls(
                blocks=partial(_scaled, mixture, gain_db),
                gain_db=gain_db,
                limited_db=0.0,
                report=before.scaled(gain_db),
            )
        # The limiter lowers the loudness, so raise the gain until the result has the target
        largest_db = room_db + _LARGEST_LIMITING_DB
        raised_db = min(gain_db, largest_db)
        gain_db, loudness = room_db, before.integrated_lufs + room_db
        for _ in range(_LARGEST_TRIES):
            limited = partial(_limited, mixture, raised_db, rate_hz=rate_hz)
            report = measure_report(limited(), rate_hz)
            slope = (report.integrated_lufs - loudness) / (raised_db - gain_db)
            gain_db, loudness = raised_db, report.integrated_lufs
            missing_lu = target_lufs - loudness
            raised_db = min(gain_db + missing_lu / max(slope, _LEAST_SLOPE), largest_db)
            if abs(missing_lu) <= _LOUDNESS_TOLERANCE_LU or raised_db == gain_db:
                break
        # The limiter's margin is enough for nearly all sounds; a small gain is for the others
        trim_db = min(0.0, CEILING_DBTP - report.true_peak_dbtp)
        report = report.scaled(trim_db)
        short_lu = target_lufs - report.integrated_lufs
        warnings = ()
        if abs(short_lu) > _LARGEST_ERROR_LU:
            warnings = (
                f"the loudness is {report.integrated_lufs:.1f} LUFS instead of"
                f" {target_lufs:.1f} LUFS: its peaks can't be lowered by more than"
                f" {_LARGEST_LIMITING_DB:.0f} dB",
            )
        return cls(
            blocks=partial(_scaled, limited, trim_db),
            gain_db=gain_db + trim_db,
            limited_db=gain_db - room_db,
            report=report,
            warnings=warnings,
        )


def _fitted(source: Callable[[], Blocks], sample_count: int) -> Blocks:
    return split_blocks(fit_blocks(source(), sample_count), _BLOCK_SAMPLES)


def _original_blocks(video: Path, *, rate_hz: int, sample_count: int) -> Blocks:
    """The sound of a video from its first shown frame, in blocks of equal length."""
    try:
        waveforms = read_sound_blocks(video, rate_hz=rate_hz, end_s=sample_count / rate_hz)
        blocks = (waveform.samples for waveform in waveforms)
        yield from split_blocks(fit_blocks(blocks, sample_count), _BLOCK_SAMPLES)
    except MediaError as error:
        raise MediaError(
            f"can't mix with the sound of the video: {error}", hint="use the mode replace"
        ) from error


def _channels_of(blocks: Blocks) -> int:
    channels = next(iter(blocks), np.zeros((1, 0))).shape[0]
    if channels not in (1, 2):
        raise ValueError(f"blocks: got {channels} channels, expected 1 or 2")
    return channels


def _with_channels(source: Callable[[], Blocks], channels: int) -> Blocks:
    for block in source():
        yield np.broadcast_to(block, (channels, block.shape[1]))


def _ducked(
    source: Callable[[], Blocks],
    *,
    rate_hz: int,
    stretches: Sequence[tuple[float, float]],
    ducking: Ducking,
) -> Blocks:
    return ducked_blocks(source(), rate_hz, stretches, ducking)


def _sum(layers: Sequence[Callable[[], Blocks]], factors: Sequence[float]) -> Blocks:
    """The sum of sounds whose blocks have equal lengths, each times a factor."""
    for blocks in zip(*(layer() for layer in layers), strict=True):
        total = np.zeros(blocks[0].shape, np.float32)
        for block, factor in zip(blocks, factors, strict=False):
            total += block * np.float32(factor)
        yield total


def _scaled(source: Callable[[], Blocks], gain_db: float) -> Blocks:
    factor = np.float32(_factor(gain_db))
    for block in source():
        yield block * factor


def _limited(source: Callable[[], Blocks], gain_db: float, *, rate_hz: int) -> Blocks:
    ceiling = _factor(CEILING_DBTP - _LIMITER_MARGIN_DB)
    return limited_blocks(_scaled(source, gain_db), rate_hz, ceiling=ceiling)


def _integrated_lufs(blocks: Blocks, rate_hz: int, channels: int) -> float:
    meter = LoudnessMeter(rate_hz, channels)
    for block in blocks:
        meter.add(block)
    return meter.integrated_lufs()


def _factor(gain_db: float) -> float:
    return math.pow(10.0, gain_db / 20.0)
