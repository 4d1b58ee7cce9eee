"""Write sound files for delivery: wave with 16 or 24 bits, Broadcast Wave, and FLAC."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import av
import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import ConfigError, MediaError
from foleyflow.media.output_file import check_output, written_atomically
from foleyflow.media.wave_chunks import BroadcastInfo, broadcast_chunk, marker_chunks
from foleyflow.media.wave_file import WaveWriter
from foleyflow.media.waveform import split_blocks
from foleyflow.signals import Marker

SoundFormat = Literal["wav16", "wav24", "flac", "bwf"]

_FLAC_BLOCK_SAMPLES = 4096
_DITHER_SEED = 0


@dataclass(frozen=True, kw_only=True)
class _Traits:
    """How a format stores a sound; the first suffix is its usual one."""

    bits: int
    suffixes: tuple[str, ...]
    is_dithered: bool = False


_TRAITS: dict[SoundFormat, _Traits] = {
    "wav16": _Traits(bits=16, suffixes=(".wav",), is_dithered=True),
    "wav24": _Traits(bits=24, suffixes=(".wav",)),
    "flac": _Traits(bits=24, suffixes=(".flac",)),
    "bwf": _Traits(bits=24, suffixes=(".wav", ".bwf")),
}


def sound_suffix(format: SoundFormat) -> str:
    """Return the usual suffix of a format, with its dot.

    Raises:
        ConfigError: there is no such format.
    """
    return _traits_of(format).suffixes[0]


def write_sound(
    path: str | Path,
    blocks: Iterable[NDArray[np.float32]],
    rate_hz: int,
    *,
    format: SoundFormat = "wav24",
    broadcast: BroadcastInfo | None = None,
    markers: Sequence[Marker] = (),
    dither: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write (channels, n) float32 blocks as a sound file, and return its path.

    Values outside -1..1 are clipped. The bytes depend on the arguments alone, not on the size of
    the blocks. Wave files beyond 4 GiB become RF64. FLAC holds at least 1 sample.

    Args:
        path: where to write; its suffix must fit the format.
        blocks: the sound, full scale at -1..1.
        rate_hz: of the sound.
        format: "wav16", "wav24", "bwf" (Broadcast Wave with 24 bits) or "flac" (24 bits).
        broadcast: description for "bwf"; None for the default one.
        markers: stored in wave files as cue points with labels.
        dither: add triangular noise of one step (TPDF) before rounding to 16 bits; it is the same
            in every run. Other formats have no dither.
        overwrite: replace an existing file.

    Raises:
        ConfigError: there is no such format, or it can't hold the description or the markers.
        MediaError: the file can't be written.
    """
    path = Path(path)
    traits = _traits_of(format)
    if broadcast is not None and format != "bwf":
        raise ConfigError(
            f"format {format!r} has no broadcast description", hint="use the format bwf"
        )
    if markers and format == "flac":
        raise ConfigError(
            "format 'flac' has no markers", hint="use wav24 or bwf, or write the markers as a file"
        )
    if path.suffix.lower() not in traits.suffixes:
        raise MediaError(
            f"{path}: the suffix does not fit the format {format}",
            hint="use a name with " + " or ".join(traits.suffixes),
        )
    check_output(path, overwrite=overwrite)
    blocks = iter(blocks)
    first = next(blocks, np.zeros((1, 0), np.float32))
    sound = itertools.chain([first], blocks)
    with written_atomically(path, overwrite=overwrite) as draft:
        if format == "flac":
            _write_flac(draft, sound, rate_hz, channels=first.shape[0])
            return path
        channels, bits = first.shape[0], traits.bits
        chunks = []
        if format == "bwf":
            info = broadcast or BroadcastInfo()
            chunks = [broadcast_chunk(info, rate_hz=rate_hz, bits=bits, channels=channels)]
        noise = np.random.default_rng(_DITHER_SEED) if dither and traits.is_dithered else None
        with open(draft, "wb") as file:
            writer = WaveWriter(file, channels=channels, rate_hz=rate_hz, bits=bits, chunks=chunks)
            for block in sound:
                writer.write(integer_levels(block, bits, noise=noise))
            writer.finish(marker_chunks(markers, rate_hz))
    return path


def write_wav(
    path: str | Path,
    blocks: Iterable[NDArray[np.float32]],
    rate_hz: int,
    *,
    overwrite: bool = False,
) -> Path:
    """Write (channels, n) float32 blocks as PCM wav with 24 bits, and return the path.

    Values outside -1..1 are clipped.

    Raises:
        MediaError: the file can't be written.
    """
    return write_sound(path, blocks, rate_hz, overwrite=overwrite)


def integer_levels(
    block: NDArray[np.float32], bits: int, *, noise: np.random.Generator | None = None
) -> NDArray[np.int32]:
    """Round (channels, n) samples to integers of some bits, with triangular dither from `noise`.

    Values outside -1..1 are clipped.
    """
    full_scale = 2.0 ** (bits - 1)
    scaled = block.astype(np.float64) * full_scale
    if noise is not None:
        # In the order of time, so that the noise does not depend on the size of the blocks
        uniform = noise.random((block.shape[1], block.shape[0], 2))
        scaled += (uniform[..., 0] - uniform[..., 1]).T
    return np.clip(np.rint(scaled), -full_scale, full_scale - 1.0).astype(np.int32)


def _write_flac(
    draft: Path, blocks: Iterable[NDArray[np.float32]], rate_hz: int, *, channels: int
) -> None:
    layout = {1: "mono", 2: "stereo"}[channels]
    flags = {"fflags": "+bitexact"}  # no name of the encoding program in the file
    with av.open(f"file:{draft}", "w", format="flac", options=flags) as sink:
        stream = sink.add_stream("flac", rate=rate_hz)
        stream.codec_context.layout = layout
        stream.codec_context.format = "s32"  # of which FLAC keeps the upper 24 bits
        stream.time_base = Fraction(1, rate_hz)
        position = 0
        for block in split_blocks(blocks, stream.frame_size or _FLAC_BLOCK_SAMPLES):
            levels = integer_levels(block, 24) << 8
            packed = np.ascontiguousarray(levels.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s32", layout=layout)
            frame.sample_rate = rate_hz
            frame.time_base = Fraction(1, rate_hz)
            frame.pts = position
            position += block.shape[1]
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))


def _traits_of(format: SoundFormat) -> _Traits:
    if format not in _TRAITS:
        names = " ".join(get_args(SoundFormat))
        raise ConfigError(f"no sound format {format!r}", hint=f"use one of {names}")
    return _TRAITS[format]
