"""Velocity layers: which recording of a material is used for a cue of some level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foleyflow.library.sound_library import SoundFile

# Cues of these levels take the quietest and the loudest recording
QUIETEST_LAYER_DB = -30.0
LOUDEST_LAYER_DB = 0.0
LAYER_WIDTH_DB = 1.5  # recordings that differ by less count as equally loud
LAYER_FILES = 3  # nearest recordings among which a random choice is made, at least


class Layers:
    """The recordings of one material and kind, by their natural level.

    The level of a cue between `QUIETEST_LAYER_DB` and `LOUDEST_LAYER_DB` corresponds to a rank
    among the recordings. It does not depend on other cues, so an edit of one cue keeps the choices
    for the others, except where two in a row would be the same.

    Args:
        sounds: at least one, from the quietest to the loudest.
    """

    def __init__(self, sounds: Sequence[SoundFile]) -> None:
        self._sounds = sounds
        self._levels_db = np.array([sound.measures.level_db for sound in sounds])
        self._contents = np.array([sound.sha256 for sound in sounds])
        self._last_content = ""

    def choose(self, level_db: float, choice: float | None) -> SoundFile:
        """A recording for a level, of other content than the last one if there is another.

        Args:
            choice: in [0, 1), chooses within the layer; None for the nearest rank.
        """
        # Recordings by the distance of their rank
        ranks = np.arange(len(self._sounds))
        limits_db = (QUIETEST_LAYER_DB, LOUDEST_LAYER_DB)
        rank = np.interp(level_db, limits_db, (0, len(ranks) - 1))
        nearest = np.argsort(np.abs(ranks - rank), kind="stable")
        # Those of the layer without the last one, else the nearest other one, else the last one
        distance_db = np.abs(self._levels_db[nearest] - self._levels_db[nearest[0]])
        is_in_layer = (ranks < LAYER_FILES) | (distance_db <= LAYER_WIDTH_DB)
        is_other = self._contents[nearest] != self._last_content
        candidates = nearest[is_in_layer & is_other]
        if not len(candidates):
            candidates = nearest[is_other][:1] if is_other.any() else nearest[:1]
        place = 0 if choice is None else int(choice * len(candidates))
        sound = self._sounds[candidates[place]]
        self._last_content = sound.sha256
        return sound
