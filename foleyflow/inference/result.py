"""The result of a generation: sound, events, settings and timings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.inference.sound_spool import SoundSpool
from foleyflow.media import MediaInfo, fit_blocks, mux, write_wav
from foleyflow.signals import Event, Waveform


@dataclass(kw_only=True, eq=False)
class Generated:
    """The sound that `FoleyFlow.generate` generated for a video.

    Attributes:
        info: the video.
        sample_rate_hz: of the sound.
        sample_count: length of the sound: that of the video, rounded to the sample.
        events: found in the video and audible in the sound, in order of time.
        material_guess: the most likely struck material and its probability, from the clip's first
            minute; None if the model knows no materials.
        settings: seed, steps, guidance, material, loudness, model, precision and threads.
        timings_s: seconds in each part, and the elapsed time as "total". Parts overlap, so their
            sum may exceed it. `save` adds "mux".
        warnings: for the user; `save` adds what the format of the output can't hold.
    """

    info: MediaInfo
    sample_rate_hz: int
    sample_count: int
    events: tuple[Event, ...]
    material_guess: tuple[str, float] | None
    settings: dict[str, object]
    timings_s: dict[str, float]
    warnings: list[str]
    _spool: SoundSpool = field(repr=False)
    _gain: float = field(repr=False)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The sound in (1, n) float32 blocks, `sample_count` samples in total."""
        return fit_blocks(self._spool.blocks(self._gain), self.sample_count)

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The sound, (sample_count,) float32, mono, in [-1, 1]."""
        return np.concatenate([block[0] for block in self.blocks()])

    def as_waveform(self) -> Waveform:
        """The sound as a `Waveform`."""
        return Waveform(samples=self.waveform[None], rate_hz=self.sample_rate_hz)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the video with the sound, or only the sound if the name ends in .wav.

        Raises:
            MediaError: the output exists or can't be written.
        """
        path = Path(path)
        start_s = time.perf_counter()
        if path.suffix.lower() == ".wav":
            write_wav(path, self.blocks(), self.sample_rate_hz, overwrite=overwrite)
        else:
            losses = mux(
                self.info.path,
                path,
                self.blocks(),
                rate_hz=self.sample_rate_hz,
                n_samples=self.sample_count,
                overwrite=overwrite,
                info=self.info,
            )
            self.warnings.extend(losses)
        self.timings_s["mux"] = time.perf_counter() - start_s
        self.timings_s["total"] = self.timings_s.get("total", 0.0) + self.timings_s["mux"]
        return path
