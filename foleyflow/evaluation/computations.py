"""How a metric gets its values; each record in `metrics/` has one of these computations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foleyflow.signals import Waveform


@dataclass(frozen=True, kw_only=True)
class PairwiseGroup:
    """An analysis that several pairwise metrics share; each sound is analysed once per group.

    Attributes:
        name: unique key of the group in caches.
        modules: modules whose code determines the values; their hash is part of the cache key.
        analyse: converts a waveform, or the result of `basis`, to the input of `compare`.
        analyse_events: does the same for annotated events; None if the reference must be a sound.
        compare: (reference, sound) -> result; raises ValueError where there is none.
        basis: first step of the analysis, computed once for all groups that name the same function.
    """

    name: str
    modules: tuple[ModuleType, ...]
    analyse: Callable[[Any], Any]
    analyse_events: Callable[[Any], Any] | None
    compare: Callable[[Any, Any], Any]
    basis: Callable[[Waveform], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Pairwise:
    """One value per pair of a reference and a sound, without a judge.

    `value` extracts the metric's value from the result of `group.compare`.
    """

    group: PairwiseGroup
    value: Callable[[Any], float] = float


@dataclass(frozen=True, kw_only=True)
class JudgedValues:
    """Values computed from a judge's outputs, one per clip or a single one for the complete set.

    `remarks` are printed with the figure.
    """

    values: Sequence[float]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AudioJudged:
    """Values computed from the outputs of a network that takes sounds.

    Attributes:
        judge: name of the network.
        statistic: name of the computation in reports.
        output: which method of the judge is used.
        compute: (outputs for the references, outputs for the sounds), one array per clip in the
            same order, -> values; raises ValueError where there are none.
        per_clip: `compute` returns one value per clip, not one for the complete set.
        uses_reference: False if only the sounds are evaluated; `compute` then gets no references.
        summarise: reduces the outputs for all references to a statistic, a dictionary of plain
            values and arrays, which `compute` then gets instead of them.
    """

    judge: str
    statistic: Literal["kl", "frechet", "inception"]
    output: Literal["logits", "embed"]
    compute: Callable[[Any, list[NDArray[np.float64]]], JudgedValues]
    per_clip: bool = False
    uses_reference: bool = True
    summarise: Callable[[list[NDArray[np.float64]]], dict[str, Any]] | None = None

    def compare(
        self, true: list[NDArray[np.float64]], generated: list[NDArray[np.float64]]
    ) -> JudgedValues:
        """`compute` from the outputs for references, which are summarised first if need be."""
        return self.compute(true if self.summarise is None else self.summarise(true), generated)


@dataclass(frozen=True, kw_only=True)
class VideoJudged:
    """One value per clip from a network that takes a video with a sound.

    Outputs above the threshold count as 1, others as 0; without one, the output is the value.
    """

    judge: str
    threshold: float | None = None

    @property
    def statistic(self) -> str:
        """Name of the computation in reports."""
        return "verdict" if self.threshold is None else "agreement"


@dataclass(frozen=True, kw_only=True)
class FileBased:
    """One value per clip from the generated file's metadata; there are no controls.

    `measure` takes the path of the generated sound; it raises ValueError where there is no value.
    """

    measure: Callable[[Path], float]


Computation = Pairwise | AudioJudged | VideoJudged | FileBased
