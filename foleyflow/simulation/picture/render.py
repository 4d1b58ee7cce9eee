"""Off-screen rendering of scenes with MuJoCo's OpenGL renderer.

One GL context serves the process and is never closed, because drivers crash when many are opened.
The environment variable `MUJOCO_GL` selects the library: egl, glfw or osmesa (the default, which
needs no screen).
"""

from __future__ import annotations

import atexit
import importlib
import os
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import ConfigError
from foleyflow.simulation.picture.camera import CameraPose
from foleyflow.simulation.picture.stage import CAMERA

GL_BACKENDS = ("osmesa", "egl", "glfw")
_contexts: list[Any] = []  # at most one


def open_gl() -> None:
    """Open the GL context of this process, unless it is open.

    Raises:
        ConfigError: `MUJOCO_GL` names no known backend, or its library is missing.
    """
    if _contexts:
        return
    backend = os.environ.setdefault("MUJOCO_GL", "osmesa").lower()
    if backend not in GL_BACKENDS:
        raise ConfigError(
            f"MUJOCO_GL={backend!r}: expected one of {', '.join(GL_BACKENDS)}",
            hint="unset MUJOCO_GL to render in software without a screen",
        )
    os.environ.setdefault("LP_NUM_THREADS", "0")  # one core per process; processes run in parallel
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(16, 16)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"the OpenGL library for MUJOCO_GL={backend!r} cannot be used: {error}",
            hint="install libosmesa6 (apt) or set MUJOCO_GL=egl",
        ) from error
    context.make_current()
    _contexts.append(context)
    atexit.register(context.free)  # before the interpreter unloads OpenGL's modules


class SceneRenderer:
    """Renders one compiled model; a context manager that frees its textures and meshes."""

    def __init__(
        self, model: mujoco.MjModel, *, width: int, height: int, aspect: float, shadows: bool
    ) -> None:
        """Upload the model's textures and meshes.

        Args:
            model: compiled after `stage.decorate_scene`; its offscreen buffer must hold
                width x height.
            width, height: pixels.
            aspect: width over height of the view; if it differs from width / height, the picture
                is squashed.
        """
        open_gl()
        self.model = model
        self.aspect = aspect
        self._camera_id = model.camera(CAMERA).id
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, model.ngeom + 50)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = int(shadows)
        flags = mujoco.mjtRndFlag
        for flag in (flags.mjRND_REFLECTION, flags.mjRND_FOG, flags.mjRND_HAZE):
            self._scene.flags[flag] = 0
        self._option = mujoco.MjvOption()
        self._option.flags[:] = 0
        self._option.flags[mujoco.mjtVisFlag.mjVIS_TEXTURE] = 1
        self._option.flags[mujoco.mjtVisFlag.mjVIS_STATIC] = 1
        self._option.geomgroup[:] = 1
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = self._camera_id
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def __enter__(self) -> SceneRenderer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._context.free()

    def render_(
        self,
        data: mujoco.MjData,
        pose: CameraPose,
        pixels: NDArray[np.uint8],
        *,
        shift_px: tuple[float, float],
    ) -> None:
        """Render the state of the world in `data`.

        Args:
            data: with kinematics up to date; its camera is moved to `pose`.
            pixels: (height, width, 3) uint8, contiguous; filled **bottom row first**.
            shift_px: moves the pixel grid right and up; an average over several shifts smooths
                edges.
        """
        mujoco.mj_camlight(self.model, data)
        data.cam_xpos[self._camera_id] = pose.position_m
        data.cam_xmat[self._camera_id] = pose.rotation.ravel()
        self.model.cam_fovy[self._camera_id] = pose.fovy_deg
        mujoco.mjv_updateScene(
            self.model,
            data,
            self._option,
            None,
            self._view,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        for eye in self._scene.camera:
            frustum_height = eye.frustum_top - eye.frustum_bottom
            eye.frustum_width = 0.5 * self.aspect * frustum_height
            eye.frustum_center += shift_px[0] * self.aspect * frustum_height / self._rect.width
            eye.frustum_top += shift_px[1] * frustum_height / self._rect.height
            eye.frustum_bottom += shift_px[1] * frustum_height / self._rect.height
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, None, self._rect, self._context)
