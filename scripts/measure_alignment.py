"""Measures an aligner on held-out clips: its monitors, and linear probes on its frozen features.

    python scripts/measure_alignment.py MODEL data/sim [--recipe vama] [--set KEY=VALUE]
        [--real FOLDER]

MODEL is a model folder with an aligner, RECIPE with its settings what it was trained by. Prints one
JSON object: recovery of hidden segments on the test split, F1 of events and accuracy of materials
by probes that are fitted to simulated clips alone, and with --real the events of a folder of real
clips.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from foleyflow.experiments.measure_aligner import measure, read_real_clips
from foleyflow.pretrained import load_aligner
from foleyflow.recipes import recipe_named
from foleyflow.recipes.overrides import override


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="vama")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--probe-clips", type=int, default=768)
    arguments = parser.parse_args()
    aligner = load_aligner(arguments.model)
    size = aligner.encoder.config.size
    figures = measure(
        aligner,
        override(recipe_named("align", arguments.recipe), arguments.set),
        arguments.data,
        real=read_real_clips(arguments.real, size=size) if arguments.real else (),
        probe_clips=arguments.probe_clips,
    )
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
