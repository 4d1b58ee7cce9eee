"""Makes one clip from its seed: scene, stage, camera, film and sound, a random stream each.

The same seed gives the same clip in any process, and a change to one part leaves the streams of
the others alone. Where clips go and how many workers make them is `simulate.py`'s concern.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.signals import Frames
from foleyflow.simulation.contacts import ContactLog
from foleyflow.simulation.picture.camera import draw_shot
from foleyflow.simulation.picture.frame_exposure import (
    Exposure,
    draw_exposure,
    rendered_size,
    sample_image_style,
    shoot,
)
from foleyflow.simulation.picture.h264 import Compression, draw_compression
from foleyflow.simulation.picture.render import Canvas
from foleyflow.simulation.picture.stage import dress
from foleyflow.simulation.scene import Scene
from foleyflow.simulation.sound.room import random_room
from foleyflow.simulation.sound.synthesis import synthesise

DrawScene = Callable[[np.random.Generator, float], Scene]
PARTS = ("scene", "stage", "render", "develop", "sound", "store")
SHADOW_SHARE = 0.15  # of clips


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the camera delivers.

    Attributes:
        width: pixels.
        height: pixels.
        squashed: whether any shape of picture is squashed into width x height, as nets see it;
            otherwise pixels are square.
        rate: frames per second; None draws rate, shutter and flaws.
        detail: multiplies texture sizes, 1 for small pictures.
        clean: a good camera and fine compression.
        shadows: whether light casts shadows; None draws it.
        samples: renders per frame (motion blur); None draws it.
    """

    width: int = 112
    height: int = 112
    squashed: bool = True
    rate: Fraction | None = None
    detail: int = 1
    clean: bool = False
    shadows: bool | None = None
    samples: int | None = None


@dataclass(frozen=True, kw_only=True)
class FilmedClip:
    """A clip before it is stored.

    Attributes:
        kind: the family of its scene.
        frames: developed, with time stamps.
        exposure: how they were taken.
        compression: how they should be stored.
        sound: (N,) float32.
        sound_bits: 16 or 24.
        log: what sounds.
    """

    kind: str
    frames: Frames
    exposure: Exposure
    compression: Compression
    sound: NDArray[np.float32]
    sound_bits: int
    log: ContactLog


@dataclass
class Stopwatch:
    """Where this process's processor time goes, seconds by part; grows as clips are made."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    _since: float = field(default_factory=time.process_time)

    def start(self) -> None:
        """Forget the time until now."""
        self._since = time.process_time()

    def lap(self, part: str) -> None:
        """Give the time since the last lap to a part."""
        now = time.process_time()
        self.seconds[part] += now - self._since
        self._since = now


def film_clip(
    seed: np.random.SeedSequence,
    *,
    draw_scene: DrawScene,
    duration_s: float = 4.0,
    picture: Picture | None = None,
    stopwatch: Stopwatch | None = None,
) -> FilmedClip:
    """Make a clip: build a scene, film it and let it sound.

    Args:
        seed: all of the clip's chance.
        draw_scene: a family, or a choice among families.
        duration_s: seconds.
        picture: size and quality; None for the small, varied pictures that nets are trained on.
        stopwatch: told how long each part took.

    Source: ours.
    """
    picture = picture or Picture()
    watch = stopwatch or Stopwatch()
    watch.start()
    for_scene, for_stage, for_camera, for_film, for_sound = (
        np.random.default_rng(child) for child in seed.spawn(5)
    )
    scene = draw_scene(for_scene, duration_s)
    watch.lap("scene")
    shot = draw_shot(
        scene, for_camera, aspect=None if picture.squashed else picture.width / picture.height
    )
    shadows = bool(for_stage.random() < SHADOW_SHARE)
    if picture.shadows is not None:
        shadows = picture.shadows
    exposure = draw_exposure(
        for_film, duration_s=duration_s, rate=picture.rate, samples=picture.samples
    )
    if shadows and picture.samples is None:  # they are slow to render
        exposure = replace(exposure, samples=min(exposure.samples, 2))
    look = sample_image_style(for_film, samples=exposure.samples, clean=picture.clean)
    compression = draw_compression(for_film, size=picture.height)
    if picture.clean:
        compression = Compression(crf=20, preset="medium", b_frames=2)
    width, height = rendered_size(look, width=picture.width, height=picture.height)
    dress(
        scene,
        shot,
        for_stage,
        picture_px=max(width, height),
        detail=picture.detail,
        shadows=shadows,
    )
    watch.lap("stage")
    model = scene.spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    performance = scene.play(model)
    watch.lap("scene")
    with Canvas(model, width=width, height=height, aspect=shot.aspect, shadows=shadows) as canvas:

        def render_(
            time_s: float, shift_px: tuple[float, float], pixels: NDArray[np.uint8]
        ) -> None:
            watch.lap("develop")
            performance.pose(data, time_s)
            canvas.draw_(data, shot.at(time_s), pixels, shift_px=shift_px)
            watch.lap("render")

        frames = shoot(
            render_,
            exposure,
            look,
            for_film,
            duration_s=duration_s,
            width=picture.width,
            height=picture.height,
        )
    watch.lap("develop")
    sound = synthesise(
        performance.log,
        duration_s=duration_s,
        rng=for_sound,
        reverberation=random_room(for_sound) if for_sound.random() < 0.8 else None,
        ambience_db=float(for_sound.uniform(-65.0, -35.0)) if for_sound.random() < 0.4 else None,
    )
    watch.lap("sound")
    return FilmedClip(
        kind=scene.kind,
        frames=frames,
        exposure=exposure,
        compression=compression,
        sound=sound,
        sound_bits=int(for_sound.choice([16, 24], p=[0.8, 0.2])),
        log=performance.log,
    )
