"""Several data sets that a training joins, with stated weights and balanced labels.

A data set's weight is the fraction of the sampled clips that come from it, relative to the weights
of the others and whatever its size. Within a data set, clips have equal probabilities, or such that
rare labels are sampled more often.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.data.clip_types import Clips, read_manifest
from foleyflow.data.clips import open_split
from foleyflow.errors import ConfigError

LABEL_OFFSET = 0.01  # added to the number of clips of a label


@dataclass(frozen=True, kw_only=True)
class DataMixture:
    """Data sets with their weights; validation uses the first one alone."""

    folders: tuple[Path, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        for folder, weight in zip(self.folders, self.weights, strict=True):
            if not (math.isfinite(weight) and weight > 0):
                raise ConfigError(f"data {folder}={weight}: expected a weight above 0")
        repeated = [str(folder) for folder, count in Counter(self.folders).items() if count > 1]
        if repeated or not self.folders:
            raise ConfigError(
                f"data sets {', '.join(repeated) or 'none'}: expected each of them once",
                hint="change the weight of a data set with --data FOLDER=WEIGHT",
            )

    @classmethod
    def of(cls, data: Path | DataMixture) -> DataMixture:
        """One data set as a mixture, or the given mixture."""
        return data if isinstance(data, DataMixture) else cls(folders=(data,), weights=(1.0,))

    @classmethod
    def parse(cls, names: Iterable[Path | str]) -> DataMixture:
        """A mixture from FOLDER or FOLDER=WEIGHT; a data set without a weight has weight 1.

        Raises:
            ConfigError: a weight is not above 0, or a data set is named twice.
        """
        pairs = [_folder_and_weight(str(name)) for name in names]
        return cls(folders=tuple(f for f, _ in pairs), weights=tuple(w for _, w in pairs))

    @property
    def is_joined(self) -> bool:
        """Whether there are several data sets."""
        return len(self.folders) > 1

    @property
    def fractions(self) -> tuple[float, ...]:
        """The fraction of the sampled clips of each data set."""
        return tuple(weight / sum(self.weights) for weight in self.weights)

    @property
    def record(self) -> str | dict[str, float]:
        """The folder of a single data set, or the weight of each folder, for `config.json`."""
        if not self.is_joined:
            return str(self.folders[0])
        return {str(f): w for f, w in zip(self.folders, self.weights, strict=True)}


@dataclass(frozen=True, kw_only=True)
class DataShare:
    """How the clips of one data set are sampled.

    Attributes:
        data: its folder.
        weight, fraction: its weight, and the fraction of the sampled clips that come from it.
        clips: number of clips that are sampled.
        excluded: number of clips that are not, because their video is held out in another data set.
        labels: number of different labels.
        label_balance: exponent of the weights of clips.
        effective_clips: number of equally probable clips with the same diversity, the inverse of
            the sum of squared probabilities.
    """

    data: str
    weight: float
    fraction: float
    clips: int
    excluded: int
    labels: int
    label_balance: float
    effective_clips: float


@dataclass(frozen=True, kw_only=True)
class ClipSampling:
    """How training clips are sampled.

    Attributes:
        probabilities: (N,) of the clips of all data sets in order; None if all are equal.
        shares: of each data set; empty if all clips of one data set are equally probable.
    """

    probabilities: NDArray[np.float64] | None = None
    shares: tuple[DataShare, ...] = ()


def clip_sampling(mixture: DataMixture, *, label_balance: float | None = None) -> ClipSampling:
    """The probabilities of all training clips.

    A clip's weight within its data set is the sum over its labels of 1 / (clips with this label +
    0.01), to the power of `label_balance`. Clips of videos that another data set of the mixture has
    in its validation or test split are never sampled.

    Args:
        mixture: the data sets.
        label_balance: 0 or None for equal weights, 1 for labels of equal frequency.

    Raises:
        ConfigError: a negative exponent, or no clip of a data set is left.

    Reference: Gong et al. 2021 (AST), balanced sampling of AudioSet; Kong et al. 2020 (PANNs).
    """
    balance = label_balance or 0.0
    if not (math.isfinite(balance) and balance >= 0):
        raise ConfigError(f"label_balance={label_balance}: expected 0 or more")
    if not mixture.is_joined and not balance:
        return ClipSampling()
    held_out = [_held_out_videos(folder) for folder in mixture.folders] if mixture.is_joined else []
    parts, shares = [], []
    for index, (folder, fraction) in enumerate(
        zip(mixture.folders, mixture.fractions, strict=True)
    ):
        # Weights of this data set's clips
        clips = open_split(folder, "train")
        entries = [clips.entry(clip) for clip in range(len(clips))]
        labels = [labels_of(entry["kind"]) for entry in entries]
        weights = label_weights(labels) ** balance if balance else np.ones(len(clips))
        # Videos that are held out elsewhere
        others = set().union(*held_out[:index], *held_out[index + 1 :])
        excluded = np.array([entry.get("video_id") in others for entry in entries])
        weights[excluded] = 0.0
        if not weights.any():
            raise ConfigError(
                f"{folder}: all training clips are of videos that another data set holds out",
                hint="train without this data set",
            )
        weights /= weights.sum()
        parts.append(fraction * weights)
        shares.append(
            DataShare(
                data=str(folder),
                weight=mixture.weights[index],
                fraction=fraction,
                clips=int((~excluded).sum()),
                excluded=int(excluded.sum()),
                labels=len({label for each in labels for label in each}),
                label_balance=balance,
                effective_clips=round(float(1 / np.square(weights).sum()), 1),
            )
        )
    return ClipSampling(probabilities=np.concatenate(parts), shares=tuple(shares))


def labels_of(kind: str) -> tuple[str, ...]:
    """The labels of a clip: AudioSet's, separated by commas, or one label, which may have commas.

    AudioSet's labels begin with a slash, as in "/m/068hy,/m/07q6cd_".
    """
    names = tuple(kind.split(","))
    return names if all(name.startswith("/") for name in names) else (kind,)


def label_weights(labels: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """The sum over each clip's labels of 1 / (number of clips with this label + 0.01), (N,)."""
    counts = Counter(label for each in labels for label in set(each))
    return np.array([sum(1 / (counts[label] + LABEL_OFFSET) for label in set(x)) for x in labels])


