"""`foleyflow data prepare`: what a training would compute first, beforehand, by many machines."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

from foleyflow.cli.console import print_result
from foleyflow.errors import ConfigError
from foleyflow.features.codec_latents import window_source
from foleyflow.parallel.ray_cluster import ParallelMap, RayCluster
from foleyflow.recipes import recipe_named
from foleyflow.recipes.align import AlignRecipe
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
        parallel_map: ParallelMap | None = None
        if cluster is not None:
            on_gpus = isinstance(recipe, PublishedRecipe) and cluster.has_gpus
            parallel_map = functools.partial(cluster.parallel_map, gpus=float(on_gpus))
        rows = _prepared(recipe, data, parallel_map)
    shown = ", ".join(f"{count} windows of {split}" for split, count in rows.items())
    print_result({"windows": rows}, as_json=as_json, text=f"{data}: {shown} are ready")


def _prepared(recipe: object, data: Path, parallel_map: ParallelMap | None) -> dict[str, int]:
    """The number of windows of each split."""
    rows: dict[str, int] = {}
    for split in SPLITS:
        if isinstance(recipe, AlignRecipe):
            source = window_source(
                data,
                split,
                codec_folder=Path(recipe.codec),
                config=recipe.windows,
                parallel_map=parallel_map,
            )
            rows[split] = len(source.clips)
        elif isinstance(recipe, PublishedRecipe):
            rows[split] = len(recipe.source(data, split, parallel_map=parallel_map).clips)
        elif isinstance(recipe, FlowRecipe):
            views = recipe.views if split == "train" else 1
            rows[split] = len(
                recipe.guides(data).guided(split, views, parallel_map=parallel_map).clip
            )
        else:
            raise ConfigError(
                f"{type(recipe).__name__}: computes nothing that could be prepared",
                hint="align and flow recipes do, all but distil",
            )
    return rows
