"""Checks a picture that was given in memory, and converts it to 8 bits.

Every error names the mistake that is most likely, such as channels first or an alpha channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.errors import MediaError

FLOATS = ("float16", "bfloat16", "float32", "float64")
_CHANNELS = (1, 3, 4)


def check_shape(shape: tuple[int, ...], name: str, *, is_batch: bool) -> None:
    """Checks the shape of pictures.

    Args:
        shape: of a picture, or of a batch of pictures.
        name: begins the message.
        is_batch: whether the first axis is that of the pictures.

    Raises:
        MediaError: the shape is not (H, W, 3), after the axis of the pictures in a batch.
    """
    picture, axes = (shape[1:], "(T, H, W, 3)") if is_batch else (shape, "(H, W, 3)")
    if len(picture) == 3 and picture[2] == 3:
        return
    batch = "0, " if is_batch else ""
    first = 1 if is_batch else 0
    move = f"{batch}{first + 1}, {first + 2}, {first}"
    if is_batch and len(shape) == 3 and shape[2] in (3, 4):
        reason, hint = "this is one picture", "give the frames of a video; a still has no motion"
    elif len(picture) == 3 and picture[0] in _CHANNELS and picture[2] not in _CHANNELS:
        reason = "the channels are before the height"
        hint = f"frames.transpose({move}) in NumPy, frames.permute({move}) in torch"
    elif len(picture) == 3 and picture[2] == 4:
        reason, hint = "there is an alpha channel", "frames[..., :3] leaves it out"
    elif len(picture) == 2 or (len(picture) == 3 and picture[2] == 1):
        reason, hint = "the pictures are grey", "repeat the grey level for red, green and blue"
    else:
        reason, hint = "the axes do not fit", "T pictures of H rows and W columns, in RGB"
    raise MediaError(f"{name}: shape {shape}, expected {axes}; {reason}", hint=hint)


def check_dtype(dtype: object, name: str) -> None:
    """Checks the type of the values, of NumPy or torch.

    Raises:
        MediaError: it is neither uint8 nor a float.
    """
    kind = str(dtype).removeprefix("torch.")
    if kind != "uint8" and kind not in FLOATS:
        raise MediaError(
            f"{name}: values of type {kind}, expected uint8 from 0 to 255, or float from 0 to 1",
            hint="scale and convert them first",
        )


def picture_of(frame: Any, name: str) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 RGB picture of an array, a tensor on any device, or a PIL image.

    Floats from 0 to 1 are scaled to 0..255 and rounded.

    Args:
        frame: the picture.
        name: begins messages.

    Raises:
        MediaError: the shape or type does not fit, or a value is not finite or out of range.
    """
    if isinstance(frame, torch.Tensor):
        frame = frame.detach().cpu()
        frame = (frame.float() if frame.dtype == torch.bfloat16 else frame).numpy()
    values = np.asarray(frame)
    check_shape(values.shape, name, is_batch=False)
    check_dtype(values.dtype, name)
    if values.dtype == np.uint8:
        return values
    # Float16 can't hold all of the 256 levels times 255
    scaled = np.multiply(values, 255, dtype=np.promote_types(values.dtype, np.float32))
    lowest, highest = float(scaled.min()), float(scaled.max())
    if not np.isfinite(lowest + highest):
        raise MediaError(
            f"{name}: values that are NaN or infinite, expected float from 0 to 1",
            hint="find the step that computed them, or replace them with numpy.nan_to_num",
        )
    if lowest <= -0.5 or highest >= 255.5:  # more than rounding
        raise MediaError(
            f"{name}: values from {lowest / 255:g} to {highest / 255:g}, expected 0 to 1",
            hint="divide pictures of 0 to 255 by 255, and clip those that a filter has sharpened",
        )
    return np.rint(scaled).astype(np.uint8)
