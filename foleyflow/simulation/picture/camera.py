"""The camera: where it stands, what it sees, and how it moves while it films.

A `Shot` is a pure function of time: tripod, hand-held shake, or slow pan and zoom. It draws no
picture and does not know the model; `render.py` asks it for a pose at every moment it renders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.scene import Scene

Vector = NDArray[np.float64]
ASPECTS = (4 / 3, 16 / 9, 1.0, 9 / 16)
ASPECT_ODDS = (0.35, 0.45, 0.08, 0.12)


@dataclass(frozen=True, kw_only=True)
class CameraPose:
    """The camera at one moment.

    Attributes:
        position_m: (3,) where it is.
        rotation: (3, 3) columns right, up, back (MuJoCo cameras look along -z).
        fovy_deg: vertical field of view.
    """

    position_m: Vector
    rotation: Vector
    fovy_deg: float


@dataclass(frozen=True, kw_only=True)
class Wobble:
    """A smooth random function of time: a sum of sines.

    Attributes:
        frequency_hz: (K,).
        phase: (D, K) radians.
        amplitude: (D, K), each dimension with root mean square `scale`.
    """

    frequency_hz: Vector
    phase: Vector
    amplitude: Vector

    def __call__(self, time_s: float) -> Vector:
        """Value at one moment, (D,)."""
        turn = 2.0 * np.pi * self.frequency_hz * time_s
        value: Vector = (self.amplitude * np.sin(turn + self.phase)).sum(axis=1)
        return value


def draw_wobble(
    rng: np.random.Generator, scales: tuple[float, ...], *, low_hz: float, high_hz: float
) -> Wobble:
    """Draw a smooth random function of time.

    Args:
        rng: the clip's random stream.
        scales: the root mean square of each dimension.
        low_hz: slowest sine.
        high_hz: fastest sine.

    Source: ours (hand tremor and sway lie between 0.5 and 6 Hz, falling with frequency).
    """
    frequency_hz = np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), 8))
    weight = rng.uniform(0.3, 1.0, (len(scales), 8)) / frequency_hz**0.8
    weight *= np.sqrt(2.0 / (weight**2).sum(axis=1, keepdims=True))
    return Wobble(
        frequency_hz=frequency_hz,
        phase=rng.uniform(0.0, 2.0 * np.pi, (len(scales), 8)),
        amplitude=weight * np.array(scales)[:, None],
    )


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How a clip is framed.

    Attributes:
        motion: "tripod", "hand" or "pan".
        aspect: width over height of the picture before it is squashed.
        fovy_deg: vertical field of view at the start.
        distance_m: from the camera to the point it looks at.
        target_m: (3,) the point it looks at.
        azimuth_deg: direction of view, as in MuJoCo's free camera.
        elevation_deg: negative looks down.
        roll_deg: turn about the optical axis.
        wobble: hand tremor: yaw, pitch, roll in degrees, then x, y, z in metres; None for none.
        pan_deg: (yaw, pitch) covered over the clip.
        zoom: field of view at the end over that at the start.
        duration_s: over which pan and zoom run.
    """

    motion: str
    aspect: float
    fovy_deg: float
    distance_m: float
    target_m: tuple[float, float, float]
    azimuth_deg: float
    elevation_deg: float
    roll_deg: float
    wobble: Wobble | None
    pan_deg: tuple[float, float]
    zoom: float
    duration_s: float

    def at(self, time_s: float) -> CameraPose:
        """The camera at one moment.

        Args:
            time_s: seconds on the clip's clock.

        Source: ours.
        """
        tremor = self.wobble(time_s) if self.wobble else np.zeros(6)
        progress = min(max(time_s / self.duration_s, 0.0), 1.0)
        eased = progress * progress * (3.0 - 2.0 * progress)
        stand = np.array(self.target_m) - self.distance_m * forward(
            self.azimuth_deg, self.elevation_deg
        )
        yaw = self.azimuth_deg + self.pan_deg[0] * (eased - 0.5) + tremor[0]
        pitch = self.elevation_deg + self.pan_deg[1] * (eased - 0.5) + tremor[1]
        return CameraPose(
            position_m=stand + tremor[3:],
            rotation=_axes(yaw, pitch, self.roll_deg + tremor[2]),
            fovy_deg=self.fovy_deg * self.zoom**eased,
        )


