"""Notice that all generated sounds were normalised to one loudness and the references were not.

Normalised sounds differ from natural ones in a way that has nothing to do with the video: metrics
of spectra and of distributions change with the level, and controls keep theirs. The fair comparison
is to generate without normalisation (`foleyflow generate --loudness off`), or to normalise all
systems and the references alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foleyflow.errors import MediaError
from foleyflow.evaluation.cache import ResultCache, cached, code_sha256
from foleyflow.evaluation.cases import Case, SoundFiles
from foleyflow.media import loudness, waveform

FEWEST_CLIPS = 5  # with both sounds, below which nothing is concluded
MOST_CLIPS = 50  # measured, evenly spaced among all clips
SPREAD_LU = 0.5  # sounds within this range have one loudness
EQUAL_FRACTION = 0.8  # of the generated sounds in that range; a peak limit leaves some outside it
MIXED_FRACTION = 0.5  # of the references in such a range, at most


@dataclass(frozen=True, kw_only=True)
class EqualLoudness:
    """Generated sounds of one loudness, against references of different ones, in LUFS."""

    generated_lufs: float  # median
    reference_low_lufs: float
    reference_high_lufs: float
    clips: int  # measured

    def to_text(self) -> str:
        """The warning and what to do."""
        return (
            f"warning: the generated sounds all have about {self.generated_lufs:.1f} LUFS, the "
            f"references {self.reference_low_lufs:.1f} to {self.reference_high_lufs:.1f} LUFS "
            f"({self.clips} clips measured). Levels that were normalised bias metrics of spectra "
            "and distributions: compare sounds of `foleyflow generate --loudness off`"
        )


def compare_loudness(
    cases: Sequence[Case], *, cache: ResultCache | None, files: SoundFiles
) -> EqualLoudness | None:
    """Whether the generated sounds have one loudness and the references do not; None if not so.

    Silent and unreadable sounds are ignored. At most `MOST_CLIPS` clips are measured, and only the
    first five where these already differ.
    """
    with_sound = [case for case in cases if case.true_sound is not None]
    if len(with_sound) < FEWEST_CLIPS:
        return None
    places = np.linspace(0, len(with_sound) - 1, min(len(with_sound), MOST_CLIPS)).round()
    chosen = [with_sound[int(place)] for place in places]

    def measured(paths: Sequence[Path | None]) -> list[float]:
        levels = [_lufs(path, cache, files) for path in paths if path is not None]
        return [level for level in levels if math.isfinite(level)]

    for count in (FEWEST_CLIPS, len(chosen)):
        generated = measured([case.generated for case in chosen[:count]])
        if len(generated) < FEWEST_CLIPS or _equal_fraction(generated) < EQUAL_FRACTION:
            return None
    references = measured([case.true_sound for case in chosen])
    if len(references) < FEWEST_CLIPS or _equal_fraction(references) > MIXED_FRACTION:
        return None
    return EqualLoudness(
        generated_lufs=float(np.median(generated)),
        reference_low_lufs=min(references),
        reference_high_lufs=max(references),
        clips=len(chosen),
    )


def _equal_fraction(levels_lufs: Sequence[float]) -> float:
    """The largest fraction of levels in a range of `SPREAD_LU`."""
    ordered = np.sort(levels_lufs)
    ends = np.searchsorted(ordered, ordered + SPREAD_LU, side="right")
    return float((ends - np.arange(len(ordered))).max() / len(ordered))


def _lufs(path: Path, cache: ResultCache | None, files: SoundFiles) -> float:
    """The loudness of a file; -inf for silence and for a file that cannot be read."""
    sound = files.sound(path)
    key = ["loudness", code_sha256(loudness, waveform), sound.identity]

    def compute() -> dict[str, float | None]:
        try:
            level = loudness.loudness_lufs(sound.waveform)
        except MediaError:
            level = -math.inf
        return {"lufs": level if math.isfinite(level) else None}

    level = cached(cache, lambda: key, compute, sound.pack)["lufs"]
    return -math.inf if level is None else float(level)
