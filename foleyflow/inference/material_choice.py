"""Chooses the material of the struck objects where the user gives none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import ConfigError

# One material is chosen per clip, from its first windows (about a minute) and before any sound is
# generated. With one choice per window, the timbre of an object would change while it is struck.
GUESS_WINDOWS = 24
# Frequent hits of these merge into a continuous tone. A wrong choice of one of them is worse than
# the opposite mistake, which only makes the sound duller.
RINGING = ("metal", "glass")


def material_of_clip(windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The (materials,) probabilities of a clip: the mean over its first `GUESS_WINDOWS` windows."""
    mean: NDArray[np.float32] = np.mean(windows[:GUESS_WINDOWS], axis=0)
    return mean


def choose_material(probabilities: NDArray[np.float32], names: Sequence[str]) -> int:
    """The index of the most likely material, for the (materials,) probabilities of a clip.

    A material that rings is chosen only if it is more likely than all others together; otherwise
    the most likely one that does not ring is chosen.
    """
    order = [int(index) for index in np.argsort(-probabilities, kind="stable")]
    if probabilities[order[0]] <= 0.5:
        order = [index for index in order if names[index] not in RINGING] or order
    return order[0]


def check_material(material: str, names: Sequence[str]) -> None:
    """Check a material that a user gave.

    Raises:
        ConfigError: the model does not know the material.
    """
    if material not in names:
        raise ConfigError(
            f"material {material!r}: expected {'auto or one of ' if names else 'auto'}"
            f"{', '.join(names)}",
            hint="auto chooses the material from the video",
        )
