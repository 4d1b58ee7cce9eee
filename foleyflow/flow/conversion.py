"""One prediction in four languages: velocity, score, noise and data at a point of a path.

A network may predict any of the four; at a known point x_tau each says the same. Every conversion
goes through the two ends of the path (data and noise), so that there are eight formulas and not
twelve. Where a path degenerates (no noise at tau = 0, no data at tau = 1 of linear and gvp) some
conversions divide by zero and give inf or nan; velocity to data and noise never does on the linear
and gvp paths.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from foleyflow.flow.path import PATHS, Coefficients

Ends = tuple[Tensor, Tensor]  # data, noise


def _ends_of_velocity(value: Tensor, x: Tensor, c: Coefficients) -> Ends:
    determinant = c.alpha * c.sigma_dot - c.alpha_dot * c.sigma
    data = (c.sigma_dot * x - c.sigma * value) / determinant
    return data, (c.alpha * value - c.alpha_dot * x) / determinant


def _ends_of_score(value: Tensor, x: Tensor, c: Coefficients) -> Ends:
    return _ends_of_noise(-c.sigma * value, x, c)


def _ends_of_noise(value: Tensor, x: Tensor, c: Coefficients) -> Ends:
    return (x - c.sigma * value) / c.alpha, value


def _ends_of_data(value: Tensor, x: Tensor, c: Coefficients) -> Ends:
    return value, (x - c.alpha * value) / c.sigma


TO_ENDS: dict[str, Callable[[Tensor, Tensor, Coefficients], Ends]] = {
    "velocity": _ends_of_velocity,
    "score": _ends_of_score,
    "noise": _ends_of_noise,
    "data": _ends_of_data,
}
FROM_ENDS: dict[str, Callable[[Tensor, Tensor, Coefficients], Tensor]] = {
    "velocity": lambda data, noise, c: c.alpha_dot * data + c.sigma_dot * noise,
    "score": lambda data, noise, c: -noise / c.sigma,
    "noise": lambda data, noise, c: noise,
    "data": lambda data, noise, c: data,
}


def convert(
    value: Tensor, x: Tensor, tau: Tensor, *, given: str, wanted: str, path: str = "linear"
) -> Tensor:
    """The same prediction as another quantity.

    Exact for the quantities of one pair (audio, noise) and, since all four are affine in each
    other at a fixed x_tau, for their expectations given x_tau: marginal velocity, score of the
    marginal density, expected noise and expected data.

    Args:
        value: (B, L, C), the quantity `given` at x.
        x: (B, L, C), the point x_tau.
        tau: (B,) flow times in 0..1.
        given: a key of `TO_ENDS`: "velocity", "score", "noise" or "data".
        wanted: the same.
        path: a key of `path.PATHS`.

    Returns:
        (B, L, C), the quantity `wanted`; not finite where the path does not determine it.

    Raises:
        ValueError: an unknown quantity.

    Source: paper eq. 2; the formulas of SiT (Ma et al. 2024), appendix A.
    """
    for name in (given, wanted):
        if name not in TO_ENDS:
            raise ValueError(f"quantity {name!r}: expected one of {', '.join(TO_ENDS)}")
    c = PATHS[path](tau[:, None, None])
    data, noise = TO_ENDS[given](value, x, c)
    return FROM_ENDS[wanted](data, noise, c)
