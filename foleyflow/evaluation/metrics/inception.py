"""The Inception score: whether each sound clearly belongs to a class and the classes vary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

from foleyflow.evaluation.computations import AudioJudged, JudgedValues
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics.semantics import check_logits

SPLIT_COUNT = 10
SPLIT_SEED = 2020


@dataclass(frozen=True, kw_only=True)
class InceptionScore:
    """Mean, from 1 to the number of classes, and standard deviation over the splits."""

    mean: float
    deviation: float


def inception_score(
    logits: ArrayLike, *, splits: int = SPLIT_COUNT, seed: int = SPLIT_SEED
) -> InceptionScore:
    """exp(mean KL(p(y|x) || p(y))) of finite logits (N, C) in each split of the shuffled clips.

    Raises:
        ValueError: logits that are not (N, C) or not finite, or fewer clips than splits.

    Reference: Salimans et al. 2016, section 4; splits as in torch-fidelity and av-benchmark.
    """
    values = check_logits(logits)
    count = len(values)
    if splits < 1 or count < splits:
        raise ValueError(f"{count} clips for {splits} splits: expected at least one in each")
    shuffled = log_softmax(values, axis=1)[np.random.RandomState(seed).permutation(count)]
    scores = []
    for split in range(splits):
        log_p = shuffled[split * count // splits : (split + 1) * count // splits]
        log_marginal = np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p))
        scores.append(np.exp((np.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean()))
    return InceptionScore(mean=float(np.mean(scores)), deviation=float(np.std(scores)))


def _score_set(_: list[NDArray[np.float64]], generated: list[NDArray[np.float64]]) -> JudgedValues:
    return JudgedValues(
        values=[inception_score(np.stack(generated)).mean],
        remarks=("no interval over clips: the score falls with their number",),
    )


METRICS = tuple(
    Metric(
        name=f"inception_{judge}",
        range=(1.0, math.inf),
        reference="Salimans et al., NeurIPS 2016; 10 splits after RandomState(2020).permutation, "
        "as av-benchmark; few clips lower it; the reference sounds are not used",
        computation=AudioJudged(
            judge=judge,
            statistic="inception",
            output="logits",
            compute=_score_set,
            uses_reference=False,
        ),
    )
    for judge in ("panns", "passt")
)
