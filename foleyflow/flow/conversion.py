"""Conversions between velocity, score, noise and data predictions at a point of a path.

At a given x_tau the four predictions are equivalent. Every conversion goes through the pair (data,
noise), with four formulas in each direction. Where a path degenerates (no noise at
tau = 0; no data at tau = 1 on the linear and GVP paths) some conversions divide by zero and return
inf or nan. Velocity to data and noise is always finite on the linear and GVP paths.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from foleyflow.flow.path import PATHS, Coefficients

DataAndNoise = tuple[Tensor, Tensor]


def _from_velocity(value: Tensor, x: Tensor, c: Coefficients) -> DataAndNoise:
    determinant = c.alpha * c.sigma_dot - c.alpha_dot * c.sigma
    data = (c.sigma_dot * x - c.sigma * value) / determinant
    return data, (c.alpha * value - c.alpha_dot * x) / determinant


def _from_noise(value: Tensor, x: Tensor, c: Coefficients) -> DataAndNoise:
    return (x - c.sigma * value) / c.alpha, value


TO_DATA_AND_NOISE: dict[str, Callable[[Tensor, Tensor, Coefficients], DataAndNoise]] = {
    "velocity": _from_velocity,
    "score": lambda value, x, c: _from_noise(-c.sigma * value, x, c),
    "noise": _from_noise,
    "data": lambda value, x, c: (value, (x - c.alpha * value) / c.sigma),
}
FROM_DATA_AND_NOISE: dict[str, Callable[[Tensor, Tensor, Coefficients], Tensor]] = {
    "velocity": lambda data, noise, c: c.alpha_dot * data + c.sigma_dot * noise,
    "score": lambda data, noise, c: -noise / c.sigma,
    "noise": lambda data, noise, c: noise,
    "data": lambda data, noise, c: data,
}


def convert(
    value: Tensor, x: Tensor, tau: Tensor, *, given: str, wanted: str, path: str = "linear"
) -> Tensor:
    """Convert a prediction at x_tau into another quantity.

    Exact for a single pair (audio, noise) and, because all quantities are affine in each other at a
    fixed x_tau, for their expectations given x_tau: the marginal velocity, the score of the
    marginal density, the expected noise and the expected data.

    Takes `value` and x (B, L, C), and tau (B,) in 0..1; `given` and `wanted` are keys of
    `TO_DATA_AND_NOISE`, `path` is one of `path.PATHS`. Returns (B, L, C), not finite where the path
    does not determine the quantity. An unknown quantity raises a ValueError.

    Reference: paper eq. 2; SiT (Ma et al. 2024), appendix A.
    """
    for name in (given, wanted):
        if name not in TO_DATA_AND_NOISE:
            raise ValueError(f"quantity {name!r}: expected one of {', '.join(TO_DATA_AND_NOISE)}")
    c = PATHS[path](tau[:, None, None])
    data, noise = TO_DATA_AND_NOISE[given](value, x, c)
    return FROM_DATA_AND_NOISE[wanted](data, noise, c)
