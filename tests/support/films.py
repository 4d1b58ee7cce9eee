"""Short films of random pictures, and their analysis by an aligner."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_covering
from foleyflow.inference.analysis import Analysis, collect_analysis
from foleyflow.inference.feature_stream import FeatureStream, window_conditions
from foleyflow.inference.windows import WindowPlan
from foleyflow.system.stopwatch import Stopwatch

SIZE = 16
PLAN = WindowPlan(length=12, context=3, ahead=2)

Film = list[tuple[float, np.ndarray]]


def film(times_s, seed: int = 0) -> Film:
    """(time in seconds, picture) of random pictures."""
    random = np.random.default_rng(seed)
    return [(float(t), random.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)) for t in times_s]


def analyse_film(
    aligner: Alignment,
    frames: Film,
    *,
    duration_s: float,
    plan: WindowPlan = PLAN,
    on_window: Callable[[int], None] = lambda end: None,
) -> Analysis:
    """The analysis of a film, as `FoleyFlow` makes it from a video."""
    stopwatch = Stopwatch()
    cuts = plan.cut(max(1, count_covering(duration_s, 1 / aligner.config.segment_s)))
    features = FeatureStream(aligner, iter(frames), stopwatch)
    windows = window_conditions(aligner, features, cuts, stopwatch, on_window)
    return collect_analysis(aligner, windows, duration_s=duration_s)
