"""From a stream of frames to a stream of latents, window by window, in constant memory.

A window of a few seconds is what the networks were trained on. Each window begins with latents
that the window before it made (its context) and leaves its last moments to the next one, which
sees more of what follows. Knows no files and no sound levels.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment, FlowCondition
from foleyflow.clock import count_covering
from foleyflow.event_peaks import SHORTEST_GAP_S, event_track, find_event_peaks
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.precision import fast_autocast
from foleyflow.parallel.threads import in_background

Item = TypeVar("Item")
FRAMES_AT_ONCE = 32  # other numbers round otherwise: kernels differ by size
FRAMES_AHEAD = 2 * FRAMES_AT_ONCE  # decoded ones that wait for the encoder
BATCHES_AHEAD = 2  # of encoded frames that wait for the alignment
EVENT_THRESHOLD = 0.5  # of the aligner's probability; best on simulated validation clips
# A guess of the material looks at so many windows (about a minute) before the first sound is made.
# It is one for the clip: with one per window, or one that grows more sure, a thing changes its
# timbre while it is being struck.
GUESS_WINDOWS = 24
# Taken for one of these by mistake, a thing that is struck often becomes a tone without an end, so
# that they must be likelier than not. Mistaken for a dull one, it sounds duller than it should.
RINGING = ("metal", "glass")


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """How a clip is cut, in segments of the aligner.

    Attributes:
        length: segments of a window.
        context: segments at a window's start that are known from the window before; few, for
            what a window has got wrong it hands on through them.
        ahead: segments at its end that are left to the next one.
    """

    length: int = 40
    context: int = 3
    ahead: int = 5

    @classmethod
    def of_length(cls, length: int) -> WindowPlan:
        """Windows of so many segments; where they are short, at least half of each is new."""
        quarter = length // 4
        return cls(length=length, context=min(cls.context, quarter), ahead=min(cls.ahead, quarter))

    @property
    def hop(self) -> int:
        """Segments from one window's start to the next's."""
        return self.length - self.context - self.ahead

    def cut(self, segments: int) -> Iterator[tuple[int, int, int]]:
        """(start, length, kept) of each window, together covering `segments`."""
        start = 0
        while True:
            length = min(self.length, segments - start)
            last = start + length >= segments
            yield start, length, length if last else length - self.ahead
            if last:
                return
            start += self.hop


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of the result.

    Attributes:
        latents: (1, T, C) codec latents.
        events_s: moments of the events in it, ascending seconds on the clip's clock.
        material: (materials,) probabilities of the struck material in this window.
    """

    latents: Tensor
    events_s: tuple[float, ...]
    material: NDArray[np.float32]


@dataclass
class Stopwatch:
    """Seconds spent in each part; `count` adds to one.

    Parts that run at the same time, in threads of their own, overlap: their sum may exceed the
    time that passed.
    """

    seconds: dict[str, float]

    def count(self, name: str, began_s: float) -> None:
        """Adds the time since `began_s` (of `time.perf_counter`)."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began_s

    def timed(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; making them is counted, using them is not."""
        source = iter(items)
        while True:
            began_s = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                self.count(name, began_s)
            yield item


@torch.inference_mode()
def generate_latents(
    aligner: Alignment,
    flow: FlowTransformer,
    frames: Iterable[tuple[float, NDArray[np.uint8]]],
    *,
    duration_s: float,
    seed: int,
    steps: int,
    guidance: float,
    material: int,
    plan: WindowPlan,
    watch: Stopwatch,
    on_window: Callable[[float], None],
    guess_material: bool = False,
    solver: str | None = None,
    path: str = "linear",
) -> Generator[Piece, None, None]:
    """Latents of a clip, in the order of time.

    Args:
        aligner: in eval mode.
        flow: in eval mode.
        frames: (time stamp in seconds, (S, S, 3) uint8), in order; taken as they are needed.
        duration_s: of the clip; the pieces cover it.
        seed: noise depends on it and on the window's number alone.
        steps: jumps of the flow map, or of the solver that the network's kind is sampled with.
        guidance: w, at least 1.
        material: 0 for "not given", else 1 + the label's index.
        guess_material: give what `choose_material` makes of the clip's first `GUESS_WINDOWS`, so
            that windows do not each draw a material of their own.
        plan: how to cut.
        watch: gets "encode", "align" and "flow".
        on_window: called with the seconds seen after each window: looking takes most of the time.
        solver: see `sample`; None for the one that the network is made for.
        path: that of the network's training, see `sample`.

    Frames are taken and encoded in two threads of their own, a bounded number ahead; alignment,
    flow and `on_window` run in the caller's. Close the iterator where it is not taken to its end.

    Source: paper eqs. 5 to 8; method sections C.4 and D.5.
    """
    with closing(FeatureStream(aligner, frames, watch, ahead=True)) as features:
        yield from _latents_of_windows(
            aligner,
            flow,
            features,
            duration_s=duration_s,
            seed=seed,
            steps=steps,
            guidance=guidance,
            material=material,
            plan=plan,
            watch=watch,
            on_window=on_window,
            guess_material=guess_material,
            solver=solver,
            path=path,
        )


