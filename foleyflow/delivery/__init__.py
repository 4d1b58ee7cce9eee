"""Mix the generated sound with that of the video, and write projects for other programs."""

from foleyflow.delivery.ducking import Ducking
from foleyflow.delivery.mixing import MixedSound, MixMode, check_original, mix_sounds
from foleyflow.delivery.reaper_project import Stem, write_reaper_project

__all__ = [
    "Ducking",
    "MixMode",
    "MixedSound",
    "Stem",
    "check_original",
    "mix_sounds",
    "write_reaper_project",
]
