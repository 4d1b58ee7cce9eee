"""Measure the sound of simulated clips whose cues are given exactly, or found in the video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.cues.sheet import CueSheet
from foleyflow.data.clip_types import ClipLabels
from foleyflow.data.clips import SimulatedClips
from foleyflow.evaluation.metrics.distribution import fit_gaussian, frechet_distance
from foleyflow.evaluation.metrics.semantics import kl_divergence
from foleyflow.evaluation.metrics.synchrony import detect_onsets, onset_f1
from foleyflow.experiments.found_cues import FEWEST_HITS, cue_figures, rounded_mean
from foleyflow.experiments.hit_peaks import peaks_of_hits
from foleyflow.experiments.measure_aligner import WINDOW_S
from foleyflow.features.cue_labels import sheet_of_labels
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.judges.interface import MaterialJudge
from foleyflow.simulation.materials import MATERIAL_NAMES

# A hit stands alone if no other one is closer.
ALONE_BEFORE_S, ALONE_AFTER_S = 0.12, 0.07
FRICTION_STEP_S = 0.1  # of the levels of friction


@dataclass(frozen=True, kw_only=True)
class ClipSounds:
    """The true and the generated sound of a clip, (N,) float32 each, at the same sample rate."""

    labels: ClipLabels
    true: NDArray[np.float32]
    generated: NDArray[np.float32]


def measure_cues(
    model: str,
    data: Path,
    *,
    split: str,
    clips: int,
    judge: MaterialJudge,
    steps: int,
    guidance: float | None,
) -> dict[str, Any]:
    """Figures of generated sounds against true ones, and of the cues that the aligner finds.

    Args:
        model: "embedded" or a model folder.
        data: data set of simulated clips with videos.
        split: of the data set.
        clips: largest number of clips.
        judge: classifies sounds.
        steps, guidance: of the flow; None is the model's guidance.

    Returns:
        "codec", "exact_cues" and "found_cues", the figures of `sound_figures` for decoded true
        latents and for generated sounds; "true", those of the true sounds that need no reference;
        "found", figures of the cues themselves: "f1" of their times, "material" and
        "confidence", the precision per bin of confidence.
    """
    flow = FoleyFlow.from_pretrained(model)
    source = SimulatedClips(data, split)
    rate_hz = flow.codec.config.rate_hz
    sounds: dict[str, list[ClipSounds]] = defaultdict(list)
    found: list[tuple[ClipLabels, CueSheet]] = []
    for index in range(min(clips, len(source))):
        labels = source.labels(index)
        true = source.load_sound(index).mono()
        with source.files(index) as (video, _):
            exact = flow.generate(
                video,
                cues=sheet_of_labels(labels),
                steps=steps,
                guidance=guidance,
                loudness_lufs=None,
            )
            own = flow.generate(video, steps=steps, guidance=guidance, loudness_lufs=None)
        found.append((labels, own.cues))
        results = {
            "true": true,
            "codec": _decoded(flow, true),
            "exact_cues": exact.waveform,
            "found_cues": own.waveform,
        }
        for name, waveform in results.items():
            sounds[name].append(ClipSounds(labels=labels, true=true, generated=waveform))
    report = {name: sound_figures(each, judge, rate_hz) for name, each in sounds.items()}
    return report | {"found": cue_figures(found), "clips": len(found)}


def sound_figures(
    clips: Sequence[ClipSounds], judge: MaterialJudge, rate_hz: int
) -> dict[str, Any]:
    """Figures of generated sounds.

    Returns:
        "material", the fraction of sounding clips whose material the judge recognises, and
        "by_material"; "kld" and "fad" by the judge against the true sounds; "onset_f1" at 50 ms
        against onsets of the true sound; "level_correlation" of the strengths of hits that stand
        alone with their levels, mean over clips, and "db_per_tenth", the median slope per 0.1 of
        strength; "friction_correlation" of the levels of rolling and scraping with the exact
        curves.
    """
    recognised: dict[str, list[bool]] = defaultdict(list)
    f1, correlations, slopes, frictions = [], [], [], []
    for clip in clips:
        labels = clip.labels
        if labels.material is not None:
            recognised[labels.material].append(judge.material(clip.generated) == labels.material)
        onsets, generated = (
            detect_onsets(each, rate_hz).times_s for each in (clip.true, clip.generated)
        )
        if len(labels.events):
            f1.append(onset_f1(onsets, generated, WINDOW_S))
        levels = levels_of_hits(clip.generated, labels, rate_hz)
        if len(levels) >= FEWEST_HITS and levels[:, 0].std() > 0.03:
            correlations.append(float(np.corrcoef(levels[:, 0], levels[:, 1])[0, 1]))
            ratio = levels[:, 1].std() / levels[:, 0].std()
            slopes.append(correlations[-1] * float(ratio) / 10)  # of the regression line
        frictions += _friction_correlations(clip.generated, labels, rate_hz)
    # Distances between distributions
    true, made = (
        [(judge.logits(each), judge.embed(each)) for each in sounds]
        for sounds in ([c.true for c in clips], [c.generated for c in clips])
    )
    kld = kl_divergence(
        np.stack([logits for logits, _ in true]), np.stack([logits for logits, _ in made])
    )
    fad = frechet_distance(
        *(fit_gaussian(np.concatenate([e for _, e in each])) for each in (true, made))
    )
    flat = [each for values in recognised.values() for each in values]
    return {
        "material": round(float(np.mean(flat)), 3),
        "by_material": {
            name: f"{sum(recognised[name])}/{len(recognised[name])}"
            for name in MATERIAL_NAMES
            if name in recognised
        },
        "kld": round(float(kld.mean()), 3),
        "fad": round(float(fad), 2),
        "onset_f1": round(float(np.mean(f1)), 3),
        "level_correlation": rounded_mean(correlations),
        "db_per_tenth": round(float(np.median(slopes)), 2) if slopes else None,
        "level_clips": len(slopes),
        "friction_correlation": rounded_mean(frictions),
        "frictions": len(frictions),
    }


def levels_of_hits(
    sound: NDArray[np.float32], labels: ClipLabels, rate_hz: int
) -> NDArray[np.float64]:
    """Strength and peak level in dB, (K, 2), of each impact that stands alone."""
    times_s = labels.event_times_s
    rows = []
    peaks = peaks_of_hits(sound, times_s, rate_hz)
    for time_s, strength, peak in zip(times_s, labels.event_strengths, peaks, strict=True):
        gaps_s = times_s - time_s
        after, before = gaps_s[gaps_s > 0], -gaps_s[gaps_s < 0]
        if after.min(initial=np.inf) < ALONE_AFTER_S or before.min(initial=np.inf) < ALONE_BEFORE_S:
            continue
        if np.isfinite(peak):
            rows.append((strength, 20 * np.log10(peak + 1e-5)))
    return np.array(rows, np.float64).reshape(-1, 2)


def _friction_correlations(
    sound: NDArray[np.float32], labels: ClipLabels, rate_hz: int
) -> list[float]:
    """Correlation of the levels of each friction without impacts with its exact curve, in dB.

    It is 0 where the sound is silent.
    """
    step = round(FRICTION_STEP_S * rate_hz)
    correlations = []
    for friction in labels.frictions:
        centres_s = np.arange(friction.start_s + FRICTION_STEP_S, friction.end_s, FRICTION_STEP_S)
        centres_s = (
            centres_s[
                [
                    not (np.abs(labels.event_times_s - t) < 2 * FRICTION_STEP_S).any()
                    for t in centres_s
                ]
            ]
            if len(centres_s)
            else centres_s
        )
        if len(centres_s) < 5:
            continue
        steps_s = friction.start_s + np.arange(len(friction.level_db)) * friction.step_s
        exact_db = np.interp(centres_s, steps_s, friction.level_db)
        found_db = [
            20 * np.log10(float(np.sqrt(np.mean(np.square(piece)))) + 1e-5)
            for piece in (sound[max(0, round(t * rate_hz) - step // 2) :][:step] for t in centres_s)
        ]
        if exact_db.std() > 1.0:
            is_silent = np.ptp(found_db) == 0.0  # a constant has no correlation
            found = 0.0 if is_silent else np.corrcoef(exact_db, found_db)[0, 1]
            correlations.append(float(found))
    return correlations


@torch.inference_mode()
def _decoded(flow: FoleyFlow, sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sound encoded and decoded by the codec."""
    hop = flow.codec.config.hop_samples
    padded = np.pad(sound, (0, -len(sound) % hop))
    decoded = flow.codec.decode(flow.codec.encode(torch.from_numpy(padded)[None]))[0]
    return decoded.numpy()[: len(sound)]