def _latents_of_windows(
    aligner: Alignment,
    flow: FlowTransformer,
    features: FeatureStream,
    *,
    duration_s: float,
    seed: int,
    steps: int,
    guidance: float,
    material: int,
    plan: WindowPlan,
    watch: Stopwatch,
    on_window: Callable[[float], None],
    guess_material: bool,
    solver: str | None,
    path: str,
) -> Iterator[Piece]:
    """`generate_latents` from the features on."""
    config = aligner.config
    device = next(flow.parameters()).device
    segments = max(1, count_covering(duration_s, 1 / config.segment_s))
    per_segment = config.latents_per_segment
    known = torch.zeros(1, 0, flow.config.channels, device=device)
    events = _Events(config.latent_rate_hz)
    cuts = guided_windows(
        aligner,
        features,
        plan.cut(segments),
        watch,
        lambda end: on_window(min(duration_s, end * config.segment_s)),
    )
    if guess_material:
        first = list(itertools.islice(cuts, GUESS_WINDOWS))
        windows = [guide.materials[0].float().cpu().numpy() for *_, guide in first]
        material = 1 + choose_material(material_of_clip(windows), flow.config.material_names)
        cuts = itertools.chain(first, cuts)
    for number, (start, length, kept, guide) in enumerate(cuts):
        start_s = start * config.segment_s
        began_s = time.perf_counter()
        count = length * per_segment
        probability = guide.onsets[0].float().cpu().numpy()
        known_s = start_s + known.shape[1] / config.latent_rate_hz
        track = events.track(probability, start_s=start_s, known_s=known_s)
        context = torch.zeros(1, count, flow.config.channels, device=device)
        context[:, : known.shape[1]] = known
        condition = Condition(
            video=guide.video,
            states=guide.states,
            events=torch.from_numpy(track)[None].to(device),
            material=torch.tensor([material], device=device),
            context=context,
            known=torch.arange(count, device=device)[None] < known.shape[1],
        )
        noise = _noise(seed, number, count, flow.config.channels).to(device)
        latents = sample(
            flow, condition, noise, steps=steps, guidance=guidance, solver=solver, path=path
        )
        watch.count("flow", began_s)
        fresh = slice(known.shape[1], kept * per_segment)
        yield Piece(
            latents=flow.restore(latents[:, fresh]),
            events_s=events.settle(start_s + kept * config.segment_s),
            material=guide.materials[0].float().cpu().numpy(),
        )
        first_known = plan.hop * per_segment
        known = latents[:, first_known : kept * per_segment]


