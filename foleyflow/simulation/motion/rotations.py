"""Vectors, unit quaternions (w, x, y, z) and rigid poses as tuples of floats.

Rendering evaluates thousands of single poses. For single vectors, plain floats are several times
faster than numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

Vec = tuple[float, float, float]
Quat = tuple[float, float, float, float]
Pose = tuple[Vec, Quat]

ORIGIN: Vec = (0.0, 0.0, 0.0)
X_AXIS: Vec = (1.0, 0.0, 0.0)
Y_AXIS: Vec = (0.0, 1.0, 0.0)
Z_AXIS: Vec = (0.0, 0.0, 1.0)
NO_ROTATION: Quat = (1.0, 0.0, 0.0, 0.0)
IDENTITY: Pose = (ORIGIN, NO_ROTATION)


def as_vec(values: Iterable[float]) -> Vec:
    """Convert three numbers, for example a numpy array, to a tuple of floats."""
    x, y, z = (float(value) for value in values)
    return (x, y, z)


def add(a: Vec, b: Vec) -> Vec:
    """Return a + b."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def subtract(a: Vec, b: Vec) -> Vec:
    """Return a - b."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def scale(a: Vec, factor: float) -> Vec:
    """Multiply a vector by a number."""
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def _dot(a: Vec, b: Vec) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vec, b: Vec) -> Vec:
    """Return the cross product a x b."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def _norm(a: Vec) -> float:
    return math.sqrt(_dot(a, a))


def unit(a: Vec) -> Vec:
    """Scale a vector to length 1; the zero vector gives the z axis."""
    length = _norm(a)
    return scale(a, 1.0 / length) if length > 1e-12 else Z_AXIS


def lerp(a: Vec, b: Vec, fraction: float) -> Vec:
    """Interpolate linearly from a (fraction 0) to b (fraction 1)."""
    return (
        a[0] + (b[0] - a[0]) * fraction,
        a[1] + (b[1] - a[1]) * fraction,
        a[2] + (b[2] - a[2]) * fraction,
    )


def horizontal(azimuth_rad: float, length: float = 1.0) -> Vec:
    """Return the horizontal vector of a length that points to an azimuth."""
    return (length * math.cos(azimuth_rad), length * math.sin(azimuth_rad), 0.0)


def smooth_step(x: float, height: float = 1.0) -> float:
    """Rise from 0 at x = 0 to `height` at x = 1 with no speed or acceleration at both ends."""
    return height * x * x * x * (10.0 + x * (6.0 * x - 15.0))


def multiply(p: Quat, q: Quat) -> Quat:
    """Return the rotation that applies q, then p."""
    a, b, c, d = p
    e, f, g, h = q
    return (
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    )


def conjugate(q: Quat) -> Quat:
    """Return the inverse rotation."""
    return (q[0], -q[1], -q[2], -q[3])


def rotate(q: Quat, v: Vec) -> Vec:
    """Rotate the vector v by q."""
    w, x, y, z = q
    tx = 2.0 * (y * v[2] - z * v[1])
    ty = 2.0 * (z * v[0] - x * v[2])
    tz = 2.0 * (x * v[1] - y * v[0])
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )


def axis_angle(axis: Vec, angle_rad: float) -> Quat:
    """Return the rotation about a unit axis."""
    half = 0.5 * angle_rad
    sine = math.sin(half)
    return (math.cos(half), axis[0] * sine, axis[1] * sine, axis[2] * sine)


def align_z(direction: Vec) -> Quat:
    """Return the shortest rotation that maps the z axis to a unit direction."""
    x, y, z = direction
    if z < -0.999999:
        return (0.0, 1.0, 0.0, 0.0)
    w = math.sqrt(0.5 * (1.0 + z))
    return (w, -y * 0.5 / w, x * 0.5 / w, 0.0)


def align_axes(x_axis: Vec, z_axis: Vec) -> Quat:
    """Return the rotation that maps z to `z_axis` and x into the half plane of `x_axis`."""
    z = unit(z_axis)
    x = subtract(x_axis, scale(z, _dot(x_axis, z)))
    if _norm(x) < 1e-6:
        x = cross(Y_AXIS, z) if abs(z[1]) < 0.9 else cross(X_AXIS, z)
    x = unit(x)
    aligned = align_z(z)
    turned = rotate(aligned, X_AXIS)
    angle = math.atan2(_dot(cross(turned, x), z), _dot(turned, x))
    return multiply(axis_angle(z, angle), aligned)


def nlerp(p: Quat, q: Quat, fraction: float) -> Quat:
    """Interpolate two rotations along the shorter arc (normalised linear interpolation)."""
    sign = 1.0 if p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3] >= 0 else -1.0
    a, b = 1.0 - fraction, sign * fraction
    r = (a * p[0] + b * q[0], a * p[1] + b * q[1], a * p[2] + b * q[2], a * p[3] + b * q[3])
    size = math.sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2] + r[3] * r[3])
    return (r[0] / size, r[1] / size, r[2] / size, r[3] / size)


def compose(outer: Pose, inner: Pose) -> Pose:
    """Express the pose `inner`, given in the frame `outer`, in the frame around `outer`."""
    return (add(outer[0], rotate(outer[1], inner[0])), multiply(outer[1], inner[1]))


def transform(pose: Pose, point: Vec) -> Vec:
    """Express a point, given in the frame of a pose, in the frame around it."""
    return add(pose[0], rotate(pose[1], point))


def rotation_about(pivot: Vec, rotation: Quat) -> Pose:
    """Return the rigid motion that rotates about a fixed point."""
    return (subtract(pivot, rotate(rotation, pivot)), rotation)
