"""Analyses of clips from curves that a test writes by hand."""

from __future__ import annotations

import numpy as np
import torch

from foleyflow.alignment.attributes import CueAttributes
from foleyflow.alignment.model import Alignment, AlignmentConfig, FlowCondition
from foleyflow.inference.analysis import Analysis, collect_analysis
from foleyflow.inference.windows import WindowPlan

RATE_HZ = 50.0
MATERIALS = ("wood", "metal", "glass")
CONFIG = AlignmentConfig(
    width=4, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, materials=len(MATERIALS)
)


def bumps(duration_s: float, *peaks: tuple[float, float], floor: float = 0.001) -> np.ndarray:
    """Onset probabilities (L,) with bumps of 40 ms at (time in seconds, height)."""
    segments = int(np.ceil(duration_s / CONFIG.segment_s - 1e-6))
    centres_s = (np.arange(4 * segments) + 0.5) / RATE_HZ
    curve = np.full(len(centres_s), floor)
    for time_s, height in peaks:
        curve = np.maximum(curve, height * np.exp(-0.5 * ((centres_s - time_s) / 0.012) ** 2))
    return curve


def attributes_of(
    count: int,
    *,
    levels_db: float | np.ndarray = -20.0,
    materials: np.ndarray | None = None,
    roll: np.ndarray | float = 0.0,
    scrape: np.ndarray | float = 0.0,
    friction_levels_db: float | np.ndarray = -30.0,
) -> dict[str, np.ndarray]:
    """Attributes of every latent frame: levels (L,), and probabilities (L, M) and (L, 3)."""
    roll, scrape = (np.broadcast_to(np.asarray(value, float), count) for value in (roll, scrape))
    even = np.full((count, len(MATERIALS)), 1 / len(MATERIALS))
    return {
        "levels_db": np.broadcast_to(np.asarray(levels_db, float), count),
        "materials": even if materials is None else np.broadcast_to(materials, even.shape),
        "friction": np.stack([1 - roll - scrape, roll, scrape], -1).clip(1e-6, 1),
        "friction_levels_db": np.broadcast_to(np.asarray(friction_levels_db, float), count),
    }


def analysis_of(
    onsets: np.ndarray,
    *,
    duration_s: float,
    attributes: dict[str, np.ndarray] | None = None,
    plan: WindowPlan | None = None,
) -> Analysis:
    """The analysis of a clip whose windows all see their part of the same curves."""
    aligner = Alignment(CONFIG, encoder=torch.nn.Identity())
    plan = plan or WindowPlan()

    def windows():
        for start, length, kept in plan.cut(len(onsets) // 4):
            inside = slice(4 * start, 4 * (start + length))
            yield start, length, kept, _condition(onsets, inside, attributes)

    return collect_analysis(aligner, windows(), duration_s=duration_s)


def _condition(onsets, inside, attributes) -> FlowCondition:
    def tensor(values) -> torch.Tensor:
        return torch.tensor(np.array(values), dtype=torch.float32)[None]

    found = None
    if attributes is not None:
        cut = {name: tensor(values[inside]) for name, values in attributes.items()}
        found = CueAttributes(
            levels_db=cut["levels_db"],
            materials=cut["materials"].log(),
            strikers=cut["materials"].log(),
            friction=cut["friction"].log(),
            friction_levels_db=cut["friction_levels_db"],
        )
    count = len(onsets[inside])
    return FlowCondition(
        video=torch.zeros(1, count, CONFIG.width),
        states=torch.zeros(1, count // 4, CONFIG.width),
        onsets=tensor(onsets[inside]),
        attributes=found,
    )