def material_of_clip(windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What the aligner thinks of a clip's material, by its first `GUESS_WINDOWS` windows.

    Args:
        windows: of each window, in order, the (materials,) probabilities.

    Returns:
        (materials,) float32 probabilities.

    Source: ours.
    """
    mean: NDArray[np.float32] = np.mean(windows[:GUESS_WINDOWS], axis=0)
    return mean


def choose_material(probable: NDArray[np.float32], names: Sequence[str]) -> int:
    """Which material a sound is to be made of, where nobody says so.

    Args:
        probable: (materials,) probabilities, from `material_of_clip`.
        names: of the materials.

    Returns:
        The index of the likeliest; of the likeliest one that does not ring, where a ringing one is
        likeliest but not likelier than all others together.

    Source: ours.
    """
    order = [int(index) for index in np.argsort(-probable, kind="stable")]
    if probable[order[0]] <= 0.5:
        order = [index for index in order if names[index] not in RINGING] or order
    return order[0]


def guided_windows(
    aligner: Alignment,
    features: FeatureStream,
    cuts: Iterable[tuple[int, int, int]],
    watch: Stopwatch,
    seen: Callable[[int], None],
) -> Iterator[tuple[int, int, int, FlowCondition]]:
    """Windows of a clip, each with what the aligner says of it.

    Args:
        aligner: in eval mode.
        features: of the clip's frames.
        cuts: (start, length, kept) segments, from `WindowPlan.cut`.
        watch: gets "align".
        seen: told the segment that each window ends with.

    Yields:
        (start, length, kept, guidance) of each window, in order.

    Source: ours.
    """
    segment_s = aligner.config.segment_s
    for start, length, kept in cuts:
        values, times_s = features.between(start * segment_s, (start + length) * segment_s)
        began_s = time.perf_counter()
        guide = aligner.guide(values, times_s, segments=length)
        watch.count("align", began_s)
        seen(start + length)
        yield start, length, kept, guide


def _noise(seed: int, window: int, count: int, channels: int) -> Tensor:
    state = int(np.random.SeedSequence([seed, window]).generate_state(1, np.uint64)[0] >> 1)
    return torch.randn(1, count, channels, generator=torch.Generator().manual_seed(state))


class _Events:
    """Moments of events over the windows: found in one window, kept in the next ones."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._settled: list[float] = []  # what generated latents hold already
        self._found: list[float] = []  # in the newest window, after the settled ones

    def track(
        self, probability: NDArray[np.float32], *, start_s: float, known_s: float
    ) -> NDArray[np.float32]:
        """(L,) track of a window's events; up to `known_s` they are what windows before found."""
        moments = find_event_peaks(probability, rate_hz=self._rate_hz, threshold=EVENT_THRESHOLD)
        last_s = self._settled[-1] if self._settled else -np.inf
        first_s = max(known_s, last_s + SHORTEST_GAP_S)
        self._found = [float(m) for m in start_s + moments if m >= first_s]
        self._settled = [m for m in self._settled if m >= start_s - SHORTEST_GAP_S]
        shown = np.array([*self._settled, *self._found]) - start_s
        return event_track(shown, len(probability), self._rate_hz)

    def settle(self, end_s: float) -> tuple[float, ...]:
        """The newest window's events before `end_s`, which are sure from now on."""
        sure = tuple(m for m in self._found if m < end_s)
        self._settled += sure
        return sure


@torch.no_grad()
def encoded_frames(
    aligner: Alignment,
    frames: Iterable[tuple[float, NDArray[np.uint8]]],
    watch: Stopwatch,
) -> Generator[tuple[list[float], list[Tensor]], None, None]:
    """Features of frames, some dozens at a time.

    Args:
        aligner: in eval mode; its encoder sees the frames.
        frames: (time stamp in seconds, (S, S, 3) uint8), in order.
        watch: gets "encode".

    Yields:
        The time stamps and the (D,) features of consecutive frames.
    """
    half = aligner.encoder.window // 2
    device = next(aligner.parameters()).device
    pictures: list[NDArray[np.uint8]] = []  # half before the next frame, and after
    times_s: list[float] = []  # of frames not yet encoded
    source = iter(frames)
    ended = False
    while not ended:
        new = list(itertools.islice(source, FRAMES_AT_ONCE))
        ended = len(new) < FRAMES_AT_ONCE
        began_s = time.perf_counter()
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
        times = torch.tensor(times_s[:ready])[None]
        with fast_autocast(device):  # as in training
            values = aligner.watch(stack.to(device), times)[0].float()
        done_s, times_s, pictures = times_s[:ready], times_s[ready:], pictures[ready:]
        watch.count("encode", began_s)
        yield done_s, list(values)


class FeatureStream:
    """Features of frames as they come, forgetting what no window needs any more."""

    def __init__(
        self,
        aligner: Alignment,
        frames: Iterable[tuple[float, NDArray[np.uint8]]],
        watch: Stopwatch,
        *,
        ahead: bool = False,
    ) -> None:
        """Takes frames as `encoded_frames` does.

        Args:
            aligner: in eval mode.
            frames: (time stamp in seconds, (S, S, 3) uint8), in order.
            watch: gets "decode" and "encode".
            ahead: take and encode frames ahead, in two threads; `close` ends them.
        """
        shown: Iterable[tuple[float, NDArray[np.uint8]]] = watch.timed("decode", frames)
        if ahead:
            shown = in_background(shown, depth=FRAMES_AHEAD)
        self._batches = encoded_frames(aligner, shown, watch)
        if ahead:
            self._batches = in_background(self._batches, depth=BATCHES_AHEAD)
        self._shown = shown
        self._features: list[Tensor] = []
        self._times_s: list[float] = []

    def close(self) -> None:
        """Ends the threads that work ahead, and waits for them."""
        self._batches.close()
        if isinstance(self._shown, Generator):
            self._shown.close()

    def between(self, start_s: float, end_s: float) -> tuple[Tensor, Tensor]:
        """(1, T, D) features of frames in [start_s, end_s), their times (1, T) from start_s on."""
        while not self._times_s or self._times_s[-1] < end_s:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._times_s += batch[0]
            self._features += batch[1]
        # A frame stays on screen until the next: where a window has none, the last one counts.
        first = int(np.searchsorted(self._times_s, start_s - 1e-6))
        if first == len(self._times_s) or self._times_s[first] >= end_s - 1e-6:
            first = max(0, first - 1)
        del self._features[:first], self._times_s[:first]
        count = max(1, int(np.searchsorted(self._times_s, end_s - 1e-6)))
        device = self._features[0].device
        # In float64 up to here: float32 has no milliseconds left after some hours.
        since_start_s = np.maximum(np.array(self._times_s[:count]) - start_s, 0.0)
        times = torch.from_numpy(since_start_s.astype(np.float32)).to(device)
        return torch.stack(self._features[:count])[None], times[None]
