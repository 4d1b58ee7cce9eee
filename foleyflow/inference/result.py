"""The result of a generation: sound, cues, settings and timings; and edits of its cues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.delivery import DeliveredSound, Delivery, deliver
from foleyflow.inference.stems import Stem, StemKind
from foleyflow.inference.takes import Take, blocks_of, stereo_blocks_of
from foleyflow.library import Placement
from foleyflow.media import MediaInfo, fit_blocks
from foleyflow.signals import Waveform

if TYPE_CHECKING:
    from foleyflow.inference.pipeline import FoleyFlow


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change of a result, so that the result can be made again.

    Attributes:
        cues_before: cues of the sound before the edit.
        start_s, end_s, seed: of a stretch that was generated again; None if only cues changed.
        stereo: whether the sound became stereo or mono; None if its channels are those before.
    """

    cues_before: CueSheet
    start_s: float | None = None
    end_s: float | None = None
    seed: int | None = None
    stereo: bool | None = None


def cues_after(edits: Sequence[Edit], last: CueSheet) -> list[CueSheet]:
    """The cues after each edit; `last` are those of the result."""
    return [*(edit.cues_before for edit in edits[1:]), last] if edits else []


@dataclass(kw_only=True, eq=False)
class Generated:
    """The sound that `FoleyFlow.generate` generated for a video.

    Attributes:
        info: the video.
        sample_rate_hz: of the sound.
        sample_count: length of the sound: that of the video, rounded to the sample.
        cues: the cues of the sound; disabled ones are uncertain or switched off.
        settings: seed, steps, guidance, material, loudness, stereo, model, device, precision and
            threads.
        timings_s: seconds in each part, and the elapsed time as "total". Parts overlap, so their
            sum may exceed it. `save` adds "mux".
        warnings: for the user; `save` adds those of the mix, and what the format of the output
            can't hold.
        delivered: the sound that the last `save` has written; None before.
    """

    info: MediaInfo
    sample_rate_hz: int
    sample_count: int
    cues: CueSheet
    settings: dict[str, object]
    timings_s: dict[str, float]
    warnings: list[str]
    delivered: DeliveredSound | None = field(default=None, init=False, repr=False)
    _take: Take = field(repr=False)
    _model: FoleyFlow = field(repr=False)
    # Of a result that was stored, edits before that are made when they are needed
    _stored_edits: Callable[[], tuple[Edit, ...]] = field(default=tuple, repr=False)
    _edits: tuple[Edit, ...] = field(default=(), repr=False)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits of the sound since it was generated, in their order."""
        return (*self._stored_edits(), *self._edits)

    def rerender(self, cues: CueSheet) -> Generated:
        """The sound for edited cues; only the stretches that the edits touch are generated again.

        A stretch lasts from 50 ms before a changed cue to the end of its ring. All samples outside
        are bit-identical, and the gain stays the same.

            edited = result.rerender(result.cues.replace(3, material="glass"))

        Raises:
            ConfigError: a cue is outside the clip, or the model does not know its material.
        """
        from foleyflow.inference.editing import rerender

        return rerender(self, cues)

    def regenerate(
        self,
        start_s: float,
        end_s: float,
        *,
        seed: int | None = None,
        cues: CueSheet | None = None,
    ) -> Generated:
        """The sound with one stretch generated again, by another seed.

        All samples before `start_s` and from `end_s` on are bit-identical, and the gain stays the
        same. The new sound fades in and out within 10 ms at the ends of the stretch.

            better = result.regenerate(2.0, 4.0)

        Args:
            start_s, end_s: seconds from the start of the clip, 0.05 s to 300 s apart.
            seed: of the stretch; None for one that this result has not used yet. Cues with a seed
                of their own keep it.
            cues: of the result; they may differ within the stretch. None keeps them.

        Raises:
            ConfigError: the stretch is not within the clip, cues outside it differ, the seed is
                negative, or the model does not know a material.
        """
        from foleyflow.inference.editing import regenerate

        return regenerate(self, start_s, end_s, seed=seed, cues=cues)

    def with_stereo(
        self, stereo: bool, *, progress: Callable[[float], None] | None = None
    ) -> Generated:
        """The same sound in stereo, with each cue at its place, or in mono.

        Nothing is generated again: the mono samples before the panning are the same.

        Args:
            stereo: whether the sound has two channels.
            progress: called with the seconds of sound that are panned.

        Raises:
            ConfigError: the model takes no cues.
        """
        from foleyflow.inference.editing import with_stereo

        return with_stereo(self, stereo, progress=progress)

    def stems(self, by: StemKind = "material") -> list[Stem]:
        """The sound in parts, whose sum is the sound: one for each material, or for each cue.

        Stems by cue begin a little before their cue; see `Stem.start_sample`. There is none if no
        cue is enabled.

        Raises:
            ConfigError: `by` is neither "material" nor "cue", or the model takes no cues.
        """
        from foleyflow.inference.editing import stems_of

        return stems_of(self, by)

    def display_report(self) -> None:
        """Shows the result in a notebook: player, pictures of the video, cues and spectrogram.

        The last value of a cell is shown without it, but then without pictures of the video. The
        page contains all data, refers to no other host, and plays the first 30 s.

        Raises:
            MissingExtra: IPython is not installed.
            MediaError: the video can't be read any more.
        """
        from foleyflow.inference.notebook import display_html, result_html

        display_html(result_html(self, with_pictures=True))

    def _repr_html_(self) -> str:
        """What a notebook shows for the result; see `display_report`."""
        from foleyflow.inference.notebook import result_html

        return result_html(self, with_pictures=False)

    @property
    def channels(self) -> int:
        """Channels of the sound: 1, or 2 if it was generated with `stereo`."""
        return 1 if self._take.panned is None else 2

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The sound in (channels, n) float32 blocks, `sample_count` samples in total."""
        if self.channels == 1:
            return self.mono_blocks()
        return fit_blocks(stereo_blocks_of(self._take), self.sample_count)

    def mono_blocks(self) -> Iterator[NDArray[np.float32]]:
        """The sound before its cues are panned, in (1, n) float32 blocks."""
        return fit_blocks(blocks_of(self._take), self.sample_count)

    def place(self, start_s: float, end_s: float | None = None) -> float | None:
        """The place in the picture where something moves, -1..1, as the pan of cues without one.

        None where no motion is clear. See `motion.ColumnMotion.pan`.
        """
        return self._take.analysis.motion.pan(start_s, end_s)

    @property
    def placements(self) -> list[Placement]:
        """The sounds of the library and their places, in order of time; none without a library."""
        return [] if self._take.placed is None else self._take.placed.placements

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The sound, (sample_count,) float32 in [-1, 1]; of stereo sound (2, sample_count)."""
        samples = np.concatenate(list(self.blocks()), axis=1)
        return samples[0] if self.channels == 1 else samples

    def as_waveform(self) -> Waveform:
        """The sound as a `Waveform`."""
        samples = self.waveform.reshape(self.channels, -1)
        return Waveform(samples=samples, rate_hz=self.sample_rate_hz)

    def save(
        self, path: str | Path, *, overwrite: bool = False, delivery: Delivery | None = None
    ) -> Path:
        """Writes the video with the sound, or only the sound if the name ends in .wav or .flac.

            result.save("clip.foley.mp4", delivery=Delivery(mix="duck", keep_original=True))

        Args:
            path: a video, or a sound file with the suffix .wav, .bwf or .flac.
            overwrite: replace an existing output.
            delivery: mixing with the video's own sound, and formats; None for the generated sound
                alone. A mix has the loudness that the result was generated with as its target.

        Raises:
            MediaError: the output exists or can't be written, the video's own sound can't be
                decoded or kept, or a video is to be written for frames without a file.
        """
        path = Path(path)
        start_s = time.perf_counter()
        sound = deliver(
            self.blocks,
            self.info,
            self.cues,
            delivery or Delivery(),
            rate_hz=self.sample_rate_hz,
            sample_count=self.sample_count,
            target_lufs=cast(float | None, self.settings["loudness_lufs"]),
        )
        self.warnings.extend(sound.warnings)
        self.warnings.extend(sound.save(path, overwrite=overwrite))
        self.delivered = sound
        self.timings_s["mux"] = time.perf_counter() - start_s
        self.timings_s["total"] = self.timings_s.get("total", 0.0) + self.timings_s["mux"]
        return path
