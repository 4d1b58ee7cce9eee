"""How good a flow is on held-out clips: its samples at several step counts, and its density.

Each clip is asked for the sound of its first window, with the noise of its number, so that step
counts and systems are compared on the same noise. Timing alone would reward a generator of means,
so every score of onsets stands beside how the same latents vary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_covering
from foleyflow.codec.autoencoder import Codec
from foleyflow.data.windows import WindowSource
from foleyflow.errors import CheckpointError
from foleyflow.evaluation.latent_statistics import compare_latents, quiet_frames, spread
from foleyflow.evaluation.metric import bootstrap_mean
from foleyflow.evaluation.metrics.distribution import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    frechet_remark,
)
from foleyflow.evaluation.metrics.synchrony import ClipOnsets, compare, detect_onsets
from foleyflow.event_peaks import event_track, find_event_peaks
from foleyflow.experiments.measure_aligner import first_windows
from foleyflow.features.flow_conditions import guide_rows
from foleyflow.flow.guided_model import velocity_field
from foleyflow.flow.likelihood import decode, encode, hutchinson, invert, log_likelihood
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.inference.event_extraction import EVENT_THRESHOLD
from foleyflow.inference.windows import WindowPlan
from foleyflow.judges.interface import MaterialJudge, judge_json, preprocess_for
from foleyflow.signals import Waveform
from foleyflow.simulation.contacts import MATERIALS

WINDOW_S = 0.05  # of onsets that match
AT_ONCE = 16
SOLVER_STEPS = 25  # of Heun's method, for the density and the round trip
TIMED_S = 10.0  # of sound, for the flow's seconds
REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """One way to get a sound from a flow.

    Attributes:
        solver: one of `flow.sampling.SOLVERS` of what the network predicts.
        steps: of it.
    """

    solver: str
    steps: int

    @property
    def evaluations(self) -> int:
        """Of the network, per window."""
        return self.steps * (2 if self.solver in ("midpoint", "heun") else 1)


# A flow map's jumps, and Euler's steps along the velocity of the same network (its diagonal).
EVALUATIONS = (1, 2, 4, 8, 25)
MAP = tuple(Sampling(solver="map", steps=n) for n in EVALUATIONS)
VELOCITY = tuple(Sampling(solver="euler", steps=n) for n in EVALUATIONS)
# A diffusion network's first step from noise alone divides by e^-5: four steps are the fewest.
DIFFUSION = tuple(Sampling(solver="dpm", steps=n) for n in EVALUATIONS[2:])


@dataclass(frozen=True, kw_only=True)
class ShownWindows:
    """First windows of a split's clips, as a flow is asked for their sound.

    Attributes:
        condition: R rows, nothing known; the events are those that the aligner finds.
        latents: (R, L, C) codec latents of the true sounds.
        sounds: (R, N) float32, the true sounds.
        rate_hz: of them.
        latent_rate_hz: of the latents.
        segments: of each window.
        onsets: heard in the true sounds.
        events_s: R arrays, the true events, seconds from the window's start.
        materials: R names of the struck material, None where nothing is struck.
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

    def __len__(self) -> int:
        return len(self.sounds)


@torch.no_grad()
def show_windows(aligner: Alignment, source: WindowSource, *, clips: int) -> ShownWindows:
    """The first windows of the first `clips` clips, through the aligner.

    Args:
        aligner: in eval mode, on the CPU.
        source: of a held-out split.
        clips: how many, at most.

    Source: ours.
    """
    segments, rate_hz = source.config.segments, aligner.config.latent_rate_hz
    cuts = list(first_windows(source, clips))
    guides = [guide for cut in cuts for guide in guide_rows(aligner, cut, segments)]
    latents, sounds = (torch.cat([cut[name] for cut in cuts]) for name in ("latents", "sound"))
    order = torch.cat([cut["clip"] for cut in cuts]).tolist()
    rows, count = latents.shape[:2]
    tracks = []
    for guide in guides:
        curve = guide.onsets[0].float().numpy()
        found = find_event_peaks(curve, rate_hz=rate_hz, threshold=EVENT_THRESHOLD)
        tracks.append(torch.from_numpy(event_track(found, count, rate_hz)))
    condition = Condition(
        video=torch.cat([guide.video for guide in guides]).float(),
        states=torch.cat([guide.states for guide in guides]).float(),
        events=torch.stack(tracks),
        material=torch.zeros(rows, dtype=torch.int64),
        context=torch.zeros_like(latents),
        known=torch.zeros(rows, count, dtype=torch.bool),
    )
    true = sounds.numpy()
    end_s = count / rate_hz
    events = [source.clips.event_times_s[clip] for clip in order]
    return ShownWindows(
        condition=condition,
        latents=latents,
        sounds=true,
        rate_hz=source.rate_hz,
        latent_rate_hz=rate_hz,
        segments=segments,
        onsets=[detected_onsets(sound, source.rate_hz) for sound in true],
        events_s=[times_s[(times_s >= 0) & (times_s < end_s)] for times_s in events],
        materials=[
            MATERIALS[label] if label >= 0 else None
            for label in source.clips.materials[order].tolist()
        ],
    )


