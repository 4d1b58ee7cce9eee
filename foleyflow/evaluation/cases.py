"""What is scored: a clip with its files, and the sounds that stand in its rows.

A sound is read or made when it is first needed, and analysed once for all metrics that look at it
in the same way. What is compared with what is `scoring.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from foleyflow.evaluation import controls
from foleyflow.evaluation.metrics.synchrony import ClipOnsets
from foleyflow.evaluation.scores import ROWS
from foleyflow.signals import Waveform


@dataclass(frozen=True, kw_only=True)
class Case:
    """One clip to score.

    Attributes:
        name: of the clip.
        generated: file of the sound to judge.
        true_sound: file of the true sound, if there is one.
        events: the true events, if they are known.
        onsets: file -> onsets found in it, as far as they are known already.
        video: file that holds the picture, if there is one.
    """

    name: str
    generated: Path
    true_sound: Path | None = None
    events: ClipOnsets | None = None
    onsets: Mapping[Path, ClipOnsets] = field(default_factory=dict)
    video: Path | None = None


class Sound:
    """A sound that is read or made when it is first needed, and analysed once per family.

    Attributes:
        identity: equal for equal content; for the cache.
    """

    def __init__(
        self,
        identity: str,
        make: Callable[[], Waveform],
        analyses: Mapping[str, Any] | None = None,
    ) -> None:
        self.identity = identity
        self._make = make
        self._analyses = dict(analyses or {})

    @cached_property
    def waveform(self) -> Waveform:
        """The sound itself."""
        return self._make()

    def analysis(self, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        """What an analysis gives, computed the first time."""
        if name not in self._analyses:
            self._analyses[name] = analyse(self.waveform)
        return self._analyses[name]


class SilentSounds:
    """Silences, analysed once for all clips of one length: they are all the same."""

    def __init__(self) -> None:
        self._measure: tuple[int, int] | None = None
        self._analyses: dict[str, Any] = {}

    def like(self, sound: Sound) -> Sound:
        """Silence as long as a sound, which is not read before it has to be."""
        return _Silence(sound, self)

    def analysis(self, silence: Waveform, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        """What an analysis gives, computed the first time for clips of this length."""
        measure = (silence.samples.shape[1], silence.rate_hz)
        if measure != self._measure:
            self._measure, self._analyses = measure, {}
        if name not in self._analyses:
            self._analyses[name] = analyse(silence)
        return self._analyses[name]


class _Silence(Sound):
    def __init__(self, like: Sound, silences: SilentSounds) -> None:
        super().__init__(f"silence:{like.identity}", lambda: controls.silence_like(like.waveform))
        self._silences = silences

    def analysis(self, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        return self._silences.analysis(self.waveform, name, analyse)


def sound_of_file(path: Path, onsets: Mapping[Path, ClipOnsets]) -> Sound:
    """The sound of a file, known by the hash of the file.

    Args:
        path: a file with a sound track.
        onsets: those that are known already, by file.

    Source: ours.
    """
    from foleyflow.media.waveform import read_waveform
    from foleyflow.weights import file_sha256

    known = {"strict_onsets": onsets[path]} if path in onsets else {}
    return Sound(file_sha256(path), lambda: read_waveform(path), known)


def true_sound_of(case: Case) -> Sound | None:
    """The true sound of a clip; None where it has none.

    Source: ours.
    """
    return None if case.true_sound is None else sound_of_file(case.true_sound, case.onsets)


def rows_of(
    case: Case,
    true: Sound | None,
    other: Sound | None,
    *,
    silences: SilentSounds,
    narrow_hz: int | None = None,
) -> dict[str, Sound]:
    """The generated sound and its controls, as far as there are any, in the order of `ROWS`.

    Args:
        case: the clip.
        true: its true sound.
        other: another clip's true sound.
        silences: those of the clips before.
        narrow_hz: also the rows that stand against, or are, a true sound of this lower rate.

    Source: ours.
    """
    generated = sound_of_file(case.generated, case.onsets)
    rows = {"generated": generated, "silence": silences.like(true or generated)}
    if true is not None:
        noise_seed = int(true.identity[:8], 16)
        rows["true"] = true
        rows["noise"] = Sound(
            f"noise:{true.identity}", lambda: controls.noise_like(true.waveform, seed=noise_seed)
        )
        if other is not None:
            rows["other"] = other
        if narrow_hz is not None:
            rows["generated_narrow"] = generated
            rows["true_narrow"] = Sound(
                f"narrow {narrow_hz}:{true.identity}",
                lambda: controls.narrow_like(true.waveform, rate_hz=narrow_hz),
            )
    return {row: rows[row] for row in ROWS if row in rows}


def label_of(case: Case, row: str) -> str:
    """What a row of a clip is called where it has no value.

    Source: ours.
    """
    return case.name if row == "generated" else f"{case.name} ({ROWS[row]})"
