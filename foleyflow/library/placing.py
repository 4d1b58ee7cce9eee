"""Place the sounds of a library on cues: one mono sound of the length of the clip.

The onset of a file is on the sample of its cue's time, and its gain gives the level of the cue: the
peak level of a hit, the RMS level of a roll or scrape, as in the training of the model.
"""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.cues.cue import KINDS, Cue
from foleyflow.cues.tracks import levels_or_assumed_db
from foleyflow.errors import DataError
from foleyflow.library.layers import Layers
from foleyflow.library.measuring import read_sound
from foleyflow.library.planned_sound import PlacedSound, PlannedSound, latest_end
from foleyflow.library.sound_library import SoundFile, SoundLibrary

PITCH_SEMITONES = 0.5  # largest variation, upwards and downwards
GAIN_DB = 1.0  # largest variation, upwards and downwards

_KEPT_FILES = 32  # decoded files in memory
_BLOCK_SAMPLES = 48_000


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a sound of a library was placed.

    Attributes:
        cue_index: index of the cue among those that were given.
        file: path below the library's folder.
        sha256: of the content of the file.
        gain_db: of the samples of the file; of a roll or scrape, the highest one.
        rate_factor: speed of the file; above 1 it is shorter and higher.
        start_sample: of the file's onset in the result.
    """

    cue_index: int
    file: str
    sha256: str
    gain_db: float
    rate_factor: float
    start_sample: int


@dataclass(frozen=True, kw_only=True)
class _Variation:
    """Random variation of one cue: the choice within a layer in [0, 1), pitch and gain."""

    choice: float | None = None
    semitones: float = 0.0
    gain_db: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PlacedSounds:
    """The sounds of a library for the cues of a clip, computed whenever blocks are read.

    Attributes:
        library: of the sounds.
        rate_hz, duration_s: of the clip.
        seed, vary: of the random variation.
        sounds: in order of time.
    """

    library: SoundLibrary
    rate_hz: int
    duration_s: float
    seed: int
    vary: bool
    sounds: tuple[PlannedSound, ...]
    _gains_db: dict[PlannedSound, float] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def plan(
        cls,
        cues: Sequence[Cue],
        library: SoundLibrary,
        *,
        duration_s: float,
        rate_hz: int,
        seed: int,
        vary: bool = True,
    ) -> PlacedSounds:
        """Choose a file for each cue that a library covers; arguments as in `place`."""
        sample_count = count_at(duration_s, rate_hz)
        sounds = []
        layers_of = functools.cache(lambda material, kind: Layers(library.sounds(material, kind)))
        for index in sorted(range(len(cues)), key=lambda index: cues[index].time_s):
            cue = cues[index]
            start = count_at(cue.time_s, rate_hz)
            if not library.covers(cue) or start >= sample_count:
                continue
            # Choose a file
            variation = _variation(cue, seed) if vary else _Variation()
            levels_db = levels_or_assumed_db(cue)
            layers = layers_of(cue.material, cue.kind)
            sound = layers.choose(max(levels_db), variation.choice)
            # Where its sound ends
            played_rate_hz = round(sound.measures.rate_hz * 2 ** (variation.semitones / 12))
            if cue.kind == "hit":
                end = latest_end(sound, start, played_rate_hz=played_rate_hz, rate_hz=rate_hz)
            else:
                end = max(count_at(cue.end_s or 0.0, rate_hz), start)
            sounds.append(
                PlannedSound(
                    cue_index=index,
                    sound=sound,
                    levels_db=levels_db,
                    played_rate_hz=played_rate_hz,
                    variation_db=variation.gain_db,
                    start_sample=start,
                    end_sample=min(end, sample_count),
                )
            )
        return cls(
            library=library,
            rate_hz=rate_hz,
            duration_s=duration_s,
            seed=seed,
            vary=vary,
            sounds=tuple(sounds),
        )

    def with_cues(self, cues: Sequence[Cue]) -> PlacedSounds:
        """The plan for other cues of the clip, with the same library and settings."""
        return self.plan(
            cues,
            self.library,
            duration_s=self.duration_s,
            rate_hz=self.rate_hz,
            seed=self.seed,
            vary=self.vary,
        )

    @property
    def sample_count(self) -> int:
        """Length of the clip."""
        return count_at(self.duration_s, self.rate_hz)

    @property
    def placements(self) -> list[Placement]:
        """Where the sounds are, in order of time."""
        unknown = [planned for planned in self.sounds if planned not in self._gains_db]
        for planned in unknown:
            self._placed(planned, functools.partial(_from_onset, self.library))
        return [
            Placement(
                cue_index=planned.cue_index,
                file=planned.sound.file,
                sha256=planned.sound.sha256,
                gain_db=self._gains_db[planned],
                rate_factor=planned.rate_factor,
                start_sample=planned.start_sample,
            )
            for planned in self.sounds
        ]

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Samples from `first` to before `last`, by default all, in (n,) float32 blocks.

        Only the sounds of one block are in memory.

        Raises:
            MediaError: a file can't be read any more.
            DataError: a file changed since the library was opened.
        """
        last = self.sample_count if last is None else min(last, self.sample_count)
        read = functools.lru_cache(_KEPT_FILES)(functools.partial(_from_onset, self.library))
        pending = deque(s for s in self.sounds if s.end_sample > first and s.start_sample < last)
        sounding: list[PlacedSound] = []
        for position in range(first, last, _BLOCK_SAMPLES):
            block = np.zeros(min(_BLOCK_SAMPLES, last - position), np.float32)
            end = position + len(block)
            while pending and pending[0].start_sample < end:
                sounding.append(self._placed(pending.popleft(), read))
            for sound in sounding:
                sound.add_to(block, position)
            yield block
            sounding = [sound for sound in sounding if sound.planned.end_sample > end]

    def samples(self, first: int, last: int) -> NDArray[np.float32]:
        """Samples from `first` to before `last`, (last - first,), zeros after the clip."""
        read = np.concatenate([np.zeros(0, np.float32), *self.blocks(first, last)])
        return np.pad(read, (0, last - first - len(read)))

    def changed_samples(self, other: PlacedSounds) -> list[tuple[int, int]]:
        """Stretches (start, end) of samples in which two plans for a clip differ, in order."""
        stretches: list[tuple[int, int]] = []
        ours, theirs = Counter(self.sounds), Counter(other.sounds)
        differing = (ours - theirs) + (theirs - ours)
        for start, end in sorted((s.start_sample, s.end_sample) for s in differing):
            if stretches and start <= stretches[-1][1]:
                last_start, last_end = stretches.pop()
                start, end = last_start, max(last_end, end)
            stretches.append((start, end))
        return stretches

    def _placed(
        self, planned: PlannedSound, read: Callable[[SoundFile], NDArray[np.float32]]
    ) -> PlacedSound:
        placed = PlacedSound(planned, read(planned.sound), rate_hz=self.rate_hz)
        self._gains_db[planned] = placed.gain_db
        return placed