def measure_flow(
    flow: FlowTransformer,
    codec: Codec,
    windows: ShownWindows,
    samplings: Sequence[Sampling],
    *,
    path: str = "linear",
    guidance: float = 1.0,
    judge: MaterialJudge | None = None,
    latent_noise: float = 0.0,
    density_clips: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that is said of a flow on held-out windows.

    Args:
        flow: in eval mode, on the CPU.
        codec: that its latents are of.
        windows: of the test split.
        samplings: ways to get a sound.
        path: that of the flow's training.
        guidance: w, at least 1.
        judge: that names materials and embeds sounds; None leaves both out.
        latent_noise: deviation of the noise on standardised latents that the flow was trained
            with; the true latents get as much before they are compared, and for the density.
        density_clips: how many windows the density is taken of, for a flow that has a velocity.
        seed: of all noise.

    Returns:
        "samples": number of evaluations -> figures (see `measure_samples`). "true": the same
        figures of the true latents, decoded: what the codec and the detector leave. "density":
        see `measure_density`. "judge": what must be known of it.

    Source: method sections C.5 and F.6.
    """
    flow.requires_grad_(False)
    with torch.no_grad():
        noise = latent_noise * flow.latent_scale * _normal(windows.latents.shape, seed + 1)
        noisy = flow.standardise(windows.latents) + noise
        true = flow.restore(noisy)
        known = None if judge is None else _embedded(windows.sounds, windows.rate_hz, judge)
        result: dict[str, Any] = {
            "samples": {
                str(way.evaluations): measure_samples(
                    flow,
                    codec,
                    windows,
                    way,
                    true=true,
                    path=path,
                    guidance=guidance,
                    judge=judge,
                    known=known,
                    seed=seed,
                )
                for way in samplings
            },
            "true": _sound_figures(decoded(codec, windows.latents), windows, judge, known)[0],
        }
        if density_clips:
            result["density"] = measure_density(
                flow,
                noisy[:density_clips],
                windows.condition.rows(torch.arange(len(noisy))[:density_clips]),
                guidance=guidance,
                seed=seed,
            ) | {"latent_noise": latent_noise}
    if judge is not None:
        result["judge"] = judge_json(judge)
    return result


@torch.no_grad()
def measure_samples(
    flow: FlowTransformer,
    codec: Codec,
    windows: ShownWindows,
    way: Sampling,
    *,
    true: Tensor,
    path: str,
    guidance: float,
    judge: MaterialJudge | None,
    known: Gaussian | None,
    seed: int,
) -> dict[str, Any]:
    """What one way of sampling gives; `known` are the true sounds in the judge's space.

    Returns:
        "solver", "steps", "onset_f1", "shuffled_f1", "gain" (intervals over clips), "variance",
        "noise_level" (over the true ones, see `evaluation.latents`), "spread" (of two samples of a
        clip, first clips only), "frechet_latent" (distance of single latent frames),
        "flow_s_per_10s" and, with a judge, "material_accuracy" and
        "frechet_NAME".

    Raises:
        CheckpointError: the flow makes numbers that are not finite.
    """
    made = make_latents(flow, windows.condition, way, path=path, guidance=guidance, seed=seed)
    if not made.isfinite().all():
        raise CheckpointError(
            f"solver {way.solver!r}, {way.steps} steps: the flow makes numbers that are not finite",
            hint="train it again with a lower train.learning_rate",
        )
    some = windows.condition.rows(torch.arange(len(made))[:AT_ONCE])
    again = make_latents(flow, some, way, path=path, guidance=guidance, seed=seed + 1)
    heard, onsets = _sound_figures(decoded(codec, made), windows, judge, known)
    count = made.shape[1]
    # Frames near a true event, or near an onset that is heard in the sound itself, are not quiet.
    quiet = [
        quiet_frames(
            [
                np.concatenate([events_s, own.times_s])
                for events_s, own in zip(windows.events_s, side, strict=True)
            ],
            count,
            windows.latent_rate_hz,
        )
        for side in (windows.onsets, onsets)
    ]
    figures = compare_latents(true.numpy(), made.numpy(), true_quiet=quiet[0], made_quiet=quiet[1])
    return {
        "solver": way.solver,
        "steps": way.steps,
        **heard,
        "variance": figures.variance,
        "noise_level": figures.noise_level,
        "spread": spread(made[:AT_ONCE], again, deviation=true.std((0, 1))),
        "frechet_latent": figures.frechet,
        "flow_s_per_10s": flow_seconds(
            flow, way, segments=windows.segments, path=path, guidance=guidance
        ),
    }


def make_latents(
    flow: FlowTransformer,
    condition: Condition,
    way: Sampling,
    *,
    path: str = "linear",
    guidance: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Codec latents for all rows of a condition, (R, L, C); the noise is the seed's alone."""
    noise = _normal(condition.context.shape, seed)
    made = []
    for start in range(0, len(noise), AT_ONCE):
        rows = torch.arange(start, min(start + AT_ONCE, len(noise)))
        made.append(
            sample(
                flow,
                condition.rows(rows),
                noise[rows],
                steps=way.steps,
                guidance=guidance,
                solver=way.solver,
                path=path,
            )
        )
    return flow.restore(torch.cat(made))


@torch.no_grad()
def decoded(codec: Codec, latents: Tensor) -> NDArray[np.float32]:
    """The sounds of latents, (R, N) float32."""
    blocks = [codec.decode(latents[i : i + AT_ONCE]) for i in range(0, len(latents), AT_ONCE)]
    return np.asarray(torch.cat(blocks).numpy(), np.float32)


def detected_onsets(sound: NDArray[np.float32], rate_hz: int) -> ClipOnsets:
    """Onsets of one (N,) sound."""
    times_s = detect_onsets(sound, rate_hz).times_s
    return ClipOnsets(times_s=times_s, duration_s=len(sound) / rate_hz)


@torch.no_grad()
def measure_density(
    flow: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    *,
    guidance: float = 1.0,
    steps: int = SOLVER_STEPS,
    probes: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Likelihood of true sounds under their own video and another clip's, and the way back.

    The other clip is the next one. Both likelihoods are estimated with the same random signs, so
    that what the estimate adds to one it mostly adds to the other.

    Args:
        flow: that predicts a velocity.
        audio: (R, L, C) standardised latents, R at least 2.
        condition: of the same rows, nothing known.
        guidance: w of the velocity.
        steps: of Heun's method.
        probes: of the trace.
        seed: of the probes.

    Returns:
        "bits_per_dimension" and "bits_per_dimension_other" (intervals over clips, lower is
        likelier), "matched_likelier" (interval of the share of clips whose own video makes them
        likelier), "round_trip_error" (relative, audio to noise and back), "inverse_error" (the
        same with the way to noise that undoes the way back, see `likelihood.invert`),
        "solver_steps", "probes", "clips"; "remark" instead of the first five where a figure is
        not finite.

    Source: paper eqs. 2, 3 and 6; method sections C.5 and G (likelihood, invertible).
    """
    count = len(audio)
    other = condition.rows((torch.arange(count) + 1) % count)
    own_bits: list[float] = []
    other_bits: list[float] = []
    error, inverse_error, size = 0.0, 0.0, 0.0
    for start in range(0, count, AT_ONCE):
        rows = torch.arange(start, min(start + AT_ONCE, count))
        block = audio[rows]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + start)
            divergence = hutchinson(block, probes=probes)
        for shown, bits in ((condition, own_bits), (other, other_bits)):
            velocity = velocity_field(flow, shown.rows(rows), guidance=guidance)
            found = log_likelihood(velocity, block, steps=steps, divergence=divergence)
            bits += found.bits_per_dimension.tolist()
        velocity = velocity_field(flow, condition.rows(rows), guidance=guidance)
        noises = encode(velocity, block, steps=steps), invert(velocity, block, steps=steps)
        there, inverse = (decode(velocity, noise, steps=steps) - block for noise in noises)
        error += float(there.double().square().sum())
        inverse_error += float(inverse.double().square().sum())
        size += float(block.double().square().sum())
    about = {"solver_steps": steps, "probes": probes, "clips": count}
    finite = np.isfinite([*own_bits, *other_bits, error, inverse_error])
    if not finite.all():
        lost = f"{(~finite).sum()} of {len(finite)} figures are not finite: the solver lost its way"
        return about | {"remark": lost}
    likelier = np.array(own_bits) < np.array(other_bits)
    return about | {
        "bits_per_dimension": asdict(bootstrap_mean(own_bits)),
        "bits_per_dimension_other": asdict(bootstrap_mean(other_bits)),
        "matched_likelier": asdict(bootstrap_mean(likelier.astype(float))),
        "round_trip_error": math.sqrt(error / size),
        "inverse_error": math.sqrt(inverse_error / size),
    }


@torch.no_grad()
def flow_seconds(
    flow: FlowTransformer,
    way: Sampling,
    *,
    segments: int,
    path: str = "linear",
    guidance: float = 1.0,
    duration_s: float = TIMED_S,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds that the flow takes for a clip, by wall time, one window after the other.

    Args:
        flow: in eval mode.
        way: how it is sampled.
        segments: of a window.
        path: see `sample`.
        guidance: see `sample`.
        duration_s: of the clip; it is cut as `generation` cuts it.
        clock: that is read.

    Returns:
        the sum over windows of the median of three.

    Source: ours.
    """
    config = flow.config
    segment_s = config.latents_per_segment / config.latent_rate_hz
    whole = count_covering(duration_s, 1 / segment_s)
    lengths = [length for _, length, _ in WindowPlan(length=segments).cut(whole)]
    took_s = {}
    for length in sorted(set(lengths)):
        condition = _any_condition(flow, length)
        noise = _normal(condition.context.shape, 0)
        times_s = []
        for _ in range(1 + REPEATS):  # the first one warms up
            began_s = clock()
            sample(
                flow,
                condition,
                noise,
                steps=way.steps,
                guidance=guidance,
                solver=way.solver,
                path=path,
            )
            times_s.append(clock() - began_s)
        took_s[length] = float(np.median(times_s[1:]))
    return sum(took_s[length] for length in lengths)


def _any_condition(flow: FlowTransformer, segments: int) -> Condition:
    """One window of random features, to be timed."""
    config = flow.config
    count = segments * config.latents_per_segment
    return Condition(
        video=_normal((1, count, config.guide_width), 1),
        states=_normal((1, segments, config.guide_width), 2),
        events=torch.zeros(1, count),
        material=torch.zeros(1, dtype=torch.int64),
        context=torch.zeros(1, count, config.channels),
        known=torch.zeros(1, count, dtype=torch.bool),
    )


def _sound_figures(
    sounds: NDArray[np.float32],
    windows: ShownWindows,
    judge: MaterialJudge | None,
    known: Gaussian | None,
) -> tuple[dict[str, Any], list[ClipOnsets]]:
    """What is heard in sounds made for windows, and their onsets."""
    onsets = [detected_onsets(sound, windows.rate_hz) for sound in sounds]
    score = compare(windows.onsets, onsets, windows_s=(WINDOW_S,)).windows[0]
    figures: dict[str, Any] = {
        "onset_f1": asdict(score.f1),
        "shuffled_f1": None if score.shuffled_f1 is None else asdict(score.shuffled_f1),
        "gain": None if score.gain is None else asdict(score.gain),
        "clips": len(sounds),
    }
    if judge is not None and known is not None:
        made = _embedded(sounds, windows.rate_hz, judge)
        right = [
            judge.material(_as_heard(sound, windows.rate_hz, judge)) == material
            for sound, material in zip(sounds, windows.materials, strict=True)
            if material is not None
        ]
        figures |= {
            "material_accuracy": asdict(bootstrap_mean(np.array(right, float))) if right else None,
            f"frechet_{judge.name}": frechet_distance(known, made),
            "frechet_remark": frechet_remark(known, made),
        }
    return figures, onsets


def _embedded(sounds: NDArray[np.float32], rate_hz: int, judge: MaterialJudge) -> Gaussian:
    """Sounds as a distribution in a judge's space."""
    return fit_gaussian(
        np.concatenate([judge.embed(_as_heard(sound, rate_hz, judge)) for sound in sounds])
    )


def _as_heard(
    sound: NDArray[np.float32], rate_hz: int, judge: MaterialJudge
) -> NDArray[np.float32]:
    return preprocess_for(judge, Waveform(samples=sound[None], rate_hz=rate_hz))


def _normal(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
