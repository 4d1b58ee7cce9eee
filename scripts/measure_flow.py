"""Measures a flow at 1, 2, 4, 8 and 25 evaluations on simulated test clips, and draws the curves.

    python scripts/measure_flow.py [MODEL] [data/sim] [--out flow.json] [--picture flow.png]

MODEL is embedded, a folder with codec, align and flow, or a flow's own folder (then codec and
aligner are taken from where its training had them). A network with a velocity is sampled by its
flow map and, as DCF, by Euler's method along its velocity; a diffusion network by DPM-Solver++.
With --judge, a folder that `foleyflow train judge --recipe tagger` made, materials are heard and
the Fréchet distance is in that judge's space; without, in that of single latent frames. The density
(likelihood with the own and another clip's video, round trip) is taken of --density-clips.
Writes one JSON object, which it prints as well, and a PNG picture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from foleyflow.data.windows import WindowConfig
from foleyflow.experiments.benchmark import machine
from foleyflow.experiments.flow_plots import draw_curves
from foleyflow.experiments.measure_flow import DIFFUSION, MAP, VELOCITY, measure_flow, show_windows
from foleyflow.features.flow_conditions import FlowConditions
from foleyflow.judges.adapters import load_judge
from foleyflow.pretrained import (
    load_aligner,
    load_codec,
    load_flow,
    model_folder,
    part_folder,
    trained_with,
)


def main() -> None:
    """Parses the arguments, measures, writes, draws, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("data", type=Path, nargs="?", default=Path("data/sim"))
    parser.add_argument("--out", type=Path, default=Path("flow.json"))
    parser.add_argument("--picture", type=Path, default=Path("flow.png"))
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--density-clips", type=int, default=32)
    parser.add_argument("--latent-noise", type=float, help="default: that of the training")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--segments", type=int, help="of a window; default: as trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    folder = model_folder(arguments.model)
    settings = trained_with(folder)
    cut = settings.get("windows", {})
    segments = arguments.segments or cut.get("segments", WindowConfig().segments)
    noise = arguments.latent_noise
    if noise is None:
        noise = settings.get("stages", {}).get("latent_noise", 0.0)
    codec_folder = part_folder(folder, "codec")
    align_folder = part_folder(folder, "align")
    guides = FlowConditions(
        data=arguments.data,
        windows=WindowConfig(**(cut | {"segments": segments})),
        codec=str(codec_folder),
        align=str(align_folder),
        weights_dir=settings.get("weights_dir", ""),
    )
    source = guides.source("test")
    windows = show_windows(load_aligner(align_folder), source, clips=arguments.clips)
    flow, codec = load_flow(folder), load_codec(codec_folder)
    judge = None if arguments.judge is None else load_judge("tagger-sim", arguments.judge)
    ways = [MAP, VELOCITY] if flow.config.predicts == "velocity" else [DIFFUSION]
    result: dict = {
        "model": arguments.model,
        "clips": len(windows),
        "window_s": segments * source.config.segment_s,
        "guidance": arguments.guidance,
        "machine": machine(),
        "curves": {},
    }
    for samplings in ways:
        density = arguments.density_clips if samplings is VELOCITY else 0
        found = measure_flow(
            flow,
            codec,
            windows,
            samplings,
            path=settings.get("objective", {}).get("path", "linear"),
            guidance=arguments.guidance,
            judge=judge,
            latent_noise=noise,
            density_clips=min(density, len(windows)),
            seed=arguments.seed,
        )
        result["curves"][samplings[0].solver] = found.pop("samples")
        result |= found
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw_curves(arguments.picture, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
