"""`foleyflow reel`: the same clips with the sound of each step count and of baselines.

Writes `OUT/CLIP/SYSTEM.mp4` for each clip and system, and `OUT/index.html`, which plays them side
by side with their spectrograms and asks no other host. Every system has the same noise.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment
from foleyflow.cli.console import print_result, progress_on_stderr
from foleyflow.clock import count_at
from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.streaming import decode_stream
from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError, MediaError
from foleyflow.evaluation.html_report import document_text, image_tag, spectrogram_drawing
from foleyflow.experiments.measure_flow import DIFFUSION, MAP, VELOCITY, Sampling
from foleyflow.flow.sampling import SOLVERS
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.latent_generation import Stopwatch, WindowPlan, generate_latents
from foleyflow.inference.pipeline import shown_frames, trained_plan
from foleyflow.media import mux, peak_gain, probe
from foleyflow.media.waveform import fit_length
from foleyflow.pretrained import (
    load_codec,
    load_flow,
    load_seeing_aligner,
    model_folder,
    part_folder,
    trained_path,
)
from foleyflow.signals import Waveform
from foleyflow.weights import write_atomically

PAGE_NAME = "index.html"
TRUE_NAME = "true"
STYLE = """
.reel { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; width: 16rem; }
figure video { width: 100%; background: #000; }
figcaption { font-size: 13px; }
"""


@dataclass(frozen=True, kw_only=True)
class System:
    """What a clip is sounded by.

    Attributes:
        name: in the page and of its files.
        way: how its flow is sampled.
        codec, aligner, flow: in eval mode.
        path: that of the flow's training.
        plan: how clips are cut for it.
    """

    name: str
    way: Sampling
    codec: Codec
    aligner: Alignment
    flow: FlowTransformer
    path: str
    plan: WindowPlan


def run(
    out: Path,
    *,
    data: Path,
    model: str,
    baselines: Sequence[str],
    clips: int,
    seed: int,
    guidance: float,
    as_json: bool,
) -> None:
    """Makes the reel.

    Raises:
        MediaError: `out` holds a reel already.
        ConfigError: a baseline that is not NAME=FOLDER:SOLVER:STEPS.
        CheckpointError, DataError: a model or the clips can't be used.
    """
    if (out / PAGE_NAME).exists():
        raise MediaError(f"{out}: holds a reel already", hint="give another folder")
    systems = [*own_systems(model_folder(model)), *map(_baseline, baselines)]
    names = [system.name for system in systems]
    if len({TRUE_NAME, *names}) <= len(names):
        raise ConfigError(f"systems {', '.join(names)}: expected different names, none 'true'")
    source = SimulatedClips(data, "test")
    chosen = evenly(source, clips)
    parts = [
        "<h1>The same clips, by step counts and baselines</h1>",
        f'<p class="said">{len(chosen)} clips of the test split; seed {seed}, guidance '
        f"{guidance:g}. Levels are as generated; only a peak above -1 dBFS is turned down.</p>",
    ]
    with progress_on_stderr("sounding") as show:
        total = len(chosen) * (1 + len(systems))
        for number, index in enumerate(chosen):
            clip = source.load(index)
            video = source.paths[index].with_suffix(".mp4")
            folder = out / clip.labels.name.replace("/", "-")
            folder.mkdir(parents=True, exist_ok=True)
            played = [_written(folder, TRUE_NAME, video, clip.waveform)]
            for place, system in enumerate(systems, start=1):
                sound = sounded(system, video, seed=seed, guidance=guidance)
                played.append(_written(folder, system.name, video, sound))
                show(number * (1 + len(systems)) + place + 1, total)
            struck = clip.labels.material or "nothing is struck"
            heading = f"{folder.name}: {clip.labels.kind}, {struck}"
            parts += [f"<h2>{html.escape(heading)}</h2>", '<div class="reel">', *played, "</div>"]
    page = out / PAGE_NAME
    write_atomically(page, document_text(parts, title="foleyflow reel", style=STYLE))
    summary = {"page": str(page), "clips": len(chosen), "systems": [TRUE_NAME, *names]}
    print_result(
        summary, as_json=as_json, text=f"{page}: {len(chosen)} clips by {', '.join(names)}"
    )


def own_systems(folder: Path) -> list[System]:
    """Every step count of a model; where it has a velocity also its DCF in 1 and 25 steps."""
    flow = _networks(folder)[2]
    ways = MAP if flow.config.predicts == "velocity" else DIFFUSION
    named = [(f"{way.solver} {way.steps}", way) for way in ways]
    if ways is MAP:
        named = [(f"gdcf {way.steps}", way) for way in MAP]
        named += [(f"dcf {way.steps}", way) for way in (VELOCITY[0], VELOCITY[-1])]
    return [_system(name, folder, way) for name, way in named]


def _baseline(given: str) -> System:
    """From NAME=FOLDER:SOLVER:STEPS."""
    name, equals, rest = given.partition("=")
    folder, solver, steps = [*rest.rsplit(":", 2), "", ""][:3]
    if not (name and equals and folder and steps.isdigit() and int(steps) > 0):
        raise ConfigError(
            f"--baseline {given!r}: expected NAME=FOLDER:SOLVER:STEPS",
            hint="--baseline diffusion=runs/diffusion/model:dpm:25",
        )
    flow = _networks(Path(folder))[2]
    known = SOLVERS[flow.config.predicts]
    if solver not in known:
        raise ConfigError(
            f"--baseline {given!r}: solver {solver!r}, expected one of {', '.join(known)}"
        )
    return _system(name, Path(folder), Sampling(solver=solver, steps=int(steps)))


def _system(name: str, folder: Path, way: Sampling) -> System:
    codec, aligner, flow = _networks(folder)
    return System(
        name=name,
        way=way,
        codec=codec,
        aligner=aligner,
        flow=flow,
        path=trained_path(folder),
        plan=trained_plan(folder),
    )


@functools.cache
def _networks(folder: Path) -> tuple[Codec, Alignment, FlowTransformer]:
    """Of a flow's folder; loaded once for all the ways in which it is sampled."""
    return (
        load_codec(part_folder(folder, "codec")),
        load_seeing_aligner(part_folder(folder, "align")),
        load_flow(folder),
    )


def evenly(source: SimulatedClips, clips: int) -> list[int]:
    """Clips spread over a split, of those in which something is struck (of all, if none is).

    Source: ours.
    """
    struck = [index for index in range(len(source)) if source.labels(index).events]
    among = struck or list(range(len(source)))
    places = np.linspace(0, len(among) - 1, min(clips, len(among))).round().astype(int)
    return [among[place] for place in places]


@torch.inference_mode()
def sounded(system: System, video: Path, *, seed: int, guidance: float) -> Waveform:
    """The sound that a system makes for a video, as long as the video."""
    info = probe(video)
    pieces = generate_latents(
        system.aligner,
        system.flow,
        shown_frames(info, system.aligner),
        duration_s=info.duration_s,
        seed=seed,
        steps=system.way.steps,
        guidance=guidance,
        material=0,
        plan=system.plan,
        stopwatch=Stopwatch(),
        on_window=lambda done_s: None,
        solver=system.way.solver,
        path=system.path,
    )
    stream = decode_stream(system.codec, (piece.latents for piece in pieces))
    samples = torch.cat([block[0] for block in stream]).float().numpy()
    rate_hz = system.codec.config.rate_hz
    count = max(1, count_at(info.duration_s, rate_hz))
    return Waveform(samples=fit_length(samples, count)[None], rate_hz=rate_hz)


def _written(folder: Path, name: str, video: Path, sound: Waveform) -> str:
    """Writes a clip with one sound; the HTML that plays it."""
    samples: NDArray[np.float32] = sound.samples
    samples = samples * np.float32(peak_gain(float(np.abs(samples).max(initial=0.0))))
    path = folder / f"{name.replace(' ', '-')}.mp4"
    mux(video, path, [samples], rate_hz=sound.rate_hz, n_samples=samples.shape[1], overwrite=True)
    drawn = spectrogram_drawing(Waveform(samples=samples, rate_hz=sound.rate_hz), width=4, height=2)
    address = html.escape(f"{folder.name}/{path.name}")
    return (
        f'<figure><video controls preload="metadata" src="{address}"></video>\n'
        f"<figcaption>{html.escape(name)}</figcaption>\n"
        f"{image_tag(drawn, f'spectrogram of {folder.name}, {name}')}</figure>"
    )
