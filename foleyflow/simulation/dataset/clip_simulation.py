"""Simulation of one clip from its seed: scene, camera, frames and sound.

Each part has its own random stream, so a change to one part leaves the others as they were, and
the sound is the same without a video. The same seed gives the same clip in any process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.signals import Frames
from foleyflow.simulation.constants import FRAME_SIZE_PX
from foleyflow.simulation.contacts import ContactLog
from foleyflow.simulation.picture.camera import sample_shot
from foleyflow.simulation.picture.frame_exposure import (
    Exposure,
    record_frames,
    rendered_size,
    sample_exposure,
    sample_image_style,
)
from foleyflow.simulation.picture.h264 import Compression, encode, sample_compression
from foleyflow.simulation.picture.render import SceneRenderer
from foleyflow.simulation.picture.stage import decorate_scene
from foleyflow.simulation.scene import Scene, SceneMotion
from foleyflow.simulation.sound.room import sample_room
from foleyflow.simulation.sound.synthesis import SynthesisedSound, synthesise
from foleyflow.system.stopwatch import Stopwatch

SceneSampler = Callable[[np.random.Generator, float], Scene]
PARTS = ("scene", "stage", "render", "develop", "sound", "store")
SHADOW_FRACTION = 0.15  # of all clips


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """Size and quality of the video of a clip.

    Attributes:
        width, height: pixels.
        squashed: whether a view of any aspect is squashed into width x height, as encoders
            receive it; otherwise pixels are square.
        rate: frames per second; None samples rate, shutter and clock faults.
        texture_scale: multiplies the size of the textures; 1 for small frames.
        clean: a good camera and weak compression.
        shadows: whether lights cast shadows; None samples it.
        samples: renders per frame (motion blur); None samples it.
    """

    width: int = FRAME_SIZE_PX
    height: int = FRAME_SIZE_PX
    squashed: bool = True
    rate: Fraction | None = None
    texture_scale: int = 1
    clean: bool = False
    shadows: bool | None = None
    samples: int | None = None


@dataclass(frozen=True, kw_only=True)
class SimulatedVideo:
    """The frames of a clip before they are stored."""

    frames: Frames
    exposure: Exposure
    compression: Compression

    def encode(self) -> bytes:
        """Return the frames as an mp4 file."""
        exposure = self.exposure
        return encode(
            self.frames.pixels, exposure.ticks, exposure.rate, compression=self.compression
        )


@dataclass(frozen=True, kw_only=True)
class SimulatedClip:
    """A clip before it is stored.

    Attributes:
        kind: family of its scene.
        log: all contacts that make sound.
        sound_bits: 16 or 24.
        video: None if only the sound was simulated.
    """

    kind: str
    duration_s: float
    log: ContactLog
    sound: SynthesisedSound
    sound_bits: int
    video: SimulatedVideo | None


@dataclass(frozen=True, kw_only=True)
class _VideoStreams:
    """The random streams that determine what a video looks like."""

    stage: np.random.Generator
    camera: np.random.Generator
    video: np.random.Generator


def new_stopwatch() -> Stopwatch:
    """Return a stopwatch for the processor time of all `PARTS`."""
    return Stopwatch(seconds=dict.fromkeys(PARTS, 0.0), clock=time.process_time)


def simulate_clip(
    seed: np.random.SeedSequence,
    *,
    sample_scene: SceneSampler,
    duration_s: float = 4.0,
    settings: VideoSettings | None = None,
    audio_only: bool = False,
    stopwatch: Stopwatch | None = None,
) -> SimulatedClip:
    """Build a scene, render its frames and synthesise its sound.

    Args:
        seed: of all random choices of the clip.
        sample_scene: samples the scene from one family or several.
        settings: of the video; None for the small, varied frames that models are trained on.
        audio_only: simulate motion and sound without a video, which needs no OpenGL; the sound is
            the same.
        stopwatch: the duration of each part is added to it.
    """
    watch = stopwatch or new_stopwatch()
    watch.start()
    scene_rng, stage_rng, camera_rng, video_rng, sound_rng = (
        np.random.default_rng(child) for child in seed.spawn(5)
    )
    scene = sample_scene(scene_rng, duration_s)
    watch.lap("scene")

    # Motion, and the video
    video = None
    if audio_only:
        motion = scene.compute_motion(scene.spec.compile())
        watch.lap("scene")
    else:
        streams = _VideoStreams(stage=stage_rng, camera=camera_rng, video=video_rng)
        motion, video = _record_video(scene, settings or VideoSettings(), streams, watch)

    # Sound
    sound = synthesise(
        motion.log,
        duration_s=duration_s,
        rng=sound_rng,
        room=sample_room(sound_rng) if sound_rng.random() < 0.8 else None,
        ambience_db=float(sound_rng.uniform(-65.0, -35.0)) if sound_rng.random() < 0.4 else None,
    )
    watch.lap("sound")
    return SimulatedClip(
        kind=scene.kind,
        duration_s=duration_s,
        log=motion.log,
        sound=sound,
        sound_bits=int(sound_rng.choice([16, 24], p=[0.8, 0.2])),
        video=video,
    )


def _record_video(
    scene: Scene, settings: VideoSettings, streams: _VideoStreams, watch: Stopwatch
) -> tuple[SceneMotion, SimulatedVideo]:
    """Decorate a scene, compute its motion and render its frames."""
    # Camera, frame times, image style and compression
    aspect = None if settings.squashed else settings.width / settings.height
    shot = sample_shot(scene, streams.camera, aspect=aspect)
    shadows = bool(streams.stage.random() < SHADOW_FRACTION)
    if settings.shadows is not None:
        shadows = settings.shadows
    exposure = sample_exposure(
        streams.video, duration_s=scene.duration_s, rate=settings.rate, samples=settings.samples
    )
    if shadows and settings.samples is None:  # shadows are slow to render
        exposure = replace(exposure, samples=min(exposure.samples, 2))
    style = sample_image_style(streams.video, samples=exposure.samples, clean=settings.clean)
    compression = sample_compression(streams.video, height=settings.height)
    if settings.clean:
        compression = Compression(crf=20, preset="medium", b_frames=2)

    # Materials, surroundings and lights
    width, height = rendered_size(style, width=settings.width, height=settings.height)
    decorate_scene(
        scene,
        shot,
        streams.stage,
        picture_px=max(width, height),
        texture_scale=settings.texture_scale,
        shadows=shadows,
    )
    watch.lap("stage")

    # Motion and contacts
    model = scene.spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    motion = scene.compute_motion(model)
    watch.lap("scene")

    # Frames
    with SceneRenderer(
        model, width=width, height=height, aspect=shot.aspect, shadows=shadows
    ) as renderer:

        def render_(
            time_s: float, shift_px: tuple[float, float], pixels: NDArray[np.uint8]
        ) -> None:
            watch.lap("develop")
            motion.pose(data, time_s)
            renderer.render_(data, shot.at(time_s), pixels, shift_px=shift_px)
            watch.lap("render")

        frames = record_frames(
            render_,
            exposure,
            style,
            streams.video,
            duration_s=scene.duration_s,
            width=settings.width,
            height=settings.height,
        )
    watch.lap("develop")
    return motion, SimulatedVideo(frames=frames, exposure=exposure, compression=compression)
