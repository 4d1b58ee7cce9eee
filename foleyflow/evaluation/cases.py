"""The clips to score, and the sounds that are scored under each condition."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from foleyflow.evaluation import controls
from foleyflow.evaluation.metrics.synchrony import STRICT_ONSETS, ClipOnsets
from foleyflow.evaluation.scores import CONDITIONS
from foleyflow.media.waveform import read_waveform
from foleyflow.signals import Waveform
from foleyflow.weights import file_sha256

# (samples, rate) of silence -> name of an analysis -> its result
Silences = dict[tuple[int, int], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One clip to score; all but its name and the file of its generated sound may be missing."""

    name: str
    generated: Path
    true_sound: Path | None = None
    events: ClipOnsets | None = None  # annotated events
    onsets: Mapping[Path, ClipOnsets] = field(default_factory=dict)  # already detected, by file
    video: Path | None = None  # file with the video stream

    def label(self, condition: str) -> str:
        """The name under which a missing value of a condition is listed."""
        return self.name if condition == "generated" else f"{self.name} ({CONDITIONS[condition]})"


class Sound:
    """A sound that is read or generated when it is first needed, and analysed once per group.

    `identity` is equal for equal content and part of cache keys. `pack` names the results about
    the sound in a cache: those of controls belong to the true sound that they are made from.
    """

    def __init__(
        self,
        identity: str,
        load: Callable[[], Waveform],
        analyses: Mapping[str, Any] | None = None,
        *,
        pack: str | None = None,
    ) -> None:
        self.identity = identity
        self.pack = pack or identity
        self._load = load
        self._analyses = dict(analyses or {})

    @cached_property
    def waveform(self) -> Waveform:
        """The samples and their rate."""
        return self._load()

    def analysis(self, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        """The result of an analysis, computed the first time."""
        if name not in self._analyses:
            self._analyses[name] = analyse(self.waveform)
        return self._analyses[name]

    def add_analysis(self, name: str, result: Any) -> None:
        """Keep the result of an analysis that is already known."""
        self._analyses.setdefault(name, result)


class SoundFiles:
    """The sounds of files; the latest ones are kept, so that each file is read once."""

    def __init__(self, kept: int) -> None:
        """Takes the number of sounds that are kept in memory."""
        self._kept = kept
        self._sounds: OrderedDict[Path, Sound] = OrderedDict()
        self._identities: dict[Path, str] = {}

    def sound(self, path: Path) -> Sound:
        """The sound of a file, with the hash of the file as identity."""
        if path in self._sounds:
            self._sounds.move_to_end(path)
            return self._sounds[path]
        self._sounds[path] = sound = Sound(self.identity(path), lambda: read_waveform(path))
        if len(self._sounds) > self._kept:
            self._sounds.popitem(last=False)
        return sound

    def identity(self, path: Path) -> str:
        """The hash of a file, computed once."""
        if path not in self._identities:
            self._identities[path] = file_sha256(path)
        return self._identities[path]

    def generated_sound_of(self, case: Case) -> Sound:
        """The generated sound of a clip, with its onsets if they are known."""
        return self._with_onsets(case.generated, case)

    def true_sound_of(self, case: Case | None) -> Sound | None:
        """The true sound of a clip, if there is one."""
        if case is None or case.true_sound is None:
            return None
        return self._with_onsets(case.true_sound, case)

    def _with_onsets(self, path: Path, case: Case) -> Sound:
        sound = self.sound(path)
        if path in case.onsets:
            sound.add_analysis(STRICT_ONSETS.name, case.onsets[path])
        return sound


class Silence(Sound):
    """Silence as long as a sound, which is read when the silence is first analysed.

    `silences` has the analyses of the latest length, which all silences of that length share.
    """

    def __init__(self, like: Sound, silences: Silences) -> None:
        super().__init__(
            f"silence:{like.identity}",
            lambda: controls.silence_like(like.waveform),
            pack=like.pack,
        )
        self._silences = silences

    def analysis(self, name: str, analyse: Callable[[Waveform], Any]) -> Any:
        """The result of an analysis, computed the first time for this length."""
        shape = (self.waveform.samples.shape[1], self.waveform.rate_hz)
        if shape not in self._silences:
            self._silences.clear()
        self._analyses = self._silences.setdefault(shape, {})
        return super().analysis(name, analyse)


def sounds_by_condition(
    generated: Sound,
    true: Sound | None,
    other: Sound | None,
    *,
    silences: Silences,
    narrow_hz: int | None = None,
) -> dict[str, Sound]:
    """The generated sound and its available controls, in the order of `CONDITIONS`.

    Args:
        generated, true: the sounds of the clip.
        other: another clip's true sound.
        silences: analyses of silence, shared by all clips.
        narrow_hz: rate of the band-limited true sound; None for no conditions with one.
    """
    sounds = {"generated": generated, "silence": Silence(true or generated, silences)}
    if true is not None:
        noise_seed = int(true.identity[:8], 16)
        sounds["true"] = true
        sounds["noise"] = Sound(
            f"noise:{true.identity}",
            lambda: controls.noise_like(true.waveform, seed=noise_seed),
            pack=true.pack,
        )
        if other is not None:
            sounds["other"] = other
        if narrow_hz is not None:
            sounds["generated_narrow"] = generated
            sounds["true_narrow"] = Sound(
                f"narrow {narrow_hz}:{true.identity}",
                lambda: controls.narrow_like(true.waveform, rate_hz=narrow_hz),
                pack=true.pack,
            )
    return {condition: sounds[condition] for condition in CONDITIONS if condition in sounds}
