"""`foleyflow data prepare`: what a training would compute first, beforehand, by many machines."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

from foleyflow.cli.outcome import answer
from foleyflow.cluster import RayCluster, Spread
from foleyflow.errors import ConfigError
from foleyflow.recipes import recipe_named
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.dataset import window_source
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.recipes.overrides import override
from foleyflow.recipes.published import PublishedRecipe

SPLITS = ("train", "validation")


def run(
    task_name: str,
    *,
    recipe_name: str,
    data: Path,
    assignments: Sequence[str],
    ray: str | None,
    as_json: bool,
) -> None:
    """Fills the caches of a data set that a recipe's training opens.

    Raises:
        ConfigError: a task or recipe that computes nothing beforehand.
    """
    recipe = override(recipe_named(task_name, recipe_name), assignments)
    with RayCluster(ray) if ray is not None else contextlib.nullcontext() as cluster:
        spread: Spread | None = None
        if cluster is not None:
            on_gpus = isinstance(recipe, PublishedRecipe) and cluster.has_gpus
            spread = functools.partial(cluster.spread, gpus=float(on_gpus))
        rows = _prepared(recipe, data, spread)
    shown = ", ".join(f"{count} windows of {split}" for split, count in rows.items())
    answer({"windows": rows}, as_json=as_json, text=f"{data}: {shown} are ready")


def _prepared(recipe: object, data: Path, spread: Spread | None) -> dict[str, int]:
    """The number of windows of each split."""
    rows: dict[str, int] = {}
    for split in SPLITS:
        if isinstance(recipe, AlignRecipe):
            source = window_source(
                data, split, codec_folder=Path(recipe.codec), config=recipe.windows, spread=spread
            )
            rows[split] = len(source.clips)
        elif isinstance(recipe, PublishedRecipe):
            rows[split] = len(recipe.source(data, split, spread=spread).clips)
        elif isinstance(recipe, FlowRecipe):
            views = recipe.views if split == "train" else 1
            rows[split] = len(recipe.guides(data).guided(split, views, spread=spread).clip)
        else:
            raise ConfigError(
                f"{type(recipe).__name__}: computes nothing that could be prepared",
                hint="align and flow recipes do, all but distil",
            )
    return rows
