"""Generates the latents of a clip from a stream of its frames, window by window.

Each window begins with latents of the previous window (its context) and leaves its last segments
to the next window. Memory does not grow with the length of the clip.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment, FlowCondition
from foleyflow.clock import count_covering
from foleyflow.encoders.frozen import FRAMES_PER_BATCH
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.inference.event_extraction import EventTracker
from foleyflow.inference.material_choice import GUESS_WINDOWS, choose_material, material_of_clip
from foleyflow.inference.windows import WindowPlan
from foleyflow.parallel.precision import fast_autocast
from foleyflow.parallel.threads import in_background
from foleyflow.system.allocator import release_freed_memory
from foleyflow.system.stopwatch import Stopwatch

TimedFrame = tuple[float, NDArray[np.uint8]]  # time in seconds, (S, S, 3) RGB

FRAMES_AHEAD = 2 * FRAMES_PER_BATCH  # decoded frames that wait for the encoder
BATCHES_AHEAD = 2  # batches of encoded frames that wait for the alignment
# Longer videos return freed memory to the system window by window, so that memory does not grow
# with their length. Shorter ones would only lose time.
RELEASE_AFTER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class LatentChunk:
    """The kept part of one window.

    Attributes:
        latents: (1, T, C) codec latents.
        events_s: ascending times of its events, from the start of the clip.
        material: (materials,) probabilities of the struck material in the window.
    """

    latents: Tensor
    events_s: tuple[float, ...]
    material: NDArray[np.float32]


@dataclass
class ClipFindings:
    """The events of a clip, and the materials of its first `GUESS_WINDOWS` windows."""

    events_s: list[float] = field(default_factory=list)
    materials: list[NDArray[np.float32]] = field(default_factory=list)

    def collect(self, chunks: Iterable[LatentChunk]) -> Iterator[Tensor]:
        """Records the events and materials of the chunks, and yields their latents."""
        for chunk in chunks:
            self.events_s += chunk.events_s
            if len(self.materials) < GUESS_WINDOWS:
                self.materials.append(chunk.material)
            yield chunk.latents


@torch.inference_mode()
def generate_latents(
    aligner: Alignment,
    flow: FlowTransformer,
    frames: Iterable[TimedFrame],
    *,
    duration_s: float,
    seed: int,
    steps: int,
    guidance: float,
    material: int,
    plan: WindowPlan,
    stopwatch: Stopwatch | None = None,
    on_window: Callable[[float], None] | None = None,
    guess_material: bool = False,
    solver: str | None = None,
    path: str = "linear",
) -> Generator[LatentChunk, None, None]:
    """Generates the latents of a clip, in order of time.

    Frames are decoded and encoded ahead in two background threads; alignment, flow and `on_window`
    run in the caller's thread. Close the generator if it is not exhausted.

    Args:
        aligner: in eval mode, with its video encoder.
        flow: in eval mode.
        frames: in order of time; taken as they are needed.
        duration_s: length of the clip, which the chunks cover.
        seed: the noise of a window depends only on the seed and the window's number.
        steps: steps of the one-step map or of the solver, per window.
        guidance: scale of classifier-free guidance, at least 1.
        material: 0 for none, else 1 + the index of the material.
        guess_material: use the choice of `choose_material` for the complete clip instead.
        plan: sizes of the windows.
        stopwatch: receives the parts "decode", "encode", "align" and "flow".
        on_window: called with the seconds of video analysed, after each window's alignment.
        solver, path: see `sample`; None chooses the solver by the network.

    Reference: Foley-Flow, eqs. 5 to 8; docs/method.md.
    """
    stopwatch = stopwatch or Stopwatch()
    config, channels = aligner.config, flow.config.channels
    device = next(flow.parameters()).device
    segments = max(1, count_covering(duration_s, 1 / config.segment_s))
    per_segment = config.latents_per_segment
    events = EventTracker(config.latent_rate_hz)

    def report(end: int) -> None:
        done_s = min(duration_s, end * config.segment_s)
        if done_s > RELEASE_AFTER_S:
            release_freed_memory()
        if on_window is not None:
            on_window(done_s)

    with closing(FeatureStream(aligner, frames, stopwatch, in_threads=True)) as features:
        windows = window_conditions(aligner, features, plan.cut(segments), stopwatch, report)
        # One material for the complete clip, from its first windows
        if guess_material:
            first = list(itertools.islice(windows, GUESS_WINDOWS))
            probabilities = [aligned.materials[0].float().cpu().numpy() for *_, aligned in first]
            clip_material = material_of_clip(probabilities)
            material = 1 + choose_material(clip_material, flow.config.material_names)
            windows = itertools.chain(first, windows)
        previous = torch.zeros(1, 0, channels, device=device)
        for number, (start, length, kept, aligned) in enumerate(windows):
            start_s, count = start * config.segment_s, length * per_segment
            with stopwatch.measure("flow"):
                # Events of this window, and those of the previous window in its context
                track = events.track(
                    aligned.onsets[0].float().cpu().numpy(),
                    start_s=start_s,
                    context_end_s=start_s + previous.shape[1] / config.latent_rate_hz,
                )
                # Context from the previous window
                context = torch.zeros(1, count, channels, device=device)
                context[:, : previous.shape[1]] = previous
                condition = Condition(
                    video=aligned.video,
                    states=aligned.states,
                    events=torch.from_numpy(track)[None].to(device),
                    material=torch.tensor([material], device=device),
                    context=context,
                    known=torch.arange(count, device=device)[None] < previous.shape[1],
                )
                # From noise to latents
                noise = _noise(seed, number, count, channels).to(device)
                latents = sample(
                    flow, condition, noise, steps=steps, guidance=guidance, solver=solver, path=path
                )
            # The part that no later window changes
            yield LatentChunk(
                latents=flow.restore(latents[:, previous.shape[1] : kept * per_segment]),
                events_s=events.settle(start_s + kept * config.segment_s),
                material=aligned.materials[0].float().cpu().numpy(),
            )
            previous = latents[:, plan.hop * per_segment : kept * per_segment]


def window_conditions(
    aligner: Alignment,
    features: FeatureStream,
    cuts: Iterable[tuple[int, int, int]],
    stopwatch: Stopwatch,
    on_window: Callable[[int], None],
) -> Iterator[tuple[int, int, int, FlowCondition]]:
    """Yields (start, length, kept, condition for the flow) of each window, in order.

    Args:
        aligner: in eval mode.
        features: of the clip's frames.
        cuts: (start, length, kept) in segments, from `WindowPlan.cut`.
        stopwatch: receives the part "align".
        on_window: called with the segment at which each window ends.
    """
    segment_s = aligner.config.segment_s
    for start, length, kept in cuts:
        values, times_s = features.between(start * segment_s, (start + length) * segment_s)
        with stopwatch.measure("align"):
            aligned = aligner.flow_condition(values, times_s, segments=length)
        on_window(start + length)
        yield start, length, kept, aligned


def _noise(seed: int, window: int, count: int, channels: int) -> Tensor:
    state = int(np.random.SeedSequence([seed, window]).generate_state(1, np.uint64)[0] >> 1)
    return torch.randn(1, count, channels, generator=torch.Generator().manual_seed(state))


class FeatureStream:
    """Features of frames in order of time; features that no later window needs are dropped."""

    def __init__(
        self,
        aligner: Alignment,
        frames: Iterable[TimedFrame],
        stopwatch: Stopwatch,
        *,
        in_threads: bool = False,
    ) -> None:
        """Takes an aligner in eval mode with its video encoder, and frames in order of time.

        Args:
            stopwatch: receives the parts "decode" and "encode".
            in_threads: decode and encode ahead in two threads; `close` ends them.
        """
        decoded: Iterable[TimedFrame] = stopwatch.timed("decode", frames)
        if in_threads:
            decoded = in_background(decoded, depth=FRAMES_AHEAD)
        self._batches = _encode_frames(aligner, decoded, stopwatch)
        if in_threads:
            self._batches = in_background(self._batches, depth=BATCHES_AHEAD)
        self._decoded = decoded
        self._features: list[Tensor] = []
        self._times_s: list[float] = []

    def close(self) -> None:
        """Ends the background threads and waits for them."""
        self._batches.close()
        if isinstance(self._decoded, Generator):
            self._decoded.close()

    def between(self, start_s: float, end_s: float) -> tuple[Tensor, Tensor]:
        """(1, T, D) features of the frames in [start_s, end_s), and (1, T) seconds since start_s.

        If no frame is in the range, the last frame before it is used.
        """
        while not self._times_s or self._times_s[-1] < end_s:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._times_s += batch[0]
            self._features += batch[1]
        first = int(np.searchsorted(self._times_s, start_s - 1e-6))
        if first == len(self._times_s) or self._times_s[first] >= end_s - 1e-6:
            first = max(0, first - 1)
        del self._features[:first], self._times_s[:first]
        count = max(1, int(np.searchsorted(self._times_s, end_s - 1e-6)))
        device = self._features[0].device
        # Times are float64 up to here: after some hours, float32 can't hold milliseconds.
        since_start_s = np.maximum(np.array(self._times_s[:count]) - start_s, 0.0)
        times = torch.from_numpy(since_start_s.astype(np.float32)).to(device)
        return torch.stack(self._features[:count])[None], times[None]


@torch.no_grad()
def _encode_frames(
    aligner: Alignment, frames: Iterable[TimedFrame], stopwatch: Stopwatch
) -> Generator[tuple[list[float], list[Tensor]], None, None]:
    """Yields the times and (D,) features of consecutive frames, batch by batch."""
    half = cast(int, aligner.encoder.window) // 2
    device = next(aligner.parameters()).device
    pictures: list[NDArray[np.uint8]] = []  # the next batch, with `half` pictures on each side
    times_s: list[float] = []  # of frames that are not encoded yet
    source = iter(frames)
    ended = False
    while not ended:
        new = list(itertools.islice(source, FRAMES_PER_BATCH))
        ended = len(new) < FRAMES_PER_BATCH
        with stopwatch.measure("encode"):
            # The first and the last picture are repeated at the ends of the clip
            if new and not pictures:
                pictures = [new[0][1]] * half
            pictures += [picture for _, picture in new]
            times_s += [time_s for time_s, _ in new]
            if ended and pictures:
                pictures += [pictures[-1]] * half
            ready = len(pictures) - 2 * half
            if ready <= 0:
                continue
            stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)[None]
            with fast_autocast(device):  # as in training
                features = aligner.encode_video(stack.to(device))[0].float()
        encoded_s, times_s, pictures = times_s[:ready], times_s[ready:], pictures[ready:]
        yield encoded_s, list(features)
