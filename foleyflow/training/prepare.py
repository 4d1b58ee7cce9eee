"""Computes the cached features of a training before it starts, possibly on many machines."""

from __future__ import annotations

from pathlib import Path

from foleyflow.parallel.ray_cluster import ParallelMap
from foleyflow.training.task import Recipe

SPLITS = ("train", "validation")


def prepare(recipe: Recipe, data: Path, parallel_map: ParallelMap | None = None) -> dict[str, int]:
    """Fills the caches of a data set that a recipe's training opens.

    Args:
        recipe: of an aligner or a flow.
        data: folder of the data set.
        parallel_map: computes the features; None for this process.

    Returns:
        The number of windows of each split.

    Raises:
        ConfigError: the recipe has no cached features.
    """
    return {split: recipe.prepare(data, split, parallel_map) for split in SPLITS}
