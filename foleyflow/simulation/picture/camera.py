"""The camera of a clip: its position, orientation and field of view as functions of time.

A `Shot` is a tripod shot, a hand-held one with shake, or a slow pan with zoom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foleyflow.simulation.scene import Scene

Vector = NDArray[np.float64]
ASPECTS = (4 / 3, 16 / 9, 1.0, 9 / 16)
ASPECT_PROBABILITIES = (0.35, 0.45, 0.08, 0.12)


@dataclass(frozen=True, kw_only=True)
class CameraPose:
    """The camera at one time.

    Attributes:
        position_m: (3,).
        rotation: (3, 3), columns right, up, back (MuJoCo cameras look along -z).
        fovy_deg: vertical field of view.
    """

    position_m: Vector
    rotation: Vector
    fovy_deg: float


@dataclass(frozen=True, kw_only=True)
class Wobble:
    """A smooth random function of time: a sum of K sines in each of D dimensions.

    Attributes:
        frequency_hz: (K,).
        phase: (D, K) radians.
        amplitude: (D, K).
    """

    frequency_hz: Vector
    phase: Vector
    amplitude: Vector

    def __call__(self, time_s: float) -> Vector:
        """Return the value at one time, (D,)."""
        angle = 2.0 * np.pi * self.frequency_hz * time_s
        value: Vector = (self.amplitude * np.sin(angle + self.phase)).sum(axis=1)
        return value


def sample_wobble(
    rng: np.random.Generator, rms: tuple[float, ...], *, low_hz: float, high_hz: float
) -> Wobble:
    """Sample sines of low_hz..high_hz, weaker with frequency, with this RMS in each dimension."""
    frequency_hz = np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), 8))
    weight = rng.uniform(0.3, 1.0, (len(rms), 8)) / frequency_hz**0.8
    weight *= np.sqrt(2.0 / (weight**2).sum(axis=1, keepdims=True))
    return Wobble(
        frequency_hz=frequency_hz,
        phase=rng.uniform(0.0, 2.0 * np.pi, (len(rms), 8)),
        amplitude=weight * np.array(rms)[:, None],
    )


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How the camera frames a clip.

    Attributes:
        motion: "tripod", "hand" or "pan".
        aspect: width over height of the view.
        fovy_deg: vertical field of view at the start.
        distance_m: from the camera to the point it looks at.
        target_m: the point it looks at.
        azimuth_deg: direction of view, as in MuJoCo's free camera.
        elevation_deg: negative looks down.
        roll_deg: rotation about the optical axis.
        wobble: hand tremor: yaw, pitch, roll in degrees, then x, y, z in metres; None for none.
        pan_deg: (yaw, pitch) covered over the clip.
        zoom: field of view at the end over that at the start.
        duration_s: duration of pan and zoom.
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
        """Return the camera at a time in seconds from the start of the clip."""
        tremor = self.wobble(time_s) if self.wobble else np.zeros(6)
        progress = min(max(time_s / self.duration_s, 0.0), 1.0)
        eased = progress * progress * (3.0 - 2.0 * progress)
        view = view_direction(self.azimuth_deg, self.elevation_deg)
        yaw = self.azimuth_deg + self.pan_deg[0] * (eased - 0.5) + tremor[0]
        pitch = self.elevation_deg + self.pan_deg[1] * (eased - 0.5) + tremor[1]
        return CameraPose(
            position_m=np.array(self.target_m) - self.distance_m * view + tremor[3:],
            rotation=_camera_axes(yaw, pitch, self.roll_deg + tremor[2]),
            fovy_deg=self.fovy_deg * self.zoom**eased,
        )


def sample_shot(scene: Scene, rng: np.random.Generator, *, aspect: float | None = None) -> Shot:
    """Sample a shot that shows the action of a scene; `aspect` None samples the aspect too."""
    sampled_aspect = float(rng.choice(ASPECTS, p=ASPECT_PROBABILITIES))
    aspect = sampled_aspect if aspect is None else aspect
    # Distance: the scene's extent fills a random fraction of the picture's smaller side
    fovy_deg = float(rng.triangular(20.0, 42.0, 75.0))
    half_deg = np.degrees(np.arctan(np.tan(np.radians(fovy_deg / 2)) * min(aspect, 1.0)))
    fill = float(np.exp(rng.uniform(np.log(0.4), np.log(1.05))))
    distance_m = scene.extent_m / float(np.tan(np.radians(half_deg))) * fill
    distance_m = max(distance_m, 0.8 * scene.extent_m)
    offset = rng.uniform(-0.32, 0.32, 3) * scene.extent_m * (1.0, 1.0, 0.7)
    x, y, z = (np.array(scene.focus_m) + offset).tolist()
    # Camera motion
    motion = str(rng.choice(["tripod", "hand", "pan"], p=[0.5, 0.4, 0.1]))
    shake_deg = float(np.exp(rng.uniform(np.log(0.08), np.log(0.9)))) * fovy_deg / 45.0
    sway_m = 0.004 * distance_m * float(rng.uniform(0.2, 2.0))
    rms = (shake_deg, shake_deg, 0.5 * shake_deg, sway_m, sway_m, sway_m)
    wobble = sample_wobble(rng, rms, low_hz=0.5, high_hz=6.0)  # tremor and sway of a hand
    pan_yaw, pan_pitch = (rng.normal(0.0, 0.16, 2) * fovy_deg).tolist()
    zoom = float(np.exp(rng.normal(0.0, 0.2)))
    return Shot(
        motion=motion,
        aspect=aspect,
        fovy_deg=fovy_deg,
        distance_m=distance_m,
        target_m=(x, y, z),
        azimuth_deg=float(rng.uniform(*scene.azimuth_deg)),
        elevation_deg=float(rng.uniform(*scene.elevation_deg)),
        roll_deg=float(np.clip(rng.normal(0.0, 3.0), -8.0, 8.0)),
        wobble=wobble if motion != "tripod" else None,
        pan_deg=(pan_yaw, pan_pitch) if motion == "pan" else (0.0, 0.0),
        zoom=zoom if motion == "pan" else 1.0,
        duration_s=scene.duration_s,
    )


def view_direction(azimuth_deg: float, elevation_deg: float) -> Vector:
    """Return the unit vector of view of MuJoCo's free camera.

    Azimuth 0 looks along +x, 90 along +y; a negative elevation looks down.

    Reference: mujoco, mjv_cameraFrame (free camera).
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    horizontal = math.cos(elevation)
    return np.array(
        [horizontal * math.cos(azimuth), horizontal * math.sin(azimuth), math.sin(elevation)]
    )


def _camera_axes(azimuth_deg: float, elevation_deg: float, roll_deg: float) -> Vector:
    """Right, up and back of a camera, as columns."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    roll = math.radians(roll_deg)
    back = -view_direction(azimuth_deg, elevation_deg)
    level = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
    tilt = -math.sin(elevation)
    upward = np.array([tilt * math.cos(azimuth), tilt * math.sin(azimuth), math.cos(elevation)])
    right = math.cos(roll) * level + math.sin(roll) * upward
    up = math.cos(roll) * upward - math.sin(roll) * level
    return np.stack([right, up, back], axis=1)
