"""What the sounds are, by the classes that a judge hears in them: divergence and Inception score.

Logits in, numbers out, float64. Which network gave them is not known here. Softmax over classes
that exclude nobody (AudioSet's are multi-label) is a convention of the field, not a probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foleyflow.evaluation.metric import Metric

SPLIT_COUNT = 10
SPLIT_SEED = 2020


def kl_record(judge: str) -> Metric:
    """The record of the divergence by the classes of one judge.

    Source: ours.
    """
    return Metric(
        name=f"kl_{judge}",
        unit="nat",
        direction="lower",
        range=(0.0, math.inf),
        reference="KL(softmax(true) || softmax(generated)), summed over classes, mean over pairs, "
        "as av-benchmark",
        judge=judge,
        heard_as="kl",
    )


KLD_SIM = Metric(
    name="KLD-sim",
    unit="nat",
    direction="lower",
    range=(0.0, math.inf),
    reference="ours: divergence of materials plus that of kinds of scenes, by our tagger of "
    "simulated sound; not comparable with any published KLD",
    judge="tagger-sim",
    heard_as="kl",
)


def inception_record(judge: str) -> Metric:
    """The record of the Inception score by the classes of one judge.

    Source: ours.
    """
    return Metric(
        name=f"inception_{judge}",
        unit="1",
        direction="higher",
        range=(1.0, math.inf),
        reference="Salimans et al., NeurIPS 2016; 10 splits after RandomState(2020).permutation, "
        "as av-benchmark; few clips lower it; it never looks at the true sound",
        judge=judge,
        heard_as="inception",
    )


@dataclass(frozen=True, kw_only=True)
class InceptionScore:
    """The score and how it differs between splits.

    Attributes:
        mean: over splits, 1 to the number of classes.
        deviation: population standard deviation over splits; not an interval over clips.
    """

    mean: float
    deviation: float


def kl_divergence(true_logits: ArrayLike, generated_logits: ArrayLike) -> NDArray[np.float64]:
    """KL(softmax(true) || softmax(generated)) of each pair.

    Args:
        true_logits: (N, C) finite, of the true sounds.
        generated_logits: (N, C) finite, of the sounds made for them, in the same order.

    Returns:
        (N,) float64 nats, 0 or more; no epsilon is added.

    Raises:
        ValueError: shapes that differ or are not (N, C), or numbers that are not finite.

    Source: Kullback and Leibler 1951; the use of softmax as in av-benchmark.
    """
    true, generated = _logits(true_logits), _logits(generated_logits)
    if true.shape != generated.shape:
        raise ValueError(f"logits of {true.shape} and {generated.shape}: expected equal shapes")
    log_p, log_q = _log_softmax(true), _log_softmax(generated)
    divergence: NDArray[np.float64] = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    return np.maximum(divergence, 0.0)


def inception_score(
    logits: ArrayLike, *, splits: int = SPLIT_COUNT, seed: int = SPLIT_SEED
) -> InceptionScore:
    """Whether each sound is clearly of some class, and the classes are many.

    Args:
        logits: (N, C) finite, N >= splits.
        splits: parts into which the shuffled clips are cut, each scored by itself.
        seed: of the shuffle.

    Returns:
        exp(mean KL(p(y|x) || p(y))) in each split, as mean and deviation.

    Raises:
        ValueError: not (N, C), not finite, or fewer clips than splits.

    Source: Salimans et al. 2016, section 4; splits as torch-fidelity and av-benchmark.
    """
    values = _logits(logits)
    count = len(values)
    if splits < 1 or count < splits:
        raise ValueError(f"{count} clips for {splits} splits: expected at least one in each")
    shuffled = _log_softmax(values)[np.random.RandomState(seed).permutation(count)]
    scores = []
    for split in range(splits):
        log_p = shuffled[split * count // splits : (split + 1) * count // splits]
        log_marginal = np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p))
        scores.append(np.exp((np.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean()))
    return InceptionScore(mean=float(np.mean(scores)), deviation=float(np.std(scores)))


def _logits(logits: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"logits: got {values.shape}, expected (N, C), N and C at least 1")
    if not np.isfinite(values).all():
        raise ValueError("logits: some are not finite; look for sounds that are not")
    return values


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p
