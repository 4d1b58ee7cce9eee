"""From noise to audio (or back): plain functions over a grid of flow times.

A velocity is `(x, tau) -> dx/dtau` with x (B, L, C) and tau a float; a flow map is
`(x, r, tau) -> u`, the mean velocity between tau and r. Grids run in the direction of travel, so
the same solver goes from noise to audio (1 to 0) and from audio to noise (0 to 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
FlowMap = Callable[[Tensor, float, float], Tensor]


def uniform_grid(steps: int, *, start: float = 1.0, end: float = 0.0) -> list[float]:
    """`steps` + 1 equally spaced flow times from start to end."""
    if steps < 1:
        raise ValueError(f"steps={steps}: expected at least 1")
    return [start + (end - start) * k / steps for k in range(steps + 1)]


def euler(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """First order. Source: Euler 1768."""
    for tau, after in itertools.pairwise(times):
        x = x + (after - tau) * velocity(x, tau)
    return x


def midpoint(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """Second order, two evaluations a step. Source: Hairer, Norsett & Wanner 1993, II.1."""
    for tau, after in itertools.pairwise(times):
        half = 0.5 * (after - tau)
        x = x + (after - tau) * velocity(x + half * velocity(x, tau), tau + half)
    return x


def heun(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """Second order, two evaluations a step. Source: Heun 1900."""
    for tau, after in itertools.pairwise(times):
        slope = velocity(x, tau)
        ahead = velocity(x + (after - tau) * slope, after)
        x = x + 0.5 * (after - tau) * (slope + ahead)
    return x


SAMPLERS: dict[str, Callable[[Velocity, Tensor, Sequence[float]], Tensor]] = {
    "euler": euler,
    "midpoint": midpoint,
    "heun": heun,
}


def follow_map(flow_map: FlowMap, x: Tensor, times: Sequence[float]) -> Tensor:
    """Jumps along a two-time flow map; one jump from 1 to 0 is one-step generation.

    Source: paper eqs. 6 and 8; method section C.1: X = x - (tau - r) u(x, r, tau).
    """
    for tau, r in itertools.pairwise(times):
        x = x - (tau - r) * flow_map(x, r, tau)
    return x
