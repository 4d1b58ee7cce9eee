"""The interface of a judge: a network that scores sounds for a metric and generates none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foleyflow import clock
from foleyflow.errors import ConfigError
from foleyflow.judges.preprocessing import AudioPreprocessing
from foleyflow.media.waveform import fit_length
from foleyflow.signals import Frames, Waveform

DEFAULT_AUDIO_PREPROCESSING = AudioPreprocessing()  # without a protocol
LONGEST_PAIR_S = 60.0  # judges ignore the rest of a video and its sound


@dataclass(frozen=True, kw_only=True)
class ClipRule:
    """The length of the sounds that a judge takes.

    Longer sounds are cut to `longest_s` (None for any length); if `filled`, shorter ones are padded
    with zeros to it.
    """

    longest_s: float | None = None
    filled: bool = False

    def __post_init__(self) -> None:
        if self.longest_s is not None and not self.longest_s > 0:
            raise ConfigError(f"longest_s: got {self.longest_s}, expected more than 0 or None")
        if self.filled and self.longest_s is None:
            raise ConfigError("filled: expected longest_s, the length to pad to, got None")

    def fit(self, samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Cut or pad a (N,) sound."""
        if self.longest_s is None:
            return samples
        wanted = clock.count_at(self.longest_s, rate_hz)
        return fit_length(samples, wanted if self.filled else min(wanted, len(samples)))


@dataclass(frozen=True, kw_only=True)
class VideoPreprocessing:
    """The frames of a video that a judge of pairs takes.

    Attributes:
        size_px: side of the square frames.
        rate_hz: rate of the frames, from `media.reader.read_frames_at_rate`; None for the video's
            own frames, up to 32 per second.
        shape: "squashed" for complete frames resized to squares. Else the shorter side is scaled to
            `size_px`: "middle" for the square in the middle, "whole" for complete frames.
        origin: where the rounded times of the frames count from, see `read_frames_at_rate`.
        end_copies: number of copies of the last frame by which a video may reach the length that a
            protocol requires.
    """

    size_px: int
    rate_hz: float | None = None
    shape: Literal["squashed", "middle", "whole"] = "squashed"
    origin: Literal["stream", "file"] = "stream"
    end_copies: int = 0

    def __post_init__(self) -> None:
        if self.shape != "squashed" and self.rate_hz is None:
            raise ConfigError(
                f"shape={self.shape!r}: expected rate_hz; a video's own frames can only be squashed"
            )


@dataclass(frozen=True, kw_only=True)
class PairPadding:
    """How much of the input of a judge of pairs is padding, in seconds and as a fraction."""

    sound_s: float = 0.0
    sound_fraction: float = 0.0
    video_s: float = 0.0
    video_fraction: float = 0.0


class _AnyJudge(Protocol):
    name: str
    rate_hz: int
    weights_sha256: str


class Judge(_AnyJudge, Protocol):
    """A network that scores sounds at `rate_hz`.

    Attributes:
        weights_sha256: hash of the weights, hexadecimal.
        clip: length of the sounds.
    """

    clip: ClipRule

    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(E, D) embeddings of a (N,) sound; E is 1 unless the judge embeds it in segments."""

    def logits(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C,) logits of a (N,) sound; a ValueError from a network without classes."""


@runtime_checkable
class BatchJudge(Protocol):
    """A judge that takes several sounds together and returns all of its outputs for each."""

    def outputs(self, sounds: Sequence[NDArray[np.float32]]) -> list[dict[str, NDArray[Any]]]:
        """ "embed" and, from a network with classes, "logits" of each (N,) sound.

        They equal those of `Judge.embed` and `Judge.logits` up to rounding. The dictionary of a
        sound that these refuse is empty.
        """


class MaterialJudge(Judge, Protocol):
    """A judge that also classifies the material of a sound."""

    def material(self, samples: NDArray[np.float32]) -> str:
        """The most likely material of a (N,) sound."""


class PairJudge(_AnyJudge, Protocol):
    """A network that scores a video together with a sound, both of at least `shortest_s`.

    Attributes:
        pads: in words, how the judge pads pairs that are shorter than its input; None if it takes
            pairs of any length from `shortest_s`.
    """

    video_preprocessing: VideoPreprocessing
    shortest_s: float
    pads: ClassVar[str | None] = None

    def padding(self, frames: Frames, samples: NDArray[np.float32]) -> PairPadding:
        """How much padding `score` adds to a pair; none if `pads` is None."""
        return PairPadding()

    def score(self, frames: Frames, samples: NDArray[np.float32]) -> float:
        """The score of a video, with times from 0, and a (N,) float32 sound at `rate_hz`.

        A judge of agreement returns the probability, 0..1, that the sound belongs to the video and
        is in sync with it; any other judge returns the value of its metric.

        Raises:
            ValueError: the video or the sound is too short.
        """


AnyJudge = Judge | PairJudge


def preprocess_audio(
    judge: Judge,
    waveform: Waveform,
    preprocessing: AudioPreprocessing = DEFAULT_AUDIO_PREPROCESSING,
) -> NDArray[np.float32]:
    """Prepare a sound for a judge: (N,) at its sample rate, cut or padded by its clip rule.

    Raises:
        ValueError: `preprocessing` refuses the sound as too short.
    """
    return judge.clip.fit(preprocessing.apply(waveform, judge.rate_hz), judge.rate_hz)


def judge_json(
    judge: Judge, preprocessing: AudioPreprocessing = DEFAULT_AUDIO_PREPROCESSING
) -> dict[str, Any]:
    """The settings that reproduce a judge's figures, as plain values for reports."""
    return {
        "name": judge.name,
        "weights_sha256": judge.weights_sha256,
        "rate_hz": judge.rate_hz,
        "longest_s": judge.clip.longest_s,
        "filled": judge.clip.filled,
        "resampler": preprocessing.description,
    }


def pair_judge_json(judge: PairJudge, preprocessing: AudioPreprocessing) -> dict[str, Any]:
    """`judge_json` of a judge of pairs."""
    return {
        "name": judge.name,
        "weights_sha256": judge.weights_sha256,
        "rate_hz": judge.rate_hz,
        "sight": asdict(judge.video_preprocessing),
        "shortest_s": judge.shortest_s,
        "pads": judge.pads,
        "resampler": preprocessing.description,
    }
