"""Generates the latents of a clip from its analysis and its cues, window by window.

Each window begins with latents of the previous window (its context) and leaves its last segments
to the next window. A changed stretch is generated between known latents on both sides.

Dimension letters: L latent frames, C latent channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foleyflow.cues.arrays import CueArrays
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.tracks import TrackLayout, condition_tracks
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.inference.reference_sound import ReferenceSound
from foleyflow.inference.stretches import BEFORE_S
from foleyflow.inference.window_spool import AnalysedWindow, WindowSpool
from foleyflow.inference.windows import WindowPlan
from foleyflow.system.stopwatch import Stopwatch

OWN_SEED_S = 1.0  # after a cue with a seed of its own, unless another cue follows


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of the flow.

    Attributes:
        seed: the noise of a window depends only on the seed and the window's number.
        steps: of the one-step map or of the solver, per window.
        guidance: scale of classifier-free guidance, at least 1.
        solver, path: see `flow.sampling.sample`.
        reference: a recorded hit whose timbre all windows continue, without the video's conditions.
    """

    seed: int
    steps: int
    guidance: float
    solver: str | None = None
    path: str = "linear"
    reference: ReferenceSound | None = None


@dataclass(frozen=True, kw_only=True)
class SeededFrames:
    """Frames of the clip, from `first` to before `last`, whose noise depends on `seed` instead."""

    first: int
    last: int
    seed: int


def seeded_frames(cues: CueSheet, *, rate_hz: float, frames: int) -> list[SeededFrames]:
    """The frames of the enabled cues with seeds of their own, each up to the next cue.

    Args:
        rate_hz: latent frames per second.
        frames: number of latent frames of the clip.
    """
    chosen = list(cues.enabled)
    stretches = []
    for index, cue in enumerate(chosen):
        if cue.seed is None:
            continue
        end_s = (cue.end_s or cue.time_s) + OWN_SEED_S
        if index + 1 < len(chosen):
            end_s = min(end_s, chosen[index + 1].time_s - BEFORE_S)
        first = max(math.floor((cue.time_s - BEFORE_S) * rate_hz), 0)
        last = min(max(math.floor(end_s * rate_hz), first + 1), frames)
        stretches.append(SeededFrames(first=first, last=last, seed=cue.seed))
    return stretches


@torch.inference_mode()
def generate_latents(
    flow: FlowTransformer,
    windows: WindowSpool,
    cues: CueArrays,
    *,
    plan: WindowPlan,
    sampling: Sampling,
    seeded: Sequence[SeededFrames] = (),
    stopwatch: Stopwatch | None = None,
) -> Iterator[Tensor]:
    """Yield the kept latents (1, T, C) of each window, standardised, in order of time.

    Args:
        flow: in eval mode.
        windows: the analysed windows of the clip, cut by `plan`.
        cues: of the clip.
        plan: sizes of the windows.
        sampling: settings.
        seeded: frames with seeds of their own.
        stopwatch: receives the part "flow".

    Reference: Foley-Flow, eqs. 5 to 8; docs/method.md.
    """
    stopwatch = stopwatch or Stopwatch()
    device = next(flow.parameters()).device
    per_segment = flow.config.latents_per_segment
    previous = torch.zeros(1, 0, flow.config.channels, device=device)
    for number, window in enumerate(windows):
        with stopwatch.measure("flow"):
            count, known = window.length * per_segment, previous.shape[1]
            context = torch.zeros(1, count, flow.config.channels, device=device)
            context[:, :known] = previous
            latents = _sample_window(
                flow,
                number,
                window,
                cues,
                context=context,
                known=torch.arange(count, device=device)[None] < known,
                sampling=sampling,
                seeded=seeded,
            )
        # The part that no later window changes
        yield latents[:, known : window.kept * per_segment]
        previous = latents[:, plan.hop * per_segment : window.kept * per_segment]


