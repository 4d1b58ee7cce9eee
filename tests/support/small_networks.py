"""Small published encoders and judges in every process of a dry run, also in Ray's workers."""

from __future__ import annotations

from dataclasses import replace

from support.small_encoders import small
from support.small_judges import SMALL_NETWORKS
from support.torchvision_operators import declare_missing

from foleyflow.encoders import catalogue
from foleyflow.judges import adapters
from foleyflow.judges.weights import FILES

ENCODERS = ("eva-clip-l", "eva-clip-g", "audiomae")
JUDGES = ("passt", "vggish", "diff-foley", "cavp")  # of the columns KLD, FAD and Align Acc


def use_small_networks() -> None:
    """Replaces networks in this process by small ones of the same names; any file fits a judge."""
    declare_missing()
    for name in ENCODERS:
        for known in (catalogue.VIDEO_ENCODERS, catalogue.SOUND_ENCODERS):
            if name in known:
                known[name] = small(name)
    for name in JUDGES:
        adapters.NETWORKS[name] = SMALL_NETWORKS[name]
        FILES[name] = replace(FILES[name], sha256="")
