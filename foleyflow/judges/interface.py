"""What a judge is: a network that hears sounds for a metric, and never one that makes them.

Only the agreement stands here; no network and no weights. A metric names the judge that it needs
(`Metric.judge`); where that one is not given, `judge_for` says so in one line, and nothing else
takes its place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from foleyflow import clock
from foleyflow.errors import ConfigError
from foleyflow.judges.preprocessing import AudioPreprocessing
from foleyflow.signals import Frames, Waveform

DEFAULT_AUDIO_PREPROCESSING = AudioPreprocessing()  # outside of any protocol


@dataclass(frozen=True, kw_only=True)
class ClipRule:
    """How long the sounds are that a judge hears.

    Attributes:
        longest_s: where longer sounds are cut; None for any length.
        filled: shorter sounds are filled with zeros up to `longest_s`.
    """

    longest_s: float | None = None
    filled: bool = False

    def __post_init__(self) -> None:
        if self.longest_s is not None and not self.longest_s > 0:
            raise ConfigError(f"longest_s: got {self.longest_s}, expected more than 0 or None")
        if self.filled and self.longest_s is None:
            raise ConfigError("filled: there is no length to fill up to without longest_s")

    def fit(self, samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Cut or fill a sound.

        Args:
            samples: (N,) float32.
            rate_hz: its rate.

        Returns:
            (M,) float32.

        Source: ours.
        """
        from foleyflow.media.waveform import fit_length

        if self.longest_s is None:
            return samples
        wanted = clock.count_at(self.longest_s, rate_hz)
        return fit_length(samples, wanted if self.filled else min(wanted, len(samples)))


@dataclass(frozen=True, kw_only=True)
class VideoPreprocessing:
    """How a video is shown to a judge of pairs.

    Attributes:
        size_px: side of the square pictures.
        rate_hz: of a grid of moments from 0, at each of which the picture on screen is shown; None
            for the video's own frames, up to 32 a second.
        shape: "squashed" for the whole picture as a square; with the shorter side scaled to
            `size_px`, "middle" for the middle square and "whole" for all of it.
    """

    size_px: int
    rate_hz: float | None = None
    shape: Literal["squashed", "middle", "whole"] = "squashed"

    def __post_init__(self) -> None:
        if self.shape != "squashed" and self.rate_hz is None:
            raise ConfigError(
                f"shape={self.shape!r}: a video's own frames are only shown squashed; give rate_hz"
            )


class Judge(Protocol):
    """A network that hears sounds, and what must be known to repeat what it says."""

    @property
    def name(self) -> str:
        """As metrics call it."""
        ...

    @property
    def rate_hz(self) -> int:
        """Of the sounds that it takes."""
        ...

    @property
    def clip(self) -> ClipRule:
        """How they are cut or filled."""
        ...

    @property
    def weights_sha256(self) -> str:
        """Hash of its weights, hexadecimal."""
        ...

    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(E, D) embeddings of one (N,) sound; E is 1 unless the judge hears it in pieces."""
        ...

    def logits(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C,) logits of one (N,) sound; ValueError from a network without classes."""
        ...


class MaterialJudge(Judge, Protocol):
    """A network that hears sounds and names the material that sounds."""

    def material(self, samples: NDArray[np.float32]) -> str:
        """The likeliest material of one (N,) sound."""
        ...


class PairJudge(Protocol):
    """A network that sees a video with its sound."""

    @property
    def name(self) -> str:
        """As metrics call it."""
        ...

    @property
    def rate_hz(self) -> int:
        """Of the sounds that it takes."""
        ...

    @property
    def sight(self) -> VideoPreprocessing:
        """How it is shown a video."""
        ...

    @property
    def shortest_s(self) -> float:
        """What a pair must last at least."""
        ...

    @property
    def weights_sha256(self) -> str:
        """Hash of its weights, hexadecimal."""
        ...

    def verdict(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """What it says of a video with an (N,) sound.

        A judge of agreement gives the probability, 0..1, that the sound belongs to the video and to
        its moments; any other one the value of its metric.
        """
        ...


AnyJudge = Judge | PairJudge


def preprocess_for(
    judge: Judge, waveform: Waveform, hearing: AudioPreprocessing = DEFAULT_AUDIO_PREPROCESSING
) -> NDArray[np.float32]:
    """A sound as a judge takes it: at its rate, cut or filled.

    Args:
        judge: whose rate and rule it is.
        waveform: any sound.
        hearing: what happens to it before.

    Returns:
        (N,) float32.

    Raises:
        ValueError: a sound that `hearing` refuses as too short.

    Source: ours.
    """
    return judge.clip.fit(hearing.hear(waveform, judge.rate_hz), judge.rate_hz)


def judge_json(
    judge: Judge, hearing: AudioPreprocessing = DEFAULT_AUDIO_PREPROCESSING
) -> dict[str, Any]:
    """What a report says of a judge and of how it heard, as plain values.

    Args:
        judge: any that hears sounds.
        hearing: how it was given them.

    Source: ours.
    """
    return {
        "name": judge.name,
        "weights_sha256": judge.weights_sha256,
        "rate_hz": judge.rate_hz,
        "longest_s": judge.clip.longest_s,
        "filled": judge.clip.filled,
        "resampler": hearing.said,
    }


def pair_judge_json(
    judge: PairJudge, hearing: AudioPreprocessing = DEFAULT_AUDIO_PREPROCESSING
) -> dict[str, Any]:
    """What a report says of a judge of pairs and of how it heard, as plain values.

    Args:
        judge: any that sees and hears.
        hearing: how it was given the sounds.

    Source: ours.
    """
    return {
        "name": judge.name,
        "weights_sha256": judge.weights_sha256,
        "rate_hz": judge.rate_hz,
        "sight": asdict(judge.sight),
        "shortest_s": judge.shortest_s,
        "resampler": hearing.said,
    }
