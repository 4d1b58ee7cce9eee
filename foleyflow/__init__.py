"""Generates sound for silent videos (Foley-Flow, arXiv:2603.08126).

    from foleyflow import FoleyFlow
    model = FoleyFlow.from_pretrained()
    cues = model.spot("clip.mp4")  # what sounds and when; every edit returns a new sheet
    model.generate("clip.mp4", cues=cues, seed=0).save("clip.foley.mp4")

Public names are imported when they are first used: `import foleyflow` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foleyflow.cues.cue import Cue
    from foleyflow.cues.sheet import CueSheet
    from foleyflow.errors import FoleyflowError
    from foleyflow.inference.delivery import Delivery
    from foleyflow.inference.pipeline import FoleyFlow
    from foleyflow.inference.result import Generated
    from foleyflow.signals import Frames, Waveform

__version__ = "0.1.0"
__all__ = [
    "Cue",
    "CueSheet",
    "Delivery",
    "FoleyFlow",
    "FoleyflowError",
    "Frames",
    "Generated",
    "Waveform",
    "__version__",
]
_MODULES = {
    "Cue": "foleyflow.cues.cue",
    "CueSheet": "foleyflow.cues.sheet",
    "Delivery": "foleyflow.inference.delivery",
    "FoleyFlow": "foleyflow.inference.pipeline",
    "FoleyflowError": "foleyflow.errors",
    "Frames": "foleyflow.signals",
    "Generated": "foleyflow.inference.result",
    "Waveform": "foleyflow.signals",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'foleyflow' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
