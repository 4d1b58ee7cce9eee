"""The sounds of a folder of sound files or videos, cut into pieces, as a memory-mapped array."""

from __future__ import annotations

import functools
import hashlib
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.data.clip_types import MANIFEST_NAME
from foleyflow.errors import DataError, MediaError
from foleyflow.features.store import Arrays, open_store, store_folder
from foleyflow.media.waveform import read_sound_blocks
from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.signals import INT16_FULL_SCALE

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    ".aac .aif .aiff .avi .caf .flac .m4a .mkv .mov .mp3 .mp4 .oga .ogg .opus .wav .webm".split()
)
HELD_OUT_OF = 20  # one file of this many is for validation
SHORTEST_PIECE = 0.5  # of the length of a piece; the rest of a shorter one is zeros


def is_plain_folder(data: Path) -> bool:
    """Whether this is a folder without the manifest of a data set."""
    return data.is_dir() and not (data / MANIFEST_NAME).exists()


def folder_sounds(
    data: Path,
    split: str,
    *,
    rate_hz: int,
    piece_s: float,
    parallel_map: ParallelMap | None = None,
) -> NDArray[np.int16]:
    """Pieces of the sounds in a folder and its subfolders, cached in it like those of clips.

    A file belongs to "validation" if the hash of its path says so (one in twenty), else to "train".
    Stereo sounds are mixed to mono. Files that cannot be decoded are left out with a warning. The
    end of a file is a piece if it is at least half as long, or the file's only one.

    Returns:
        (pieces, samples) int16, full scale at 32767.

    Raises:
        DataError: there are no sounds of this split.
    """
    files = [file for file in _sound_files(data) if _split_of(file, data) == split]
    if not files:
        raise DataError(
            f"{data}: no sounds for {split!r} in this folder and its subfolders",
            hint=f"expected a data set, or at least {HELD_OUT_OF} files such as .wav, .flac, .mp4",
        )
    listed = [(file.relative_to(data).as_posix(), file.stat().st_size) for file in files]
    sounds: NDArray[np.int16] = open_store(
        store_folder(data, f"sounds-{split}-{rate_hz}", piece_s, listed),
        functools.partial(_pieces, rate_hz, count_at(piece_s, rate_hz)),
        files,
        parallel_map=parallel_map,
    )["sounds"]
    if not len(sounds):
        raise DataError(f"{data}: none of {len(files)} files of {split!r} has sound")
    return sounds


def _sound_files(data: Path) -> list[Path]:
    """All files with the suffix of a sound or a video, sorted; none in hidden folders."""
    return [
        path
        for path in sorted(data.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(data).parts)
        and path.is_file()
    ]


def _split_of(file: Path, data: Path) -> str:
    digest = hashlib.sha256(file.relative_to(data).as_posix().encode()).digest()
    return "validation" if digest[0] % HELD_OUT_OF == 0 else "train"


def _pieces(rate_hz: int, length: int, path: Path) -> Arrays:
    """Consecutive pieces of a file, (pieces, length) int16; none if it cannot be decoded."""
    try:
        blocks = [
            np.round(np.clip(block.mono(), -1.0, 1.0) * INT16_FULL_SCALE).astype(np.int16)
            for block in read_sound_blocks(path, rate_hz=rate_hz)
        ]
    except MediaError as error:
        log.warning("left out: %s", error)
        return {"sounds": np.zeros((0, length), np.int16)}
    sound = np.concatenate([np.zeros(0, np.int16), *blocks])
    count, rest = divmod(len(sound), length)
    if rest >= SHORTEST_PIECE * length or (rest and not count):
        count += 1
        sound = np.pad(sound, (0, length - rest))
    return {"sounds": sound[: count * length].reshape(count, length)}
