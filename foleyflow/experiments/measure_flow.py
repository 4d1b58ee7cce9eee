"""Measure a flow on held-out clips: its samples at several step counts, and its likelihood.

Sound is generated for the first window of each clip. Step counts and systems are compared on the
same noise. A generator of mean latents can have correct onsets, so the variation of the latents is
measured in addition to the scores of onsets.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment, FlowCondition
from foleyflow.clock import count_covering
from foleyflow.codec.interface import SoundCodec
from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.tracks import TrackLayout, condition_tracks
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.errors import CheckpointError
from foleyflow.evaluation.latent_statistics import compare_latents, quiet_frames, sample_diversity
from foleyflow.evaluation.metric import bootstrap_mean
from foleyflow.evaluation.metrics.synchrony import ClipOnsets, clip_onsets, compare
from foleyflow.experiments.judged_sounds import ColumnJudges, SoundScores, load_column_judges
from foleyflow.experiments.machine import machine
from foleyflow.experiments.measure_aligner import (
    BATCH_WINDOWS,
    WINDOW_S,
    first_windows,
)
from foleyflow.features.flow_conditions import FlowConditions, window_conditions
from foleyflow.features.frames import Split
from foleyflow.flow.guided_model import velocity_field
from foleyflow.flow.likelihood import decode, encode, hutchinson, invert, log_likelihood
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.inference.analysis import collect_analysis
from foleyflow.inference.calibration import Calibration, read_calibration
from foleyflow.inference.spotting import spot_cues
from foleyflow.inference.windows import WindowPlan
from foleyflow.judges.interface import preprocess_audio
from foleyflow.pretrained import (
    component_folder,
    load_aligner,
    load_codec,
    load_flow,
    model_folder,
    trained_path,
    training_settings,
)
from foleyflow.signals import Waveform
from foleyflow.simulation.materials import MATERIAL_NAMES

SOLVER_STEPS = 25  # of Heun's method, for the likelihood and the round trip
PROBES = 1  # of the trace estimate
TIMED_S = 10.0  # of sound, for the seconds of the flow
REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """A solver of `flow.sampling.SOLVERS` and its number of steps."""

    solver: str
    steps: int

    @property
    def evaluations(self) -> int:
        """Evaluations of the network per window (NFE)."""
        return self.steps * (2 if self.solver in ("midpoint", "heun") else 1)


# Steps of a flow map, and Euler steps along the velocity of the same network (its diagonal).
EVALUATIONS = (1, 2, 4, 8, 25)
MAP = tuple(Sampling(solver="map", steps=n) for n in EVALUATIONS)
VELOCITY = tuple(Sampling(solver="euler", steps=n) for n in EVALUATIONS)
# At least four steps: the first step of a diffusion network, from pure noise, divides by e^-5.
DIFFUSION = tuple(Sampling(solver="dpm", steps=n) for n in EVALUATIONS[2:])


@dataclass(frozen=True, kw_only=True)
class HeldOutWindows:
    """The first windows of a split's clips, with the conditions of a flow.

    Attributes:
        condition: B items without known latents; the cues are those that the aligner finds.
        latents: (B, L, C) codec latents of the true sounds, at `latent_rate_hz`.
        sounds: (B, N) float32, the true sounds, at `rate_hz`.
        segments: of each window.
        onsets: detected in the true sounds.
        events_s: B arrays, the true events, seconds from the window's start.
        materials: B names of the struck material, None where nothing is struck.
        clips: (B,) int64 indices of the clips in their split.
    """

    condition: Condition
    latents: Tensor
    sounds: NDArray[np.float32]
    rate_hz: int
    latent_rate_hz: float
    segments: int
    onsets: list[ClipOnsets]
    events_s: list[NDArray[np.float64]]
    materials: list[str | None]
    clips: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sounds)

    def scores(self, judges: ColumnJudges, data: Path) -> SoundScores:
        """Scores of sounds for these windows of the test split of a data set."""
        true_sounds = _waveforms(self.sounds, self.rate_hz)
        return SoundScores(judges, true_sounds, Split.at(data, "test"), self.clips.tolist())


@torch.no_grad()
def held_out_windows(
    aligner: Alignment,
    source: WindowSource,
    *,
    clips: int,
    cue_materials: Sequence[str] = (),
    calibration: Calibration | None = None,
) -> HeldOutWindows:
    """The first windows of a split, for an aligner in eval mode on the CPU.

    Args:
        clips: largest number of windows.
        cue_materials: of the flow's cue tracks; empty for a flow without.
        calibration: of the aligner.
    """
    segments, rate_hz = source.config.segments, aligner.config.latent_rate_hz
    # Aligner
    batches = list(first_windows(source, clips))
    guides = [guide for batch in batches for guide in window_conditions(aligner, batch, segments)]
    latents, sounds, order = (
        torch.cat([batch[name] for batch in batches]) for name in ("latents", "sound", "clip")
    )
    items, count = latents.shape[:2]
    cues = [_found_tracks(aligner, each, cue_materials, calibration) for each in guides]
    condition = Condition(
        video=torch.cat([guide.video for guide in guides]).float(),
        states=torch.cat([guide.states for guide in guides]).float(),
        cues=torch.stack(cues),
        has_video=torch.ones(items, dtype=torch.bool),
        context=torch.zeros_like(latents),
        known=torch.zeros(items, count, dtype=torch.bool),
    )
    # Ground truth
    end_s = count / rate_hz
    clip_events_s = [source.clips.event_times_s[clip] for clip in order.tolist()]
    return HeldOutWindows(
        condition=condition,
        latents=latents,
        sounds=sounds.numpy(),
        rate_hz=source.rate_hz,
        latent_rate_hz=rate_hz,
        segments=segments,
        onsets=[clip_onsets(each) for each in _waveforms(sounds.numpy(), source.rate_hz)],
        events_s=[times_s[(times_s >= 0) & (times_s < end_s)] for times_s in clip_events_s],
        materials=[
            MATERIAL_NAMES[label] if label >= 0 else None
            for label in source.clips.materials[order.numpy()].tolist()
        ],
        clips=order.numpy(),
    )


def _found_tracks(
    aligner: Alignment,
    guide: FlowCondition,
    materials: Sequence[str],
    calibration: Calibration | None,
) -> Tensor:
    """The tracks (L, Q) of the cues that an aligner finds in one window."""
    count, segments = guide.onsets.shape[1], guide.states.shape[1]
    if not materials:
        return torch.zeros(count, 0)
    rate_hz, windows = aligner.config.latent_rate_hz, iter([(0, segments, segments, guide)])
    analysis = collect_analysis(aligner, windows, duration_s=count / rate_hz)
    spotting = spot_cues(analysis, materials=materials, calibration=calibration or Calibration())
    cues, layout = arrays_of(spotting.cues, materials), TrackLayout(materials=len(materials))
    return torch.from_numpy(condition_tracks(cues, count, rate_hz=rate_hz, layout=layout))


def measure_model(
    model: str,
    data: Path,
    *,
    judge_folder: Path | None,
    clips: int,
    density_clips: int,
    latent_noise: float | None,
    guidance: float,
    segments: int | None,
    seed: int,
) -> dict[str, Any]:
    """Measure the flow of a model at all step counts on simulated test clips.

    A network with a velocity is sampled by its flow map, if it has learnt one, and by Euler's
    method along its velocity; a diffusion network by DPM-Solver++. For the other arguments see
    `measure_flow`.

    Args:
        model: "embedded", a folder with codec, align and flow, or that of a flow, whose codec and
            aligner are then those of its training.
        judge_folder: where the judges' weights are; None for the default folder.
        clips, density_clips: maximum numbers of clips for the samples and for the likelihood.
        latent_noise, segments: None for those of the training.

    Returns:
        "curves": solver -> number of evaluations -> figures; "left_out": column -> why its judge
        is missing; and the other figures of `measure_flow`.

    Raises:
        CheckpointError, DataError: the model or the clips can't be used.
    """
    folder = model_folder(model)
    settings = training_settings(folder)
    codec_folder, align_folder = (component_folder(folder, part) for part in ("codec", "align"))
    config = settings.get("windows", {}) | ({} if segments is None else {"segments": segments})
    conditions = FlowConditions(
        data=data,
        windows=WindowConfig(**config),
        codec=str(codec_folder),
        align=str(align_folder),
        weights_dir=settings.get("weights_dir", ""),
    )
    judges = load_column_judges(judge_folder)
    flow, codec = load_flow(folder), load_codec(codec_folder)
    windows = held_out_windows(
        load_aligner(align_folder),
        conditions.source("test"),
        clips=clips,
        cue_materials=flow.config.cue_materials,
        calibration=read_calibration(align_folder),
    )
    scores = windows.scores(judges, data)
    if latent_noise is None:
        latent_noise = settings.get("stages", {}).get("latent_noise", 0.0)
    result: dict[str, Any] = {
        "model": model,
        "clips": len(windows),
        "window_s": conditions.windows.segments * conditions.windows.segment_s,
        "guidance": guidance,
        "machine": machine(),
        "judges": judges.weights_sha256,
        "left_out": {column: str(error) for column, error in judges.missing.items()},
        "curves": {},
    }
    for samplings in _samplings_of(flow):
        figures = measure_flow(
            flow,
            codec,
            windows,
            samplings,
            path=trained_path(folder),
            guidance=guidance,
            scores=scores,
            latent_noise=latent_noise,
            density_clips=min(density_clips, len(windows)) if samplings is VELOCITY else 0,
            seed=seed,
        )
        result["curves"][samplings[0].solver] = figures.pop("samples")
        result |= figures
    return result


def _samplings_of(flow: FlowTransformer) -> tuple[tuple[Sampling, ...], ...]:
    """The solvers of a network: its flow map, if it has learnt one, and those of its output."""
    if flow.config.predicts == "noise":
        return (DIFFUSION,)
    return (MAP, VELOCITY) if flow.trained_intervals else (VELOCITY,)


def measure_flow(
    flow: FlowTransformer,
    codec: SoundCodec,
    windows: HeldOutWindows,
    samplings: Sequence[Sampling],
    *,
    path: str = "linear",
    guidance: float = 1.0,
    scores: SoundScores | None = None,
    latent_noise: float = 0.0,
    density_clips: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a flow in eval mode, on the CPU, on held-out windows.

    Args:
        path: of the flow's training.
        scores: of sounds for these windows; None leaves out what needs a judge.
        latent_noise: deviation of the noise on standardised latents in the flow's training; the
            same noise is added to the true latents for the comparison and the likelihood.
        density_clips: number of windows for the likelihood, of a flow that has a velocity.

    Returns:
        "samples": number of evaluations -> "solver", "steps", "onset_f1", "shuffled_f1", "gain"
        (intervals over clips), "variance", "noise_level" (relative to the true ones, see
        `evaluation.latent_statistics`), "spread" (of two samples of a clip, first clips only),
        "frechet_latent" (distance of single latent frames), "flow_s_per_10s" and, with `scores`,
        "material_accuracy" and the columns of `SoundScores.figures`. "true": the same figures of
        the decoded true latents, an upper bound of codec and detector. "density": see
        `measure_density`.

    Raises:
        CheckpointError: the flow generates values that are not finite.
    """
    flow.requires_grad_(False)
    with torch.no_grad():
        noise = latent_noise * flow.latent_scale * _normal(windows.latents.shape, seed + 1)
        noisy = flow.standardise(windows.latents) + noise
        true = flow.restore(noisy)
        first = windows.condition.rows(torch.arange(len(true))[:BATCH_WINDOWS])
        sample_from_flow = functools.partial(sample_latents, flow, path=path, guidance=guidance)
        samples: dict[str, Any] = {}
        for sampling in samplings:
            latents = sample_from_flow(windows.condition, sampling, seed=seed)
            if not latents.isfinite().all():
                raise CheckpointError(
                    f"solver {sampling.solver!r}, {sampling.steps} steps: the flow generates "
                    "values that are not finite",
                    hint="train it again with a lower train.learning_rate",
                )
            again = sample_from_flow(first, sampling, seed=seed + 1)
            sounds = decode_latents(codec, latents)
            figures, onsets = _sound_figures(sounds, windows, scores)
            samples[str(sampling.evaluations)] = {
                "solver": sampling.solver,
                "steps": sampling.steps,
                **figures,
                **_latent_figures(windows, true, latents, again, onsets),
                "flow_s_per_10s": flow_seconds(
                    flow, sampling, segments=windows.segments, path=path, guidance=guidance
                ),
            }
        decoded = decode_latents(codec, windows.latents)
        result = {
            "samples": samples,
            "true": _sound_figures(decoded, windows, scores)[0],
        }
        if density_clips:
            result["density"] = measure_density(
                flow,
                noisy[:density_clips],
                windows.condition.rows(torch.arange(len(noisy))[:density_clips]),
                path=path,
                guidance=guidance,
                seed=seed,
            ) | {"latent_noise": latent_noise}
    return result


