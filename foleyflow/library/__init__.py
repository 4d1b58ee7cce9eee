"""A folder of recorded sounds that replaces the model for cues of some materials."""

from foleyflow.library.placing import PlacedSounds, Placement, place
from foleyflow.library.sound_library import SkippedFile, SoundFile, SoundLibrary, split_cues

__all__ = [
    "PlacedSounds",
    "Placement",
    "SkippedFile",
    "SoundFile",
    "SoundLibrary",
    "place",
    "split_cues",
]
