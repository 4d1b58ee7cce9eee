"""Vectors, quaternions and rigid poses as plain tuples: the arithmetic of driven motion.

No arrays and no MuJoCo here: a film asks for thousands of single moments, and for single vectors
plain floats are several times faster than numpy. Quaternions are (w, x, y, z), unit length.
"""

from __future__ import annotations

import math

Vec = tuple[float, float, float]
Quat = tuple[float, float, float, float]
Pose = tuple[Vec, Quat]

ORIGIN: Vec = (0.0, 0.0, 0.0)
UPRIGHT: Quat = (1.0, 0.0, 0.0, 0.0)
IDENTITY: Pose = (ORIGIN, UPRIGHT)


def add(a: Vec, b: Vec) -> Vec:
    """Sum of two vectors."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def subtract(a: Vec, b: Vec) -> Vec:
    """Difference a - b."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def scale(a: Vec, factor: float) -> Vec:
    """A vector times a number."""
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def dot(a: Vec, b: Vec) -> float:
    """Inner product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vec, b: Vec) -> Vec:
    """Cross product a x b."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def length(a: Vec) -> float:
    """Euclidean length."""
    return math.sqrt(dot(a, a))


def unit(a: Vec) -> Vec:
    """The vector of length 1 in the same direction; z for the zero vector."""
    size = length(a)
    return scale(a, 1.0 / size) if size > 1e-12 else (0.0, 0.0, 1.0)


def lerp(a: Vec, b: Vec, share: float) -> Vec:
    """Straight way from a (share 0) to b (share 1)."""
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def multiply(p: Quat, q: Quat) -> Quat:
    """The rotation q, then p."""
    a, b, c, d = p
    e, f, g, h = q
    return (
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    )


def conjugate(q: Quat) -> Quat:
    """The inverse of a unit quaternion."""
    return (q[0], -q[1], -q[2], -q[3])


def rotate(q: Quat, v: Vec) -> Vec:
    """The vector v turned by q."""
    w, x, y, z = q
    tx = 2.0 * (y * v[2] - z * v[1])
    ty = 2.0 * (z * v[0] - x * v[2])
    tz = 2.0 * (x * v[1] - y * v[0])
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )


def about(axis: Vec, angle_rad: float) -> Quat:
    """Rotation about a unit axis."""
    half = 0.5 * angle_rad
    sine = math.sin(half)
    return (math.cos(half), axis[0] * sine, axis[1] * sine, axis[2] * sine)


def aim(direction: Vec) -> Quat:
    """The shortest rotation that turns z into a unit direction."""
    x, y, z = direction
    if z < -0.999999:
        return (0.0, 1.0, 0.0, 0.0)
    w = math.sqrt(0.5 * (1.0 + z))
    return (w, -y * 0.5 / w, x * 0.5 / w, 0.0)


def from_axes(x_axis: Vec, z_axis: Vec) -> Quat:
    """Rotation that turns z into `z_axis` and x into the part of `x_axis` at right angles to it."""
    z = unit(z_axis)
    x = subtract(x_axis, scale(z, dot(x_axis, z)))
    if length(x) < 1e-6:
        x = cross((0.0, 1.0, 0.0), z) if abs(z[1]) < 0.9 else cross((1.0, 0.0, 0.0), z)
    x = unit(x)
    first = aim(z)
    turned = rotate(first, (1.0, 0.0, 0.0))
    angle = math.atan2(dot(cross(turned, x), z), dot(turned, x))
    return multiply(about(z, angle), first)


def blend(p: Quat, q: Quat, share: float) -> Quat:
    """Normalised straight blend of two rotations along the short way."""
    sign = 1.0 if p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3] >= 0 else -1.0
    a, b = 1.0 - share, sign * share
    r = (a * p[0] + b * q[0], a * p[1] + b * q[1], a * p[2] + b * q[2], a * p[3] + b * q[3])
    size = math.sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2] + r[3] * r[3])
    return (r[0] / size, r[1] / size, r[2] / size, r[3] / size)


def compose(outer: Pose, inner: Pose) -> Pose:
    """The pose `inner`, seen from the frame `outer`."""
    return (add(outer[0], rotate(outer[1], inner[0])), multiply(outer[1], inner[1]))


def apply(pose: Pose, point: Vec) -> Vec:
    """A point of the pose's own frame, in the frame around it."""
    return add(pose[0], rotate(pose[1], point))


def turn_about(pivot: Vec, rotation: Quat) -> Pose:
    """The rigid motion that rotates about a fixed point."""
    return (subtract(pivot, rotate(rotation, pivot)), rotation)
