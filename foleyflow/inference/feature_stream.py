"""Streams the frames of a video through the aligner, window by window, in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.alignment.model import Alignment, FlowCondition
from foleyflow.encoders.frozen import FRAMES_PER_BATCH
from foleyflow.parallel.precision import fast_autocast
from foleyflow.parallel.threads import in_background
from foleyflow.system.stopwatch import Stopwatch

TimedFrame = tuple[float, NDArray[np.uint8]]  # time in seconds, (S, S, 3) RGB

FRAMES_AHEAD = 2 * FRAMES_PER_BATCH  # decoded frames that wait for the encoder
BATCHES_AHEAD = 2  # batches of encoded frames that wait for the alignment


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

    def reaches(self, end_s: float) -> bool:
        """Whether there is a frame at `end_s` or later; frames are read until then."""
        while not self._times_s or self._times_s[-1] < end_s:
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._times_s += batch[0]
            self._features += batch[1]
        return True

    def between(self, start_s: float, end_s: float) -> tuple[Tensor, Tensor]:
        """(1, T, D) features of the frames in [start_s, end_s), and (1, T) seconds since start_s.

        If no frame is in the range, the last frame before it is used.
        """
        self.reaches(end_s)
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
