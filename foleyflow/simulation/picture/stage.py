"""Visible parts of a scene that make no sound: materials, surroundings, clutter and lights.

Nothing added here collides or moves. The direction of the camera (`Shot`) is known, so that objects
in the background never hide the action.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import DataError
from foleyflow.simulation.materials import DULL, MATERIALS, Finish
from foleyflow.simulation.picture import textures
from foleyflow.simulation.picture.camera import Shot, view_direction
from foleyflow.simulation.scene import Scene

CAMERA = "film_camera"
CLUTTER_LOOKS = ("wood", "metal", "ceramic", "plastic", "cardboard", "cloth", "leaf", "stone")
# Finishes of looks that are not materials; any other look is `DULL`.
FINISHES = {"skin": Finish(specular=(0.0, 0.25), shininess=(0.1, 0.4))}


def decorate_scene(
    scene: Scene,
    shot: Shot,
    rng: np.random.Generator,
    *,
    picture_px: int = 160,
    texture_scale: int = 1,
    shadows: bool = False,
) -> None:
    """Add materials, surroundings, lights and the camera to `scene.spec`, which changes in place.

    Domain randomisation. Reference: Tobin et al. 2017, arXiv:1703.06907.

    Args:
        scene: as its family built it.
        shot: determines the background.
        rng: source of all choices.
        picture_px: the longest side that will be rendered, pixels.
        texture_scale: multiplies the size of the textures.
        shadows: whether one light casts shadows.

    Raises:
        DataError: a geom's look is unknown.
    """
    spec = scene.spec
    # Settings of the renderer
    spec.visual.global_.offwidth = picture_px
    spec.visual.global_.offheight = picture_px
    spec.visual.quality.offsamples = 0  # multisampling costs more than rendering larger
    small = texture_scale == 1
    spec.visual.quality.shadowsize = 160 if small else 2048
    spec.visual.map.shadowclip = 1.0 if small else 3.0  # small: sharp; large: no moire
    if small:
        spec.visual.quality.numslices = 14
        spec.visual.quality.numstacks = 8
    spec.stat.extent = scene.extent_m
    spec.stat.center = scene.focus_m
    spec.visual.map.znear = 0.02
    spec.visual.map.zfar = 60.0
    # Materials, surroundings, lights, camera
    size = 128 * texture_scale
    materials = _MaterialFactory(spec, rng, size)
    _assign_materials(scene, materials)
    sky = textures.skybox(rng, size=size)
    sky_kind = mujoco.mjtTexture.mjTEXTURE_SKYBOX
    materials.add_texture("skybox", sky.reshape(-1, size, 3), sky_kind)
    if rng.random() < 0.6:
        _add_background(scene, shot, materials, rng)
    _add_lights(scene, rng, shadows)
    spec.worldbody.add_camera(name=CAMERA, pos=scene.focus_m, fovy=shot.fovy_deg)


def _appearance(look: str) -> tuple[str, Finish]:
    """The key of `textures.LOOKS` and the finish: of the material of that name, if there is one."""
    if look in MATERIALS:
        return MATERIALS[look].texture, MATERIALS[look].finish
    return look, FINISHES.get(look, DULL)


class _MaterialFactory:
    """Adds materials with a texture each to one spec."""

    def __init__(self, spec: mujoco.MjSpec, rng: np.random.Generator, size: int) -> None:
        self.spec = spec
        self.rng = rng
        self.size = size
        self.count = 0

    def add_texture(self, name: str, picture: NDArray[np.uint8], kind: mujoco.mjtTexture) -> None:
        height, width = picture.shape[:2]
        texture = self.spec.add_texture(name=name, type=kind, width=width, height=height)
        texture.nchannel = 3
        texture.data = np.ascontiguousarray(picture).tobytes()

    def add_material(
        self, look: str, kind: mujoco.mjtTexture = mujoco.mjtTexture.mjTEXTURE_CUBE
    ) -> str:
        """Add a material whose texture is wrapped around a geom; return its name."""
        rng = self.rng
        name = f"material_{self.count}"
        self.count += 1
        texture, finish = _appearance(look)
        self.add_texture(name, textures.surface_texture(texture, rng, size=self.size), kind)
        material = self.spec.add_material(name=name)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        material.specular = rng.uniform(*finish.specular)
        material.shininess = rng.uniform(*finish.shininess)
        material.rgba = [1.0, 1.0, 1.0, rng.uniform(*finish.alpha)]
        return name

    def add_tiled_material(self, look: str, low: float, high: float, extent_m: float) -> str:
        """Add a material whose texture is repeated low..high times per extent; return its name."""
        name = self.add_material(look, mujoco.mjtTexture.mjTEXTURE_2D)
        self.rng.uniform()  # unused: a seed must give the same clip as before
        repeat = float(np.exp(self.rng.uniform(np.log(low), np.log(high)))) / extent_m
        material = self.spec.material(name)
        material.texuniform = True
        material.texrepeat = [repeat, repeat]
        return name


def _assign_materials(scene: Scene, materials: _MaterialFactory) -> None:
    """Give every geom its material; geoms of one body with the same look share one."""
    created: dict[tuple[str, str, bool], str] = {}
    for geom in scene.spec.geoms:
        look = scene.looks.get(geom.name)
        if look is None:
            continue
        if _appearance(look)[0] not in textures.LOOKS:
            raise DataError(
                f"geom {geom.name!r} has the unknown look {look!r}",
                hint=f"known looks: {', '.join(dict.fromkeys([*textures.LOOKS, *MATERIALS]))}",
            )
        tiled = _is_tiled(geom, scene.extent_m)
        owner = "everywhere" if look in ("skin", "cloth") else geom.parent.name
        key = (owner, look, tiled)
        if key not in created:
            created[key] = (
                materials.add_tiled_material(look, 0.3, 2.0, scene.extent_m)
                if tiled
                else materials.add_material(look)
            )
        geom.material = created[key]
        geom.rgba = [0.5, 0.5, 0.5, 1.0]  # MuJoCo's "not set": the material's colour is used


def _is_tiled(geom: mujoco.MjsGeom, extent_m: float) -> bool:
    """Whether the texture is repeated over the geom (a floor) instead of wrapped around it."""
    if geom.type == mujoco.mjtGeom.mjGEOM_PLANE:
        return True
    width, depth, height = geom.size
    flat = geom.type == mujoco.mjtGeom.mjGEOM_BOX and min(width, depth) > 3.0 * height
    return bool(flat and min(width, depth) > 1.2 * extent_m)


def _add_background(
    scene: Scene, shot: Shot, materials: _MaterialFactory, rng: np.random.Generator
) -> None:
    """Add a wall behind the action and objects in front of the wall."""
    ahead = view_direction(shot.azimuth_deg, 0.0)
    sideways = np.array([-ahead[1], ahead[0], 0.0])
    extent = scene.extent_m
    focus = np.array(scene.focus_m)
    depth = extent * float(rng.uniform(1.6, 5.0))
    world = scene.spec.worldbody
    # Wall
    if rng.random() < 0.75:
        azimuth_deg = shot.azimuth_deg + rng.uniform(-35.0, 35.0)
        wall = world.add_geom(
            name="backdrop_wall",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[30.0 * extent, 30.0 * extent, 1.0],
            pos=focus + ahead * depth,
            zaxis=-view_direction(azimuth_deg, 0.0),
            contype=0,
            conaffinity=0,
        )
        wall.material = materials.add_tiled_material("wall", 0.15, 1.0, extent)
    # Objects
    skins = [
        materials.add_material(str(rng.choice(CLUTTER_LOOKS))) for _ in range(rng.integers(1, 4))
    ]
    kinds = (
        mujoco.mjtGeom.mjGEOM_BOX,
        mujoco.mjtGeom.mjGEOM_CYLINDER,
        mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    )
    for number in range(rng.integers(0, 9)):
        size = extent * np.exp(rng.uniform(np.log(0.05), np.log(0.7), 3))
        behind = extent * 1.25 + float(size.max()) + rng.uniform(0.0, 1.0) * depth * 0.6
        position = focus + ahead * behind + sideways * rng.uniform(-2.0, 2.0) * extent
        position[2] = focus[2] + extent * rng.uniform(-0.6, 0.9)
        world.add_geom(
            name=f"backdrop_{number}",
            type=kinds[int(rng.integers(3))],
            size=size,
            pos=position,
            quat=_sample_rotation(rng),
            material=skins[number % len(skins)],
            contype=0,
            conaffinity=0,
        )


def _sample_rotation(rng: np.random.Generator) -> list[float]:
    """A quaternion: usually a rotation about the vertical, sometimes any rotation."""
    if rng.random() < 0.7:
        half = rng.uniform(0.0, np.pi)
        return [float(np.cos(half)), 0.0, 0.0, float(np.sin(half))]
    quaternion = rng.normal(size=4)
    return list(quaternion / np.linalg.norm(quaternion))


def _add_lights(scene: Scene, rng: np.random.Generator, shadows: bool) -> None:
    """Add ambient light and one to three directional lights; the first is the brightest."""
    spec = scene.spec
    headlight = spec.visual.headlight
    headlight.ambient = _sample_tint(rng, rng.uniform(0.15, 0.5))
    headlight.diffuse = _sample_tint(rng, rng.uniform(0.0, 0.4))
    headlight.specular = _sample_tint(rng, rng.uniform(0.0, 0.3))
    for number in range(rng.integers(1, 4)):
        elevation = np.radians(rng.uniform(25.0, 85.0))
        azimuth = rng.uniform(0.0, 2.0 * np.pi)
        level = np.cos(elevation)
        towards = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
        brightness = rng.uniform(0.4, 0.9) if number == 0 else rng.uniform(0.05, 0.4)
        spec.worldbody.add_light(
            name=f"light_{number}",
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=np.array(scene.focus_m) + towards * scene.extent_m * rng.uniform(2.0, 6.0),
            dir=-towards,
            diffuse=_sample_tint(rng, brightness),
            specular=_sample_tint(rng, rng.uniform(0.0, 0.6)),
            ambient=[0.0, 0.0, 0.0],
            castshadow=shadows and number == 0,
        )


def _sample_tint(rng: np.random.Generator, brightness: float) -> list[float]:
    """Almost white light of this brightness, RGB."""
    return list(brightness * np.clip(1.0 + rng.normal(0.0, 0.08, 3), 0.6, 1.4))