def place(
    cues: Sequence[Cue],
    library: SoundLibrary,
    *,
    duration_s: float,
    rate_hz: int,
    seed: int,
    vary: bool = True,
) -> tuple[NDArray[np.float32], list[Placement]]:
    """The sounds of a library for the cues that it covers; other cues make no sound.

    Louder cues take louder recordings. Two cues of a material and kind in a row take different
    files if there are two. A cue without a level has that of `levels_or_assumed_db`.

    Args:
        cues: in any order, for instance a `CueSheet`.
        library: of the sounds.
        duration_s, rate_hz: of the result.
        seed: of the variation of cues without a seed of their own.
        vary: choose among similar recordings, and vary pitch and gain by at most `PITCH_SEMITONES`
            and `GAIN_DB`. Without variation, a hit has the samples of its file times the gain.

    Returns:
        (N,) float32 sound, and the placements in order of time.

    Raises:
        MediaError: a file can't be read any more.
        DataError: a file changed since the library was opened.
    """
    sounds = PlacedSounds.plan(
        cues, library, duration_s=duration_s, rate_hz=rate_hz, seed=seed, vary=vary
    )
    stem = np.concatenate([np.zeros(0, np.float32), *sounds.blocks()])
    return stem, sounds.placements


def _variation(cue: Cue, seed: int) -> _Variation:
    """The variation by the cue's own seed, else by `seed` and the cue's time and kind.

    It does not depend on other cues, so an edit of one keeps the sounds of the others.
    """
    own = (seed, round(abs(cue.time_s) * 1e6), KINDS.index(cue.kind))
    rng = np.random.default_rng(own if cue.seed is None else cue.seed)
    return _Variation(
        choice=float(rng.random()),
        semitones=float(rng.uniform(-PITCH_SEMITONES, PITCH_SEMITONES)),
        gain_db=float(rng.uniform(-GAIN_DB, GAIN_DB)),
    )


def _from_onset(library: SoundLibrary, sound: SoundFile) -> NDArray[np.float32]:
    """The samples of a file from its onset on, (N,), at its own rate."""
    path = library.folder / sound.file
    waveform = read_sound(path)
    measures = sound.measures
    shape = (waveform.rate_hz, waveform.samples.shape[1])
    samples = waveform.mono()[measures.onset_sample :]
    if shape != (measures.rate_hz, measures.sample_count) or not samples.any():
        raise DataError(
            f"{path}: the file changed since the library was opened", hint="open it again"
        )
    return samples
