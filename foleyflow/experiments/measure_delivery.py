"""Measure stems, mixes and the placement of recorded sounds on recordings with their own sound."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from foleyflow.cues.sheet import CueSheet
from foleyflow.delivery import MixMode
from foleyflow.experiments.delivery_plots import corrected_cues, plot_delivery
from foleyflow.inference.delivery import DeliveredSound, Delivery
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.result import Generated
from foleyflow.inference.stems import STEM_BITS, StemKind
from foleyflow.media import MediaInfo, default_suffix, measure_report, probe, write_sound
from foleyflow.media.input_file import picture_hash
from foleyflow.media.sound_file import integer_levels
from foleyflow.media.waveform import read_waveform

TARGET_LUFS = -23.0
MODES: tuple[MixMode, ...] = ("mix", "duck")

# Sounds of the synthetic library: a sine that begins at its peak, after silence
_PITCHES_HZ = (700.0, 1100.0)
_LEAD_S, _LENGTH_S = (0.031, 0.2), 0.06
_AUDIBLE = 1e-4  # relative to the peak of the clip


def measure_delivery(
    model: str, clips: Sequence[Path], *, seed: int, plot: Path | None = None
) -> dict[str, Any]:
    """Figures of stems, mixes and recorded sounds.

    Args:
        model: "embedded" or a model folder.
        clips: videos with sound.
        seed: of the flow.
        plot: PNG of the first clip with corrected cues; see `delivery_plots`.

    Returns:
        the worst figures of all clips:

        - "stem_error_steps": largest difference between the sum of the stems and the sound, in
          steps of 24 bits, by material and by cue;
        - "equal_pictures": number of written files with the same video packets as their source,
          of "files";
        - "mix_error_lu", "duck_error_lu": largest difference between the loudness of a mix and the
          target; "mix_file_error_lu" and "duck_file_error_lu" the same for the decoded audio track;
          without the clips whose warnings say that the target is out of reach,
          "loudness_warnings";
        - "placement_error_samples": largest difference between a cue and the first audible sample
          of a sound of a synthetic library, over "placed" cues that follow silence;

        and "clips", the figures of each clip.
    """
    flow = FoleyFlow.from_pretrained(model)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        _write_library(library, flow.materials, flow.codec.config.rate_hz)
        for path in clips:
            info = probe(path)
            result = flow.generate(info, seed=seed, loudness_lufs=TARGET_LUFS)
            row: dict[str, Any] = {"clip": path.name, "cues": len(result.cues.enabled)}
            row |= {f"stem_error_{by}": _stem_error(result, by) for by in get_args(StemKind)}
            for mode in MODES:
                output = Path(folder) / f"{mode}{default_suffix(path)}"
                row |= _mix_figures(result, mode, output)
            row |= _placement_figures(flow, info, result.cues, library, seed)
            rows.append(row)
            if plot is not None and len(rows) == 1:
                corrected = flow.generate(info, cues=corrected_cues(result.cues), seed=seed)
                plot_delivery(plot, result.cues, corrected, Path(folder))
    return _worst(rows) | {"clips": rows}


def _worst(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all clips; see `measure_delivery`."""

    def largest(*names: str) -> float:
        return max(
            (row[name] for row in rows for name in names if row[name] is not None), default=0
        )

    return {
        "stem_error_steps": largest("stem_error_material", "stem_error_cue"),
        "equal_pictures": sum(row["mix_equal"] + row["duck_equal"] for row in rows),
        "files": 2 * len(rows),
        **{
            name: largest(name)
            for mode in MODES
            for name in (f"{mode}_error_lu", f"{mode}_file_error_lu")
        },
        "loudness_warnings": sum(row["mix_warned"] + row["duck_warned"] for row in rows),
        "placement_error_samples": largest("placement_error_samples"),
        "placed": sum(row["placed"] for row in rows),
    }


def _stem_error(result: Generated, by: StemKind) -> int:
    """Largest difference between the sum of the stems and the sound, in steps of 24 bits."""
    stems = result.stems(by)
    if not stems:
        return 0
    total = np.zeros(result.sample_count, np.int64)
    for stem in stems:
        inside = slice(stem.start_sample, stem.start_sample + stem.sample_count)
        total[inside] += integer_levels(stem.waveform, STEM_BITS)
    return int(np.abs(total - integer_levels(result.waveform, STEM_BITS)).max())


def _mix_figures(result: Generated, mode: MixMode, output: Path) -> dict[str, Any]:
    """Whether the picture is the same, and errors of the loudness; None where a warning says so."""
    earlier = len(result.warnings)
    result.save(output, delivery=Delivery(mix=mode), overwrite=True)
    warned = any("LUFS" in text for text in result.warnings[earlier:])
    delivered, written = cast(DeliveredSound, result.delivered), read_waveform(output)
    levels = {
        f"{mode}_error_lu": delivered.loudness.integrated_lufs,
        f"{mode}_file_error_lu": measure_report([written.samples], written.rate_hz).integrated_lufs,
    }
    return {
        f"{mode}_equal": picture_hash(output) == picture_hash(result.info.path),
        f"{mode}_warned": warned,
        **{
            name: None if warned or level is None else round(abs(level - TARGET_LUFS), 3)
            for name, level in levels.items()
        },
    }


def _placement_figures(
    flow: FoleyFlow, info: MediaInfo, cues: CueSheet, library: Path, seed: int
) -> dict[str, Any]:
    """Distance of each hit from the first audible sample of its recorded sound.

    All hits have sounds of the library, so that the model generates nothing. Hits that another one
    precedes by less than the length of a sound do not count.
    """
    hits = cues.enabled.hits
    result = flow.generate(
        info, cues=hits, seed=seed, loudness_lufs=None, library=library, library_variation=False
    )
    sound = np.abs(result.waveform)
    audible = np.flatnonzero(sound > _AUDIBLE * sound.max(initial=0.0))
    errors, last_s = [], -np.inf
    for cue in hits:
        if cue.time_s - last_s > 2 * _LENGTH_S:
            expected = round(cue.time_s * result.sample_rate_hz)
            near = audible[audible >= expected - round(_LENGTH_S * result.sample_rate_hz)]
            errors.append(int(abs(near[0] - expected)) if len(near) else result.sample_count)
        last_s = cue.time_s
    return {"placement_error_samples": max(errors, default=None), "placed": len(errors)}


def _write_library(folder: Path, materials: Sequence[str], rate_hz: int) -> None:
    """Two sounds for each material, which begin at a known sample."""
    time_s = np.arange(round(_LENGTH_S * rate_hz)) / rate_hz
    for material in materials:
        (folder / material).mkdir(parents=True)
        for number, (pitch_hz, lead_s) in enumerate(zip(_PITCHES_HZ, _LEAD_S, strict=True)):
            ring = 0.5 * np.cos(2 * np.pi * pitch_hz * time_s) * (1 - time_s / _LENGTH_S) ** 2
            samples = np.concatenate([np.zeros(round(lead_s * rate_hz)), ring]).astype(np.float32)
            write_sound(folder / material / f"{number}.wav", [samples[None]], rate_hz)
