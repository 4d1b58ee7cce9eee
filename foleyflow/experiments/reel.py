"""Write a page that plays the same clips with the sound of several systems.

The folder gets `CLIP/SYSTEM.mp4` for each clip and system, and `index.html`, which plays them next
to each other with their spectrograms and loads nothing from other hosts. All systems use the same
noise.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_at
from foleyflow.codec.interface import SoundCodec
from foleyflow.codec.streaming import decode_stream
from foleyflow.cues.arrays import arrays_of
from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError, MediaError
from foleyflow.evaluation.html_report import document_text, image_tag, plot_spectrogram
from foleyflow.experiments.measure_flow import DIFFUSION, MAP, VELOCITY, Sampling
from foleyflow.flow.sampling import SOLVERS
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference import rendering
from foleyflow.inference.analysis import analyse_video
from foleyflow.inference.calibration import read_calibration
from foleyflow.inference.spotting import spot_cues
from foleyflow.inference.windows import trained_plan
from foleyflow.media import mux, peak_gain, probe
from foleyflow.media.waveform import fit_length
from foleyflow.pretrained import (
    component_folder,
    load_aligner_with_encoder,
    load_codec,
    load_flow,
    model_folder,
    trained_path,
)
from foleyflow.signals import Waveform
from foleyflow.system.stopwatch import Stopwatch
from foleyflow.weights import write_atomically

PAGE_NAME = "index.html"
TRUE_NAME = "true"
STYLE = """
.reel { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; width: 16rem; }
figure video { width: 100%; background: #000; }
figcaption { font-size: 13px; }
"""


@dataclass(frozen=True)
class System:
    """A flow, how it is sampled, and its name on the page.

    Attributes:
        folder: of a model, or of a flow whose codec and aligner are those of its training.
    """

    name: str
    folder: Path
    sampling: Sampling


@dataclass(frozen=True, kw_only=True)
class Reel:
    """A written reel: its page, the number of clips, and the names of the systems."""

    page: str
    clips: int
    systems: list[str]


def write_reel(
    out: Path,
    *,
    data: Path,
    model: str,
    baselines: Sequence[str],
    clips: int,
    seed: int,
    guidance: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reel:
    """Generate sound for test clips by each system, and write the page.

    Args:
        model: "embedded" or a folder; each of its step counts is a system.
        baselines: other systems, each NAME=FOLDER:SOLVER:STEPS.
        clips: their number, evenly spread over the split.
        progress: called with the number of finished and of all sounds.

    Raises:
        MediaError: `out` holds a reel already.
        ConfigError: a baseline has another form, or systems have the same name.
        CheckpointError, DataError: a model or the clips can't be used.
    """
    if (out / PAGE_NAME).exists():
        raise MediaError(f"{out}: holds a reel already", hint="give another folder")
    systems = [*own_systems(model_folder(model)), *map(_baseline, baselines)]
    names = [TRUE_NAME, *(system.name for system in systems)]
    if len(set(names)) < len(names):
        raise ConfigError(f"systems {', '.join(names[1:])}: expected different names, none 'true'")
    source = SimulatedClips(data, "test")
    chosen = evenly_spread(source, clips)
    parts = [
        "<h1>The same clips by step counts and baselines</h1>",
        f'<p class="note">{len(chosen)} clips of the test split; seed {seed}, guidance scale '
        f"{guidance:g}. Levels are as generated, except that peaks above -1 dBFS are reduced.</p>",
    ]
    done, total = 0, len(chosen) * len(names)
    for index in chosen:
        clip = source.load(index)
        video = source.paths[index].with_suffix(".mp4")
        folder = out / clip.labels.name.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        figures = [_write_clip(folder, TRUE_NAME, video, clip.waveform)]
        for system in systems:
            sound = generate_sound(system, video, seed=seed, guidance=guidance)
            figures.append(_write_clip(folder, system.name, video, sound))
            progress(done + len(figures), total)
        done += len(figures)
        material = clip.labels.material or "nothing is struck"
        heading = html.escape(f"{folder.name}: {clip.labels.kind}, {material}")
        parts += [f"<h2>{heading}</h2>", '<div class="reel">', *figures, "</div>"]
    page = out / PAGE_NAME
    write_atomically(page, document_text(parts, title="foleyflow reel", style=STYLE))
    return Reel(page=str(page), clips=len(chosen), systems=names)


def own_systems(folder: Path) -> list[System]:
    """A model at every step count; with a velocity also its DCF in 1 and 25 steps."""
    flow = _networks(folder)[2]
    if flow.config.predicts == "velocity":
        samplings = [(f"gdcf {each.steps}", each) for each in MAP]
        samplings += [(f"dcf {each.steps}", each) for each in (VELOCITY[0], VELOCITY[-1])]
    else:
        samplings = [(f"{each.solver} {each.steps}", each) for each in DIFFUSION]
    return [System(name, folder, sampling) for name, sampling in samplings]


def _baseline(text: str) -> System:
    """A system from NAME=FOLDER:SOLVER:STEPS."""
    name, equals, rest = text.partition("=")
    folder, solver, steps = [*rest.rsplit(":", 2), "", ""][:3]
    if not (name and equals and folder and steps.isdigit() and int(steps) > 0):
        raise ConfigError(
            f"--baseline {text!r}: expected NAME=FOLDER:SOLVER:STEPS",
            hint="--baseline diffusion=runs/diffusion/model:dpm:25",
        )
    flow = _networks(Path(folder))[2]
    known = SOLVERS[flow.config.predicts]
    if solver not in known:
        raise ConfigError(
            f"--baseline {text!r}: solver {solver!r}, expected one of {', '.join(known)}"
        )
    return System(name, Path(folder), Sampling(solver=solver, steps=int(steps)))


@functools.cache
def _networks(folder: Path) -> tuple[SoundCodec, Alignment, FlowTransformer]:
    """The networks of a flow's folder, loaded once."""
    return (
        load_codec(component_folder(folder, "codec")),
        load_aligner_with_encoder(component_folder(folder, "align")),
        load_flow(folder),
    )


def evenly_spread(source: SimulatedClips, clips: int) -> list[int]:
    """Indices spread over the clips of a split that have impacts (over all, if none has)."""
    with_impacts = [index for index in range(len(source)) if source.labels(index).events]
    candidates = with_impacts or list(range(len(source)))
    count = min(clips, len(candidates))
    places = np.linspace(0, len(candidates) - 1, count).round().astype(int)
    return [candidates[place] for place in places]


@torch.inference_mode()
def generate_sound(system: System, video: Path, *, seed: int, guidance: float) -> Waveform:
    """The sound of a system for a video, as long as the video."""
    codec, aligner, flow = _networks(system.folder)
    info, plan = probe(video), trained_plan(system.folder)
    analysis, _ = analyse_video(aligner, info, plan, Stopwatch(), threads=torch.get_num_threads())
    # A flow without cue tracks gets no material, as in its trainings
    materials = flow.config.cue_materials
    calibration = read_calibration(component_folder(system.folder, "align"))
    spotting = spot_cues(analysis, materials=materials, calibration=calibration)
    pieces = rendering.generate_latents(
        flow,
        analysis.windows,
        arrays_of(spotting.cues, materials),
        plan=plan,
        sampling=rendering.Sampling(
            seed=seed,
            steps=system.sampling.steps,
            guidance=guidance,
            solver=system.sampling.solver,
            path=trained_path(system.folder),
        ),
    )
    blocks = decode_stream(codec, map(flow.restore, pieces))
    samples = torch.cat([block[0] for block in blocks]).float().numpy()
    rate_hz = codec.config.rate_hz
    count = max(1, count_at(info.duration_s, rate_hz))
    return Waveform(samples=fit_length(samples, count)[None], rate_hz=rate_hz)


def _write_clip(folder: Path, name: str, video: Path, sound: Waveform) -> str:
    """Write a clip with a sound; returns the HTML that plays it."""
    samples = sound.samples * np.float32(peak_gain(float(np.abs(sound.samples).max(initial=0.0))))
    path = folder / f"{name.replace(' ', '-')}.mp4"
    mux(video, path, [samples], rate_hz=sound.rate_hz, n_samples=samples.shape[1], overwrite=True)
    plot = plot_spectrogram(Waveform(samples=samples, rate_hz=sound.rate_hz), width=4, height=2)
    address = html.escape(f"{folder.name}/{path.name}")
    return (
        f'<figure><video controls preload="metadata" src="{address}"></video>\n'
        f"<figcaption>{html.escape(name)}</figcaption>\n"
        f"{image_tag(plot, f'spectrogram of {folder.name}, {name}')}</figure>"
    )