@torch.inference_mode()
def regenerate_latents(
    flow: FlowTransformer,
    windows: WindowSpool,
    cues: CueArrays,
    read: Callable[[int, int], Tensor] | None,
    *,
    first: int,
    last: int,
    plan: WindowPlan,
    sampling: Sampling,
    seeded: Sequence[SeededFrames] = (),
) -> Tensor:
    """New latents (1, T, C) of the frames from `first` to before `last` of a clip.

    The latents next to the stretch are known: on both sides as many as a window gets from the
    previous one. `read` returns the standardised latents (1, K, C) between two frames; None
    generates the stretch alone, with nothing known around it. Other arguments as in
    `generate_latents`.
    """
    device = next(flow.parameters()).device
    per_segment = flow.config.latents_per_segment
    reach = plan.context * per_segment
    new = torch.zeros(1, last - first, flow.config.channels, device=device)
    done = first
    for number, window in windows.covering(first // per_segment, -(-last // per_segment)):
        start, count = window.start * per_segment, window.length * per_segment
        end = min(start + window.kept * per_segment, last)
        # The first window that continues what is done
        if not start <= done < end:
            continue
        # Known latents: those of the clip around the stretch, and new ones of earlier windows
        frames = torch.arange(start, start + count, device=device)
        before = (frames >= done - reach) & (frames < done)
        known = (before | (frames >= last) & (frames < last + reach))[None]
        if read is None:
            known = (before & (frames >= first))[None]
            context = torch.zeros(1, count, flow.config.channels, device=device)
        else:
            context = read(start, start + count).to(device)
        begin = max(first, start)
        context[:, begin - start : done - start] = new[:, begin - first : done - first]
        context = torch.where(known[..., None], context, 0.0)
        found = _sample_window(
            flow,
            number,
            window,
            cues,
            context=context,
            known=known,
            sampling=sampling,
            seeded=seeded,
        )
        new[:, done - first : end - first] = found[:, done - start : end - start]
        done = end
    return new


def _sample_window(
    flow: FlowTransformer,
    number: int,
    window: AnalysedWindow,
    cues: CueArrays,
    *,
    context: Tensor,
    known: Tensor,
    sampling: Sampling,
    seeded: Sequence[SeededFrames],
) -> Tensor:
    """The standardised latents of one window, (1, L, C)."""
    config, device = flow.config, context.device
    count = context.shape[1]
    first = window.start * config.latents_per_segment
    # Conditions
    tracks = np.zeros((count, 0), np.float32)
    if config.cue_materials:
        rate_hz, layout = config.latent_rate_hz, TrackLayout(materials=len(config.cue_materials))
        tracks = condition_tracks(
            cues.shift(-first / rate_hz), count, rate_hz=rate_hz, layout=layout
        )
    video, states = (
        torch.from_numpy(values.astype(np.float32))[None].to(device)
        for values in (window.video, window.states)
    )
    condition = Condition(
        video=video,
        states=states,
        cues=torch.from_numpy(tracks)[None].to(device),
        has_video=torch.ones(1, dtype=torch.bool, device=device),
        context=context,
        known=known,
    )
    # Noise of the window, and of the cues with seeds of their own
    noise = _noise((sampling.seed, number), count, config.channels)
    for stretch in seeded:
        begin, end = max(stretch.first, first), min(stretch.last, first + count)
        if begin < end:
            # It depends on the distance from the cue, so that a cue that moves keeps its noise
            own = _noise((stretch.seed, 0, 0), stretch.last - stretch.first, config.channels)
            own = own[:, begin - stretch.first : end - stretch.first]
            noise[:, begin - first : end - first] = own
    # A recorded hit before the window
    added = 0
    if sampling.reference is not None:
        added = sampling.reference.frames
        condition = sampling.reference.before(condition)
        before = _noise((sampling.seed, number, 1), added, config.channels)
        noise = torch.cat([before, noise], 1)
    latents = sample(
        flow,
        condition,
        noise.to(device),
        steps=sampling.steps,
        guidance=sampling.guidance,
        solver=sampling.solver,
        path=sampling.path,
    )
    return latents[:, added:]


def _noise(key: Sequence[int], count: int, channels: int) -> Tensor:
    """Standard normal noise (1, count, C) that depends on the key only."""
    state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.randn(1, count, channels, generator=torch.Generator().manual_seed(state))