def draw_shot(scene: Scene, rng: np.random.Generator, *, aspect: float | None = None) -> Shot:
    """Choose how to film a scene.

    Args:
        scene: says where the action is and from where it can be seen.
        rng: the clip's random stream.
        aspect: width over height; None draws one.

    Source: ours.
    """
    drawn_aspect = float(rng.choice(ASPECTS, p=ASPECT_ODDS))
    aspect = drawn_aspect if aspect is None else aspect
    fovy_deg = float(rng.triangular(20.0, 42.0, 75.0))
    half_deg = np.degrees(np.arctan(np.tan(np.radians(fovy_deg / 2)) * min(aspect, 1.0)))
    fill = float(np.exp(rng.uniform(np.log(0.4), np.log(1.05))))
    distance_m = scene.extent_m / float(np.tan(np.radians(half_deg))) * fill
    distance_m = max(distance_m, 0.8 * scene.extent_m)
    aside = rng.uniform(-0.32, 0.32, 3) * scene.extent_m * (1.0, 1.0, 0.7)
    motion = str(rng.choice(["tripod", "hand", "pan"], p=[0.5, 0.4, 0.1]))
    shake_deg = float(np.exp(rng.uniform(np.log(0.08), np.log(0.9)))) * fovy_deg / 45.0
    sway_m = 0.004 * distance_m * float(rng.uniform(0.2, 2.0))
    scales = (shake_deg, shake_deg, 0.5 * shake_deg, sway_m, sway_m, sway_m)
    wobble = draw_wobble(rng, scales, low_hz=0.5, high_hz=6.0)
    pan_deg = tuple(float(turn) for turn in rng.normal(0.0, 0.16, 2) * fovy_deg)
    zoom = float(np.exp(rng.normal(0.0, 0.2)))
    return Shot(
        motion=motion,
        aspect=aspect,
        fovy_deg=fovy_deg,
        distance_m=distance_m,
        target_m=(
            scene.focus_m[0] + float(aside[0]),
            scene.focus_m[1] + float(aside[1]),
            scene.focus_m[2] + float(aside[2]),
        ),
        azimuth_deg=float(rng.uniform(*scene.azimuth_deg)),
        elevation_deg=float(rng.uniform(*scene.elevation_deg)),
        roll_deg=float(np.clip(rng.normal(0.0, 3.0), -8.0, 8.0)),
        wobble=wobble if motion != "tripod" else None,
        pan_deg=(pan_deg[0], pan_deg[1]) if motion == "pan" else (0.0, 0.0),
        zoom=zoom if motion == "pan" else 1.0,
        duration_s=scene.duration_s,
    )


def forward(azimuth_deg: float, elevation_deg: float) -> Vector:
    """Unit vector of view of MuJoCo's free camera.

    Args:
        azimuth_deg: 0 looks along +x, 90 along +y.
        elevation_deg: negative looks down.

    Source: mujoco, mjv_cameraFrame (free camera).
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])


def _axes(azimuth_deg: float, elevation_deg: float, roll_deg: float) -> Vector:
    """Right, up and back of a camera, as columns."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    roll = math.radians(roll_deg)
    back = -forward(azimuth_deg, elevation_deg)
    level = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
    upward = np.array(
        [
            -math.sin(elevation) * math.cos(azimuth),
            -math.sin(elevation) * math.sin(azimuth),
            math.cos(elevation),
        ]
    )
    right = math.cos(roll) * level + math.sin(roll) * upward
    up = math.cos(roll) * upward - math.sin(roll) * level
    return np.stack([right, up, back], axis=1)