class WeightedIndices:
    """Samples indices with given probabilities, in equal intervals of the cumulated ones.

    One index is sampled in each interval, so that a batch has the expected number of clips of each
    data set within one. An index is repeated only if it is more probable than an interval, or if it
    lies in two.
    """

    def __init__(self, probabilities: NDArray[np.float64]) -> None:
        """Takes (N,) weights of 0 or more, not all of which are 0."""
        self._cumulated = np.cumsum(probabilities)
        self._last = int(np.flatnonzero(probabilities)[-1])

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """`count` indices in ascending order; index i occurs count * p[i] times on average."""
        places = (np.arange(count) + rng.random(count)) / count * self._cumulated[-1]
        found = np.searchsorted(self._cumulated, places, side="right")
        # Rounding may place one after the end
        return np.minimum(found, self._last).astype(np.int64)


def _folder_and_weight(name: str) -> tuple[Path, float]:
    folder, separator, weight = name.rpartition("=")
    if not separator or Path(name).is_dir():
        return Path(name), 1.0
    try:
        return Path(folder), float(weight)
    except ValueError as error:
        raise ConfigError(
            f"data {name}: {weight!r} is not a number", hint="expected FOLDER or FOLDER=WEIGHT"
        ) from error


def _held_out_videos(folder: Path) -> frozenset[str]:
    """Identifiers of the videos in the validation and test splits of a data set."""
    splits = read_manifest(folder)["splits"]
    clips: list[Clips] = [
        open_split(folder, split) for split in ("validation", "test") if splits.get(split)
    ]
    videos = (each.entry(index).get("video_id") for each in clips for index in range(len(each)))
    return frozenset(video for video in videos if video is not None)
