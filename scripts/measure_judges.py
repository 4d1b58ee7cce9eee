"""Measures the judges that need no download on simulated test clips.

    python scripts/measure_judges.py FOLDER data/sim [--judges tagger,sync] [--batches 40]

FOLDER is what `foleyflow train judge` made, or foleyflow/assets/judges. Prints one JSON object: how
often the tagger names a true sound's material and kind of scene rightly, and the judge of synchrony
a pair as in sync or not, with as many true pairs as wrong ones, half of these shifted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from foleyflow.recipes import recipe_named
from foleyflow.training.tasks.sync import SyncTask
from foleyflow.weights import load_into


@torch.no_grad()
def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--judges", default="tagger,sync")
    parser.add_argument("--split", default="test")
    parser.add_argument("--batches", type=int, default=40, help="of 16 windows, for sync")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name in arguments.judges.split(","):
        task = recipe_named("judge", name).build(arguments.data, held_out=arguments.split)
        load_into(task.modules[name], arguments.folder, name)
        if isinstance(task, SyncTask):
            found[name] = task.figures(task.modules, batches=arguments.batches)
        else:
            found[name] = task.validate(task.modules)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
