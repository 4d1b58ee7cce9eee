"""Dresses a scene for the camera: materials, surroundings, clutter and light.

Only what is seen is added: no part that is put here collides, moves or sounds. Which way the
camera looks is given (`Shot`), so that what is put behind the action never hides it.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import DataError
from foleyflow.simulation.materials import DULL, MATERIALS, Finish
from foleyflow.simulation.picture import textures
from foleyflow.simulation.picture.camera import Shot, forward
from foleyflow.simulation.scene import Scene

CAMERA = "film_camera"
CLUTTER_LOOKS = ("wood", "metal", "ceramic", "plastic", "cardboard", "cloth", "leaf", "stone")


# Finishes of looks that are not materials; any other look is `DULL`.
FINISHES = {"skin": Finish(specular=(0.0, 0.25), shininess=(0.1, 0.4))}


def dress(
    scene: Scene,
    shot: Shot,
    rng: np.random.Generator,
    *,
    picture_px: int = 160,
    detail: int = 1,
    shadows: bool = False,
) -> None:
    """Add all that is only seen to `scene.spec`, which changes in place.

    Args:
        scene: a world as its family left it.
        shot: from where it will be filmed.
        rng: the clip's random stream.
        picture_px: the longest side that will be rendered, pixels.
        detail: multiplies the size of the textures.
        shadows: whether one light casts shadows.

    Raises:
        DataError: a geom's look is unknown.

    Source: ours (domain randomisation: Tobin et al. 2017, arXiv:1703.06907).
    """
    spec = scene.spec
    spec.visual.global_.offwidth = picture_px
    spec.visual.global_.offheight = picture_px
    spec.visual.quality.offsamples = 0  # multisampling costs more than rendering larger
    spec.visual.quality.shadowsize = 160 if detail == 1 else 2048
    spec.visual.map.shadowclip = 1.0 if detail == 1 else 3.0  # small: sharp; large: no moire
    if detail == 1:
        spec.visual.quality.numslices = 14
        spec.visual.quality.numstacks = 8
    spec.stat.extent = scene.extent_m
    spec.stat.center = scene.focus_m
    spec.visual.map.znear = 0.02
    spec.visual.map.zfar = 60.0
    paint = _Painter(spec, rng, 128 * detail)
    _paint_scene(scene, paint, rng)
    sky = textures.surroundings(rng, size=128 * detail)
    sky_kind = mujoco.mjtTexture.mjTEXTURE_SKYBOX
    paint.texture("surroundings", sky.reshape(-1, sky.shape[2], 3), sky_kind)
    if rng.random() < 0.6:
        _background(scene, shot, paint, rng)
    _lights(scene, rng, shadows)
    spec.worldbody.add_camera(name=CAMERA, pos=scene.focus_m, fovy=shot.fovy_deg)


def texture_name(look: str) -> str:
    """The key of `textures.LOOKS` for a look: a material's texture, otherwise the look itself."""
    return MATERIALS[look].texture if look in MATERIALS else look


class _Painter:
    """Makes materials, a texture each, in one spec."""

    def __init__(self, spec: mujoco.MjSpec, rng: np.random.Generator, size: int) -> None:
        self.spec = spec
        self.rng = rng
        self.size = size
        self.count = 0

    def texture(self, name: str, picture: NDArray[np.uint8], kind: mujoco.mjtTexture) -> None:
        height, width = picture.shape[:2]
        texture = self.spec.add_texture(name=name, type=kind, width=width, height=height)
        texture.nchannel = 3
        texture.data = np.ascontiguousarray(picture).tobytes()

    def material(self, look: str, *, flat: bool = False) -> str:
        """A new material of this look; `flat` repeats it over a plane."""
        rng = self.rng
        name = f"dress_{self.count}"
        self.count += 1
        picture = textures.surface(texture_name(look), rng, size=self.size)
        kind = mujoco.mjtTexture.mjTEXTURE_2D if flat else mujoco.mjtTexture.mjTEXTURE_CUBE
        self.texture(name, picture, kind)
        finish = MATERIALS[look].finish if look in MATERIALS else FINISHES.get(look, DULL)
        material = self.spec.add_material(name=name)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        material.specular = rng.uniform(*finish.specular)
        material.shininess = rng.uniform(*finish.shininess)
        material.rgba = [1.0, 1.0, 1.0, rng.uniform(*finish.alpha)]
        if flat:
            material.texuniform = True
            repeat = float(np.exp(rng.uniform(np.log(0.5), np.log(4.0))))
            material.texrepeat = [repeat, repeat]
        return name


