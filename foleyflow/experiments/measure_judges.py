"""Measure the judges that ship with foleyflow, or retrained ones, on simulated clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from foleyflow.recipes import recipe_named
from foleyflow.training.tasks.sync import SyncTask
from foleyflow.weights import load_into


@torch.no_grad()
def measure_judges(
    folder: Path, data: Path, *, names: Sequence[str], split: str, batches: int
) -> dict[str, Any]:
    """Accuracy of judges ("tagger", "sync") of a model folder on true sounds of simulated clips.

    The tagger classifies the material and the kind of scene of a sound. The judge of synchrony
    classifies pairs, in `batches` of 16 windows: half of them are in sync, and half of the others
    are shifted.
    """
    found: dict[str, Any] = {}
    for name in names:
        task = recipe_named("judge", name).build(data, held_out=split)
        load_into(task.modules[name], folder, name)
        if isinstance(task, SyncTask):
            found[name] = task.figures(task.modules, batches=batches)
        else:
            found[name] = task.validate(task.modules)
    return found
