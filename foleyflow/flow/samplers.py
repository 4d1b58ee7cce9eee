"""Solvers of the flow: plain functions over a grid of flow times.

A velocity is `(x, tau) -> dx/dtau` with x (B, L, C) and tau a float. A flow map is
`(x, r, tau) -> u`, the mean velocity between tau and r. A grid has the direction of integration:
1 to 0 from noise to audio, 0 to 1 from audio to noise.
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
    """Euler's method: first order, one evaluation per step."""
    for tau, after in itertools.pairwise(times):
        x = x + (after - tau) * velocity(x, tau)
    return x


def midpoint(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """The midpoint method: second order, two evaluations per step."""
    for tau, after in itertools.pairwise(times):
        half = 0.5 * (after - tau)
        x = x + (after - tau) * velocity(x + half * velocity(x, tau), tau + half)
    return x


def heun(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """Heun's method: second order, two evaluations per step."""
    for tau, after in itertools.pairwise(times):
        slope = velocity(x, tau)
        slope_after = velocity(x + (after - tau) * slope, after)
        x = x + 0.5 * (after - tau) * (slope + slope_after)
    return x


SAMPLERS: dict[str, Callable[[Velocity, Tensor, Sequence[float]], Tensor]] = {
    "euler": euler,
    "midpoint": midpoint,
    "heun": heun,
}


def apply_flow_map(flow_map: FlowMap, x: Tensor, times: Sequence[float]) -> Tensor:
    """Apply a flow map, x - (tau - r) u(x, r, tau), between consecutive flow times.

    A single step from 1 to 0 is one-step generation (paper eqs. 6 and 8).
    """
    for tau, r in itertools.pairwise(times):
        x = x - (tau - r) * flow_map(x, r, tau)
    return x
