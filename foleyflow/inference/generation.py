"""Generates results for a video: one for each seed, from one analysis of the video."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foleyflow.clock import count_at
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError
from foleyflow.inference.cue_checks import (
    check_material,
    check_reference,
    check_stereo,
    fit_to_clip,
    left_to_reference,
    open_library,
    with_material,
)
from foleyflow.inference.given_frames import GivenFrames
from foleyflow.inference.motion import with_pans
from foleyflow.inference.reference_sound import read_reference
from foleyflow.inference.rendering import Sampling
from foleyflow.inference.result import Generated
from foleyflow.inference.sensitivity import check_sensitivity
from foleyflow.inference.spotting import place_warnings
from foleyflow.inference.stereo import pan_take
from foleyflow.inference.takes import generate_take
from foleyflow.library import PlacedSounds, SoundLibrary, split_cues
from foleyflow.media import MediaInfo, probe
from foleyflow.parallel.precision import precision_on
from foleyflow.system.stopwatch import Stopwatch

if TYPE_CHECKING:
    from foleyflow.inference.pipeline import FoleyFlow


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a generation except for its seed; see `FoleyFlow.generate`.

    `on_generated` is called with the seconds of sound whose latents are generated.
    """

    cues: CueSheet | None
    steps: int
    guidance: float | None
    material: str | None
    sensitivity: float
    loudness_lufs: float | None
    library: SoundLibrary | str | Path | None
    library_variation: bool
    reference: str | Path | None
    stereo: bool
    on_generated: Callable[[float], None] | None = None


def generate_results(
    model: FoleyFlow,
    video: str | Path | MediaInfo | GivenFrames,
    seeds: Sequence[int],
    settings: Settings,
    *,
    progress: Callable[[float], None] | None,
) -> Iterator[Generated]:
    """Yields the result of each seed; see `FoleyFlow.generate` for arguments and errors.

    The timings of the first result include the analysis of the video.
    """
    # Settings, before any work
    material, config = settings.material, model.flow.config
    if material is not None:
        check_material(material, model.materials)
    if settings.reference is not None:
        check_reference(model.materials, settings.library)
    steps = settings.steps
    guidance = config.default_guidance if settings.guidance is None else settings.guidance
    if steps < 1 or not 1.0 <= guidance <= 20.0 or min(seeds) < 0:
        raise ConfigError(
            f"seed={min(seeds)}, steps={steps}, guidance={guidance}: expected seed >= 0, "
            "steps >= 1, guidance from 1 to 20",
            hint="the defaults are seed=0, steps=1 and the guidance of the model",
        )
    check_sensitivity(settings.sensitivity)
    if settings.stereo:
        check_stereo(config)
    start_s, stopwatch = time.perf_counter(), Stopwatch()
    clip = video if isinstance(video, MediaInfo | GivenFrames) else probe(video)
    library = None
    if settings.library is not None:
        library = open_library(settings.library, model.materials)
    reference = None
    if settings.reference is not None:
        reference = read_reference(settings.reference, model.codec, model.flow, material=material)
    cues = settings.cues
    if cues is not None and math.isfinite(clip.duration_s):
        cues = fit_to_clip(cues, config, duration_s=clip.duration_s)
    # Frames to features to cues
    if isinstance(clip, GivenFrames):
        analysis, warnings = model.analyse_frames(clip, stopwatch, progress)
        info = clip.info  # the length is known now, also of frames from an iterator
        cues = None if cues is None else fit_to_clip(cues, config, duration_s=info.duration_s)
    else:
        analysis, warnings = model.analyse(clip, stopwatch, progress)
        info = clip
    if cues is None and not model.materials:
        cues = CueSheet(duration_s=info.duration_s)
    elif cues is None:
        spotting = model.spot_in(analysis, settings.sensitivity)
        cues = spotting.cues
        warnings += spotting.warnings
    if reference is not None:
        cues = left_to_reference(cues)
    if material is not None:
        cues = with_material(cues, material)
    if settings.stereo:
        cues = with_pans(cues, analysis.motion)
        warnings += place_warnings(cues)
    if library is not None:
        warnings += library.warnings()
    rate_hz, device = model.codec.config.rate_hz, next(model.aligner.parameters()).device
    for seed in seeds:
        # Cues of the library to sounds
        for_model, placed = cues, None
        if library is not None:
            for_model, _ = split_cues(cues, library)
            placed = PlacedSounds.plan(
                cues,
                library,
                duration_s=info.duration_s,
                rate_hz=rate_hz,
                seed=seed,
                vary=settings.library_variation,
            )
            if seed == seeds[0] and len(cues.enabled) and not placed.sounds:
                warnings.append(
                    "the library has no sound for any cue; its materials are "
                    + ", ".join(library.materials)
                )
        # Other cues to latents to sound
        take = generate_take(
            model.codec,
            model.flow,
            analysis,
            for_model,
            plan=model.plan,
            sampling=Sampling(
                seed=seed, steps=steps, guidance=guidance, path=model.path, reference=reference
            ),
            loudness_lufs=settings.loudness_lufs,
            threads=model.threads,
            stopwatch=stopwatch,
            placed=placed,
            progress=settings.on_generated,
        )
        # Mono to stereo
        if settings.stereo:
            with stopwatch.measure("stereo"):
                take = pan_take(
                    model.codec,
                    model.flow,
                    take,
                    cues,
                    plan=model.plan,
                    threads=model.threads,
                )
        stopwatch.seconds["total"] = time.perf_counter() - start_s
        yield Generated(
            info=info,
            sample_rate_hz=rate_hz,
            sample_count=max(1, count_at(info.duration_s, rate_hz)),
            cues=cues,
            settings={
                "model": model.name,
                "seed": seed,
                "steps": steps,
                "guidance": guidance,
                "material": material or "auto",
                "loudness_lufs": settings.loudness_lufs,
                "library": None if library is None else str(library.folder),
                "library_variation": settings.library_variation,
                "reference": None if reference is None else str(settings.reference),
                "stereo": settings.stereo,
                "device": str(device),
                "precision": precision_on(device),
                "threads": model.threads,
            },
            timings_s=stopwatch.seconds,
            warnings=warnings + take.warnings(),
            _take=take,
            _model=model,
        )
        start_s, stopwatch = time.perf_counter(), Stopwatch()
