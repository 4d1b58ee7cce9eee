"""Small published encoders in every process of a dry run, also in Ray's workers."""

from __future__ import annotations

from support.small_encoders import small
from support.torchvision_operators import declare_missing

from foleyflow.encoders import catalogue

ENCODERS = ("eva-clip-l", "eva-clip-g", "audiomae")


def use_small_encoders() -> None:
    """Replaces encoders of the catalogue in this process by small ones of the same names."""
    declare_missing()
    for name in ENCODERS:
        for known in (catalogue.VIDEO_ENCODERS, catalogue.SOUND_ENCODERS):
            if name in known:
                known[name] = small(name)
