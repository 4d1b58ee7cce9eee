"""The clips to score, and the sounds that are scored under each condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from foleyflow.evaluation import controls
from foleyflow.evaluation.metrics.synchrony import STRICT_ONSETS, ClipOnsets
from foleyflow.evaluation.scores import CONDITIONS
from foleyflow.signals import Waveform


@dataclass(frozen=True, kw_only=True)
class Case:
    """One clip to score.

    Attributes:
        name: of the clip.
        generated: file of the generated sound.
        true_sound: file of the true sound, if there is one.
        events: the annotated events, if there are any.
        onsets: file -> onsets, where they have already been detected.
        video: file with the video stream, if there is one.
    """

    name: str
    generated: Path
    true_sound: Path | None = None
    events: ClipOnsets | None = None
    onsets: Mapping[Path, ClipOnsets] = field(default_factory=dict)
    video: Path | None = None

    def label(self, condition: str) -> str:
        """The name under which a missing value of a condition is listed."""
        return self.name if condition == "generated" else f"{self.name} ({CONDITIONS[condition]})"


class Sound:
    """A sound that is read or generated when it is first needed, and analysed once per group.

    Attributes:
        identity: equal for equal content; part of cache keys.
    """

    def __init__(
        self,
        identity: str,
        load: Callable[[], Waveform],
        analyses: Mapping[str, Any] | None = None,
    ) -> None:
        self.identity = identity
        self._load = load
        self._analyses = dict(analyses or {})

    @cached_property
    def waveform(self) -> Waveform:
        """The sound itself."""
        return self._load()

    def analysis(self, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        """The result of an analysis, computed the first time."""
        if name not in self._analyses:
            self._analyses[name] = analyse(self.waveform)
        return self._analyses[name]


class SilentSounds:
    """Silent sounds; consecutive ones of equal length share their analyses."""

    def __init__(self) -> None:
        self._shape: tuple[int, int] | None = None
        self._analyses: dict[str, Any] = {}

    def like(self, sound: Sound) -> Sound:
        """Silence as long as a sound, which is not read before it has to be."""
        return _Silence(sound, self)

    def analysis(self, silence: Waveform, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        """The result of an analysis, computed the first time for this length."""
        shape = (silence.samples.shape[1], silence.rate_hz)
        if shape != self._shape:
            self._shape, self._analyses = shape, {}
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
    """The sound of a file, with the hash of the file as identity; `onsets` as in `Case`."""
    from foleyflow.media.waveform import read_waveform
    from foleyflow.weights import file_sha256

    known = {STRICT_ONSETS.name: onsets[path]} if path in onsets else {}
    return Sound(file_sha256(path), lambda: read_waveform(path), known)


def true_sound_of(case: Case) -> Sound | None:
    """The true sound of a clip, if there is one."""
    return None if case.true_sound is None else sound_of_file(case.true_sound, case.onsets)


def sounds_by_condition(
    case: Case,
    true: Sound | None,
    other: Sound | None,
    *,
    silences: SilentSounds,
    narrow_hz: int | None = None,
) -> dict[str, Sound]:
    """The generated sound and its available controls, in the order of `CONDITIONS`.

    Args:
        case: the clip.
        true: its true sound.
        other: another clip's true sound.
        silences: shared by all clips.
        narrow_hz: rate of the band-limited true sound; None for no conditions with one.
    """
    generated = sound_of_file(case.generated, case.onsets)
    sounds = {"generated": generated, "silence": silences.like(true or generated)}
    if true is not None:
        noise_seed = int(true.identity[:8], 16)
        sounds["true"] = true
        sounds["noise"] = Sound(
            f"noise:{true.identity}", lambda: controls.noise_like(true.waveform, seed=noise_seed)
        )
        if other is not None:
            sounds["other"] = other
        if narrow_hz is not None:
            sounds["generated_narrow"] = generated
            sounds["true_narrow"] = Sound(
                f"narrow {narrow_hz}:{true.identity}",
                lambda: controls.narrow_like(true.waveform, rate_hz=narrow_hz),
            )
    return {condition: sounds[condition] for condition in CONDITIONS if condition in sounds}