def _paint_scene(scene: Scene, paint: _Painter, rng: np.random.Generator) -> None:
    """Give every geom of the scene its material; one body's geoms of one look share one."""
    made: dict[tuple[str, str, bool], str] = {}
    for geom in scene.spec.geoms:
        look = scene.looks.get(geom.name)
        if look is None:
            continue
        if texture_name(look) not in textures.LOOKS:
            known = ", ".join([*textures.LOOKS, *(m for m in MATERIALS if m not in textures.LOOKS)])
            raise DataError(
                f"geom {geom.name!r} has the unknown look {look!r}", hint=f"known looks: {known}"
            )
        flat = _is_flat(geom, scene.extent_m)
        owner = "everywhere" if look in ("skin", "cloth") else geom.parent.name
        key = (owner, look, flat)
        if key not in made:
            made[key] = paint.material(look, flat=flat)
            if flat:
                repeat = float(np.exp(rng.uniform(np.log(0.3), np.log(2.0)))) / scene.extent_m
                scene.spec.material(made[key]).texrepeat = [repeat, repeat]
        geom.material = made[key]
        geom.rgba = [0.5, 0.5, 0.5, 1.0]  # MuJoCo's "not set": the material's colour is used


def _is_flat(geom: mujoco.MjsGeom, extent_m: float) -> bool:
    """Whether a picture is laid over it again and again, instead of once around it."""
    if geom.type == mujoco.mjtGeom.mjGEOM_PLANE:
        return True
    wide, deep, high = geom.size
    lies = geom.type == mujoco.mjtGeom.mjGEOM_BOX and min(wide, deep) > 3.0 * high
    return bool(lies and min(wide, deep) > 1.2 * extent_m)


def _background(scene: Scene, shot: Shot, paint: _Painter, rng: np.random.Generator) -> None:
    """A wall behind the action and things before it."""
    ahead = forward(shot.azimuth_deg, 0.0)
    aside = np.array([-ahead[1], ahead[0], 0.0])
    reach = scene.extent_m
    focus = np.array(scene.focus_m)
    depth = reach * float(rng.uniform(1.6, 5.0))
    world = scene.spec.worldbody
    if rng.random() < 0.75:
        turn = shot.azimuth_deg + rng.uniform(-35.0, 35.0)
        facing = -forward(turn, 0.0)
        wall = world.add_geom(
            name="backdrop_wall",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[30.0 * reach, 30.0 * reach, 1.0],
            pos=focus + ahead * depth,
            zaxis=facing,
            contype=0,
            conaffinity=0,
        )
        wall.material = paint.material("wall", flat=True)
        repeat = float(np.exp(rng.uniform(np.log(0.15), np.log(1.0)))) / reach
        scene.spec.material(wall.material).texrepeat = [repeat, repeat]
    skins = [paint.material(str(rng.choice(CLUTTER_LOOKS))) for _ in range(int(rng.integers(1, 4)))]
    kinds = (
        mujoco.mjtGeom.mjGEOM_BOX,
        mujoco.mjtGeom.mjGEOM_CYLINDER,
        mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    )
    for number in range(int(rng.integers(0, 9))):
        size = reach * np.exp(rng.uniform(np.log(0.05), np.log(0.7), 3))
        behind = reach * 1.25 + float(size.max()) + rng.uniform(0.0, 1.0) * depth * 0.6
        place = focus + ahead * behind + aside * rng.uniform(-2.0, 2.0) * reach
        place[2] = focus[2] + reach * rng.uniform(-0.6, 0.9)
        world.add_geom(
            name=f"backdrop_{number}",
            type=kinds[int(rng.integers(3))],
            size=size,
            pos=place,
            quat=_upright_turn(rng),
            material=skins[number % len(skins)],
            contype=0,
            conaffinity=0,
        )


def _upright_turn(rng: np.random.Generator) -> list[float]:
    """A quaternion: mostly turned about the vertical, at times tumbled."""
    if rng.random() < 0.7:
        half = rng.uniform(0.0, np.pi)
        return [float(np.cos(half)), 0.0, 0.0, float(np.sin(half))]
    tumbled = rng.normal(size=4)
    return list(tumbled / np.linalg.norm(tumbled))


def _lights(scene: Scene, rng: np.random.Generator, shadowed: bool) -> None:
    """One to three lamps and the light that comes from everywhere."""
    spec = scene.spec
    headlight = spec.visual.headlight
    headlight.ambient = _tint(rng, rng.uniform(0.15, 0.5))
    headlight.diffuse = _tint(rng, rng.uniform(0.0, 0.4))
    headlight.specular = _tint(rng, rng.uniform(0.0, 0.3))
    focus = np.array(scene.focus_m)
    for number in range(int(rng.integers(1, 4))):
        height = np.radians(rng.uniform(25.0, 85.0))
        around = rng.uniform(0.0, 2.0 * np.pi)
        towards = np.array(
            [np.cos(height) * np.cos(around), np.cos(height) * np.sin(around), np.sin(height)]
        )
        brightness = rng.uniform(0.4, 0.9) if number == 0 else rng.uniform(0.05, 0.4)
        spec.worldbody.add_light(
            name=f"lamp_{number}",
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=focus + towards * scene.extent_m * rng.uniform(2.0, 6.0),
            dir=-towards,
            diffuse=_tint(rng, brightness),
            specular=_tint(rng, rng.uniform(0.0, 0.6)),
            ambient=[0.0, 0.0, 0.0],
            castshadow=shadowed and number == 0,
        )


def _tint(rng: np.random.Generator, brightness: float) -> list[float]:
    """Almost white light of this brightness."""
    return list(brightness * np.clip(1.0 + rng.normal(0.0, 0.08, 3), 0.6, 1.4))
