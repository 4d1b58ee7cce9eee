"""Pictures of the true and the generated sounds of simulated clips, one per material.

The generated sound is that of the exact cues.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.data.clips import SimulatedClips
from foleyflow.errors import ConfigError, DataError
from foleyflow.experiments.cue_plots import SCALE_DB, JudgedSound, PicturedClip, plot_clips
from foleyflow.experiments.hit_peaks import peaks_of_hits
from foleyflow.features.cue_labels import sheet_of_labels
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.judges.interface import MaterialJudge, preprocess_audio
from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.simulation.sound.levels import level_db
from foleyflow.system.printable import json_text
from foleyflow.weights import write_atomically


def measure_spectrograms(
    model: str,
    data: Path,
    output: Path,
    *,
    split: str,
    materials: Sequence[str],
    per_material: int,
    judge: MaterialJudge,
    steps: int,
    guidance: float | None,
    seed: int,
    on_picture: Callable[[Path], None] = lambda path: None,
) -> dict[str, Any]:
    """Write spectrograms_MATERIAL.png for each material, and spectrograms.json.

    Args:
        model: "embedded" or a model folder.
        data: data set of simulated clips with videos.
        output: folder of the files, which is created.
        split: of the data set.
        materials: those with a picture; empty for all that the split has.
        per_material: number of clips in a picture, the first ones of the material.
        judge: classifies sounds.
        steps, guidance: of the flow; None is the model's guidance.
        seed: of the flow.
        on_picture: called with each PNG that was written.

    Returns:
        The content of spectrograms.json: the settings, "recognised" (per material, the clips whose
        material the judge recognises in the true and in the generated sound) and "clips", the
        results of `clip_report`.

    Raises:
        ConfigError: an unknown material, or `output` is not a folder.
        DataError: the data set is not as expected, or a material has no clip.
    """
    # Settings, before any work
    source = SimulatedClips(data, split)
    chosen = _first_clips(source, materials, per_material)
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output}: expected a folder", hint="give a folder for the pictures")
    output.mkdir(parents=True, exist_ok=True)
    # Pictures, one by one
    flow = FoleyFlow.from_pretrained(model)
    reports: list[dict[str, Any]] = []
    recognised: dict[str, dict[str, str]] = {}
    for material, indices in chosen.items():
        clips = [
            _pictured(flow, source, index, judge, steps=steps, guidance=guidance, seed=seed)
            for index in indices
        ]
        path = output / f"spectrograms_{material}.png"
        plot_clips(path, clips, title=f"{material}: true and generated sounds of {split} clips")
        on_picture(path)
        reports += [clip_report(clip) for clip in clips]
        recognised[material] = {
            name: f"{sum(verdict == material for verdict in verdicts)}/{len(clips)}"
            for name, verdicts in (
                ("true", [clip.true.verdict for clip in clips]),
                ("generated", [clip.generated.verdict for clip in clips]),
            )
        }
    # Report
    report = {
        "model": flow.name,
        "data": str(data),
        "split": split,
        "steps": steps,
        "guidance": flow.flow.config.default_guidance if guidance is None else guidance,
        "seed": seed,
        "scale": f"dB relative to the loudest point of the true sound, {SCALE_DB:g} dB",
        "recognised": recognised,
        "clips": reports,
    }
    write_atomically(output / "spectrograms.json", json_text(report) + "\n")
    return report


def clip_report(clip: PicturedClip) -> dict[str, Any]:
    """Verdicts and levels; levels are dB on the scale of cues."""
    hits = clip.cues.hits
    times_s = np.array([cue.time_s for cue in hits], np.float64)
    measured = [
        level_db(np.nan_to_num(peaks_of_hits(each.sound.mono(), times_s, each.sound.rate_hz)))
        for each in (clip.true, clip.generated)
    ]
    return {
        "clip": clip.labels.name,
        "kind": clip.labels.kind,
        "material": clip.labels.material,
        "frictions": len(clip.cues.frictions),
        **{
            name: {"judge": each.verdict, "peak_db": round(each.peak_db, 1)}
            for name, each in (("true", clip.true), ("generated", clip.generated))
        },
        "warnings": list(clip.warnings),
        "hits": [
            {
                "time_s": round(cue.time_s, 3),
                "material": cue.material,
                "cue_db": None if cue.level_db is None else round(cue.level_db, 1),
                "true_db": round(float(true_db), 1),
                "generated_db": round(float(generated_db), 1),
            }
            for cue, true_db, generated_db in zip(hits, *measured, strict=True)
        ],
    }


def _first_clips(
    source: SimulatedClips, materials: Sequence[str], per_material: int
) -> dict[str, list[int]]:
    """The indices of the first clips of each material, in the order of `MATERIAL_NAMES`."""
    if unknown := [name for name in materials if name not in MATERIAL_NAMES]:
        raise ConfigError(
            f"material {unknown[0]!r}: expected one of {', '.join(MATERIAL_NAMES)}",
            hint="leave it out for all materials",
        )
    if not source.has_frames:
        raise DataError(
            f"{source.root} has sounds without videos, expected videos",
            hint="simulate without --audio-only",
        )
    found: dict[str, list[int]] = defaultdict(list)
    for index in range(len(source)):
        material = source.labels(index).material
        if material is not None and len(found[material]) < per_material:
            found[material].append(index)
    wanted = [name for name in MATERIAL_NAMES if name in (materials or found)]
    if missing := [name for name in wanted if name not in found]:
        raise DataError(
            f"{source.root}: no clip of {source.split!r} is of {missing[0]}",
            hint=f"its materials are {', '.join(sorted(found)) or 'none'}",
        )
    return {name: found[name] for name in wanted}


def _pictured(
    flow: FoleyFlow,
    source: SimulatedClips,
    index: int,
    judge: MaterialJudge,
    *,
    steps: int,
    guidance: float | None,
    seed: int,
) -> PicturedClip:
    """A clip with the sound that its exact cues give, at the level that the model generates."""
    labels = source.labels(index)
    cues = sheet_of_labels(labels)
    with source.files(index) as (video, _):
        result = flow.generate(
            video, cues=cues, steps=steps, guidance=guidance, seed=seed, loudness_lufs=None
        )
    true, made = (
        JudgedSound(sound=sound, verdict=judge.material(preprocess_audio(judge, sound)))
        for sound in (source.load_sound(index), result.as_waveform())
    )
    return PicturedClip(
        labels=labels, cues=cues, true=true, generated=made, warnings=tuple(result.warnings)
    )
