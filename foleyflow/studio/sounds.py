"""The sounds of a project: the generated one, the video's own, and those of the takes."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.errors import ConfigError, FoleyflowError
from foleyflow.inference.changes import library_samples
from foleyflow.inference.result import Generated
from foleyflow.media import fit_blocks, read_sound_blocks
from foleyflow.media.waveform import split_blocks
from foleyflow.studio.live_sound import BLOCK_SAMPLES, interleaved
from foleyflow.studio.peaks import Peaks
from foleyflow.studio.problems import NotFound, NotNow
from foleyflow.studio.project import Project
from foleyflow.studio.studio import RATE_HZ, Studio
from foleyflow.studio.takes import channels_of_take, take_file

logger = logging.getLogger(__name__)

GENERATED, LIBRARY, ORIGINAL, TAKE = "generated", "library", "original", "take:"
KEPT_PEAKS = 64
LONGEST_WAIT_S = 30.0  # for the peaks of a sound that is read for the first time
_IEEE_FLOAT = 3  # in the header of a wave file


class Sound:
    """One sound of a project.

    Attributes:
        count: of samples in each channel.
        channels: 1 or 2; the video's own sound is mixed down to one.
        revision: of the generated sound; None for others.

    Raises:
        NotFound: there is no such take, or the video has no sound.
        NotNow: the sound is not generated yet.
        ConfigError: the source is unknown.
    """

    def __init__(self, studio: Studio, project: Project, source: str) -> None:
        self.project, self.source = project, source
        self.channels = 1
        self.revision: int | None = None
        self._file: Path | None = None
        self._result: Generated | None = None
        if source == GENERATED:
            self.count, self.revision = project.live.count, project.sound_revision
            self.channels = project.live.channels
            if not self.count or self.revision is None:
                raise NotNow("the sound is not generated yet", hint="wait for it")
            return
        self.count = count_at(project.duration_s, RATE_HZ)
        if source == LIBRARY:
            self._result = studio.engine.kept(project.id, project.live.node)
            if self._result is None:
                raise NotNow("the project is being opened", hint="try again in a few seconds")
            self.channels = self._result.channels
            return
        if source == ORIGINAL:
            if not project.get("video")["has_audio"]:
                raise NotFound("the video has no sound of its own", hint="use another source")
            self._file = project.video
        elif source.startswith(TAKE):
            name = source.removeprefix(TAKE)
            self._file, self.channels = take_file(project, name), channels_of_take(project, name)
        else:
            raise ConfigError(
                "source: there is no such sound",
                hint="expected generated, library, original or take:ID",
            )

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
        """The samples from `start` to before `stop` in blocks (channels, n)."""
        stop = self.count if stop is None else min(stop, self.count)
        start = min(max(start, 0), max(stop, 0))
        if self._result is not None:
            for first in range(start, stop, BLOCK_SAMPLES):
                yield library_samples(self._result, first, min(first + BLOCK_SAMPLES, stop))
            return
        if self._file is None:
            for block in self.project.live.blocks(start, stop):
                yield with_channels(block, self.channels)  # they may change while it is read
            return
        blocks = _file_blocks(self._file, start, stop, channels=self.channels)
        for block in split_blocks(fit_blocks(blocks, stop - start), BLOCK_SAMPLES):
            yield with_channels(block, self.channels)

    def samples(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples (n,) from `start` to before `stop`, mixed down; zeros beyond the ends."""
        blocks = [with_channels(block, 1)[0] for block in self.blocks(start, stop)]
        inside = np.concatenate([np.zeros(0, np.float32), *blocks])
        return np.pad(inside, (max(-start, 0), 0))[: stop - start]


class PeakCache:
    """Peaks of the sounds that edits do not change; each is read once."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Peaks] = {}

    def peaks(self, sound: Sound) -> Peaks:
        """The peaks of a sound.

        Raises:
            NotNow: a long sound is still being read.
        """
        project = sound.project
        if sound.source == GENERATED:
            return project.live.peaks
        if sound.source == LIBRARY:  # edits change it
            return peaks_of(sound)
        key = project.id, sound.source
        with self._lock:
            if key in self._known:
                return self._known[key]
        path = project.folder / "cache" / f"peaks-{sound.source.replace(':', '-')}.i16"
        found = Peaks.read(path, sound.count, channels=sound.channels)
        if found is None:
            job = self._studio.start(
                project,
                "media",
                f"peaks {sound.source}",
                lambda job: self._read(sound, path),
                is_shown=False,
            )
            job.finished.wait(LONGEST_WAIT_S)
            if job.problem is not None:
                raise job.problem
            found = job.result
        if not isinstance(found, Peaks):
            raise NotNow("the sound is still being read", hint="try again in a few seconds")
        with self._lock:
            self._known[key] = found
            while len(self._known) > KEPT_PEAKS:
                del self._known[next(iter(self._known))]
        return found

    @staticmethod
    def _read(sound: Sound, path: Path) -> Peaks:
        if (
            known := Peaks.read(path, sound.count, channels=sound.channels)
        ) is not None:  # by the job before
            return known
        peaks = peaks_of(sound)
        peaks.write(path)
        return peaks


def peaks_of(sound: Sound) -> Peaks:
    """The peaks of a complete sound."""
    peaks = Peaks(sound.channels)
    for index, block in enumerate(sound.blocks()):
        peaks.update(index * BLOCK_SAMPLES, block)
    return peaks


def with_channels(block: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Samples (C, n) with another number of channels: their mean, or copies of the first one."""
    if block.shape[0] == channels:
        return block
    if channels == 1:
        return block.mean(axis=0, keepdims=True, dtype=np.float32)
    return np.repeat(block[:1], channels, axis=0)


def _file_blocks(
    file: Path, start: int, stop: int, *, channels: int
) -> Iterator[NDArray[np.float32]]:
    """The sound of a file in blocks (channels, n); it ends where it can't be decoded further.

    Raises:
        MediaError: nothing can be decoded.
    """
    is_first = True
    try:
        for block in read_sound_blocks(
            file, rate_hz=RATE_HZ, start_s=start / RATE_HZ, end_s=stop / RATE_HZ
        ):
            yield with_channels(block.samples, channels)
            is_first = False
    except FoleyflowError as error:
        if is_first:
            raise
        logger.debug("the sound ends early: %s", error)


def encoded(block: NDArray[np.float32], form: str) -> bytes:
    """Samples (channels, n), alternating, as little-endian bytes: "i16", else float32."""
    if form == "i16":
        return np.round(np.clip(block.T, -1.0, 1.0) * 32767).astype("<i2").tobytes()
    return interleaved(block).tobytes()


def wave_header(count: int, *, channels: int, rate_hz: int = RATE_HZ) -> bytes:
    """The header of a wave file with `count` float32 samples in each channel."""
    frame = 4 * channels
    size = count * frame
    form = struct.pack(
        "<4sIHHIIHHH",
        b"fmt ",
        18,
        _IEEE_FLOAT,
        channels,
        rate_hz,
        rate_hz * frame,
        frame,
        32,
        0,
    )
    fact = struct.pack("<4sII", b"fact", 4, count)
    body = 4 + len(form) + len(fact) + 8 + size
    return b"".join(
        [
            struct.pack("<4sI4s", b"RIFF", min(body, 0xFFFFFFFF), b"WAVE"),
            form,
            fact,
            struct.pack("<4sI", b"data", min(size, 0xFFFFFFFF)),
        ]
    )