def _latent_figures(
    windows: HeldOutWindows,
    true: Tensor,
    generated: Tensor,
    again: Tensor,
    onsets: Sequence[ClipOnsets],
) -> dict[str, Any]:
    """Variation of generated latents; `again` are a second sample of the first clips."""
    # Frames near a true event, or near an onset detected in the same sound, are not quiet.
    quiet = [
        quiet_frames(
            [
                np.concatenate([events_s, detected.times_s])
                for events_s, detected in zip(windows.events_s, side, strict=True)
            ],
            generated.shape[1],
            windows.latent_rate_hz,
        )
        for side in (windows.onsets, onsets)
    ]
    figures = compare_latents(
        true.numpy(), generated.numpy(), true_quiet=quiet[0], generated_quiet=quiet[1]
    )
    return {
        "variance": figures.variance,
        "noise_level": figures.noise_level,
        "spread": sample_diversity(generated[: len(again)], again, deviation=true.std((0, 1))),
        "frechet_latent": figures.frechet,
    }


def sample_latents(
    flow: FlowTransformer,
    condition: Condition,
    sampling: Sampling,
    *,
    path: str = "linear",
    guidance: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Codec latents for all items of a condition, (B, L, C); only the seed determines the noise."""
    noise = _normal(condition.context.shape, seed)
    latents = [
        sample(
            flow,
            condition.rows(items),
            noise[items],
            steps=sampling.steps,
            guidance=guidance,
            solver=sampling.solver,
            path=path,
        )
        for items in _batches(len(noise))
    ]
    return flow.restore(torch.cat(latents))


@torch.no_grad()
def decode_latents(codec: SoundCodec, latents: Tensor) -> NDArray[np.float32]:
    """The sounds of latents, (B, N) float32."""
    sounds = [codec.decode(latents[items]) for items in _batches(len(latents))]
    return np.asarray(torch.cat(sounds).numpy(), np.float32)


@torch.no_grad()
def measure_density(
    flow: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    *,
    path: str = "linear",
    guidance: float = 1.0,
    steps: int = SOLVER_STEPS,
    seed: int = 0,
) -> dict[str, Any]:
    """Likelihood of true sounds given their own video and another clip's, and the round trip.

    The other clip is the next one. Both likelihoods are estimated with the same random signs, so
    that most of the estimation error cancels in their difference.

    Args:
        flow: that predicts a velocity.
        audio: (B, L, C) standardised latents, B at least 2.
        steps: of Heun's method.

    Returns:
        "bits_per_dimension" and "bits_per_dimension_other" (intervals over clips, lower is
        likelier), "matched_likelier" (interval of the fraction of clips whose sound is likelier
        given their own video), "round_trip_error" (relative, audio to noise and back),
        "inverse_error" (the same with `likelihood.invert`), "solver_steps", "probes", "clips";
        "remark" instead of the first five if a figure is not finite.

    Reference: paper eqs. 2, 3 and 6.
    """
    count = len(audio)
    other = condition.rows((torch.arange(count) + 1) % count)
    own_bits: list[float] = []
    other_bits: list[float] = []
    error, inverse_error, size = 0.0, 0.0, 0.0
    for items in _batches(count):
        block = audio[items]
        # Likelihood given both videos, with the same probes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + int(items[0]))
            divergence = hutchinson(block, probes=PROBES)
        for given, bits in ((condition, own_bits), (other, other_bits)):
            velocity = velocity_field(flow, given.rows(items), guidance=guidance)
            likelihood = log_likelihood(
                velocity, block, steps=steps, path=path, divergence=divergence
            )
            bits += likelihood.bits_per_dimension.tolist()
        # To noise and back
        velocity = velocity_field(flow, condition.rows(items), guidance=guidance)
        noises = [method(velocity, block, steps=steps, path=path) for method in (encode, invert)]
        errors = [decode(velocity, noise, steps=steps, path=path) - block for noise in noises]
        error += float(errors[0].double().square().sum())
        inverse_error += float(errors[1].double().square().sum())
        size += float(block.double().square().sum())
    settings = {"solver_steps": steps, "probes": PROBES, "clips": count}
    finite = np.isfinite([*own_bits, *other_bits, error, inverse_error])
    if not finite.all():
        remark = f"{(~finite).sum()} of {len(finite)} figures are not finite: the solver diverged"
        return settings | {"remark": remark}
    likelier = np.array(own_bits) < np.array(other_bits)
    return settings | {
        "bits_per_dimension": asdict(bootstrap_mean(own_bits)),
        "bits_per_dimension_other": asdict(bootstrap_mean(other_bits)),
        "matched_likelier": asdict(bootstrap_mean(likelier.astype(float))),
        "round_trip_error": math.sqrt(error / size),
        "inverse_error": math.sqrt(inverse_error / size),
    }


@torch.no_grad()
def flow_seconds(
    flow: FlowTransformer,
    sampling: Sampling,
    *,
    segments: int,
    path: str = "linear",
    guidance: float = 1.0,
    duration_s: float = TIMED_S,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds that the flow takes for a clip, cut into windows of `segments`.

    This is the sum over windows of the median of three runs, measured by `clock`.
    """
    segment_s = flow.config.latents_per_segment / flow.config.latent_rate_hz
    plan = WindowPlan.of_length(segments)
    lengths = [length for _, length, _ in plan.cut(count_covering(duration_s, 1 / segment_s))]
    seconds = {}
    for length in sorted(set(lengths)):
        condition = _random_condition(flow, length)
        noise = _normal(condition.context.shape, 0)
        times_s = []
        for _ in range(1 + REPEATS):  # the first one is a warm-up
            began_s = clock()
            sample(
                flow,
                condition,
                noise,
                steps=sampling.steps,
                guidance=guidance,
                solver=sampling.solver,
                path=path,
            )
            times_s.append(clock() - began_s)
        seconds[length] = float(np.median(times_s[1:]))
    return sum(seconds[length] for length in lengths)


def _random_condition(flow: FlowTransformer, segments: int) -> Condition:
    """One window of random features."""
    config = flow.config
    count = segments * config.latents_per_segment
    return Condition(
        video=_normal((1, count, config.condition_width), 1),
        states=_normal((1, segments, config.condition_width), 2),
        cues=torch.zeros(1, count, config.cue_channels),
        has_video=torch.ones(1, dtype=torch.bool),
        context=torch.zeros(1, count, config.channels),
        known=torch.zeros(1, count, dtype=torch.bool),
    )


def _sound_figures(
    sounds: NDArray[np.float32], windows: HeldOutWindows, scores: SoundScores | None
) -> tuple[dict[str, Any], list[ClipOnsets]]:
    """Figures of sounds generated for windows, and the onsets of the sounds."""
    waveforms = _waveforms(sounds, windows.rate_hz)
    onsets = [clip_onsets(each) for each in waveforms]
    score = compare(windows.onsets, onsets, windows_s=(WINDOW_S,)).windows[0]
    intervals = score.intervals_json()
    figures: dict[str, Any] = {"onset_f1": intervals.pop("f1"), **intervals, "clips": len(sounds)}
    if scores is not None:
        tagger = scores.tagger
        correct = [
            tagger.material(preprocess_audio(tagger, each)) == material
            for each, material in zip(waveforms, windows.materials, strict=True)
            if material is not None
        ]
        accuracy = asdict(bootstrap_mean(np.array(correct, float))) if correct else None
        figures |= {"material_accuracy": accuracy, **scores.figures(waveforms)}
    return figures, onsets


def _waveforms(sounds: NDArray[np.float32], rate_hz: int) -> list[Waveform]:
    return [Waveform(samples=sound[None], rate_hz=rate_hz) for sound in sounds]


def _batches(count: int) -> Iterator[Tensor]:
    """Indices of consecutive batches of windows."""
    yield from torch.arange(count).split(BATCH_WINDOWS)


def _normal(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
