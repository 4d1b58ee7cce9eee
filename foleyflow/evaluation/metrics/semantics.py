"""Kullback-Leibler divergence of the classes that a judge assigns to two sounds.

Softmax over classes that do not exclude each other (AudioSet's are multi-label) is a convention of
the field, not a probability.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

from foleyflow.evaluation.computations import AudioJudged, JudgedValues
from foleyflow.evaluation.metric import Metric


def kl_divergence(true_logits: ArrayLike, generated_logits: ArrayLike) -> NDArray[np.float64]:
    """KL(softmax(true) || softmax(generated)) of each pair, (N,) nats from finite logits (N, C).

    No epsilon is added.

    Raises:
        ValueError: the shapes differ or are not (N, C), or numbers are not finite.

    Reference: Kullback and Leibler 1951; softmax of logits as in av-benchmark.
    """
    true, generated = check_logits(true_logits), check_logits(generated_logits)
    if true.shape != generated.shape:
        raise ValueError(f"logits of {true.shape} and {generated.shape}: expected equal shapes")
    log_p, log_q = log_softmax(true, axis=1), log_softmax(generated, axis=1)
    divergence: NDArray[np.float64] = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    return np.maximum(divergence, 0.0)


def check_logits(logits: ArrayLike) -> NDArray[np.float64]:
    """The logits as float64; a ValueError if they are empty, not (N, C), or not finite."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"logits: got {values.shape}, expected (N, C), N and C at least 1")
    if not np.isfinite(values).all():
        raise ValueError("logits: some are not finite; look for sounds that are not")
    return values


def kl_metric(name: str, judge: str, reference: str) -> Metric:
    """The record of the divergence by one judge's classes."""
    return Metric(
        name=name,
        unit="nat",
        direction="lower",
        range=(0.0, math.inf),
        reference=reference,
        computation=AudioJudged(
            judge=judge,
            statistic="kl",
            output="logits",
            compute=lambda true, generated: JudgedValues(
                values=kl_divergence(np.stack(true), np.stack(generated)).tolist()
            ),
            per_clip=True,
        ),
    )


METRICS = tuple(
    kl_metric(
        f"kl_{judge}",
        judge,
        "KL(softmax(true) || softmax(generated)), summed over classes, mean over pairs, "
        "as av-benchmark",
    )
    for judge in ("passt", "panns")
)
