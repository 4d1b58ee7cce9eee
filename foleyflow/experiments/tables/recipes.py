"""The recipes of the cells of the ablation tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.experiments.tables.definitions import AlignerCell, FlowCell, FlowKind, Table
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.pretrained import EMBEDDED
from foleyflow.recipes import recipe_named
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.align import small as small_aligner
from foleyflow.recipes.flow import DistilRecipe, FlowRecipe, diffusion, distil, polish, small, tiny
from foleyflow.recipes.overrides import flat_keys, override
from foleyflow.recipes.published import PublishedRecipe

TRAINING: dict[FlowKind, dict[str, Any]] = {
    "dcf": {"steps": 600, "warmup_steps": 60},
    "unmerged": {"steps": 360, "warmup_steps": 30, "learning_rate": 5e-4},
    "gdcf": {"steps": 360, "warmup_steps": 30, "learning_rate": 5e-4},
    "polished": {"steps": 60, "warmup_steps": 10, "ema": 0.98},
    "distilled": {"steps": 300, "warmup_steps": 30, "learning_rate": 5e-4, "decay_fraction": 0.5},
    "diffusion": {"steps": 600, "warmup_steps": 60},
}
SET_BY_THE_TABLE = ("align", "teacher", "train.seed", "model.condition_width")


def aligner_recipe(
    cell: AlignerCell, *, seed: int, settings: Sequence[str]
) -> AlignRecipe | PublishedRecipe:
    """The complete recipe of an aligner; recipes over published encoders keep their size.

    Raises:
        ConfigError: an unknown setting, or a value of the wrong type.
    """
    named = recipe_named("align", cell.recipe)
    sized = small_aligner(named) if isinstance(named, AlignRecipe) else named
    recipe: AlignRecipe | PublishedRecipe = override(sized, [*cell.settings, *settings])
    return replace(recipe, train=replace(recipe.train, seed=seed))


def flow_recipe(
    cell: FlowCell,
    *,
    seed: int,
    settings: Sequence[str],
    align: Path,
    begin: Path | None,
    condition_width: int | None = None,
) -> FlowRecipe | DistilRecipe:
    """The complete recipe of a flow.

    Args:
        settings: for all cells, as for `--set`; each applies to the recipes that have it.
        align: model folder of the aligner.
        begin: model folder of the flow that it begins with, or None.
        condition_width: width of the aligner's features; None for that of a small one.

    Raises:
        ConfigError: a value of the wrong type.
    """
    recipe = replace(_base_recipe(cell), codec=str(EMBEDDED), align=str(align))
    recipe = override(recipe, [each for each in settings if _key(each) in flat_keys(recipe)])
    recipe = replace(recipe, train=replace(recipe.train, seed=seed))
    if isinstance(recipe, DistilRecipe):
        return replace(recipe, teacher=str(begin))
    steps = recipe.train.steps
    stages = {
        "dcf": {"dcf_steps": steps},
        "unmerged": {"dcf_steps": 0},
        "gdcf": {"dcf_steps": 0, "merge_steps": 4 * steps // 9},
        "polished": {"dcf_steps": 0, "polish_steps": steps},
        "diffusion": {"dcf_steps": steps},
    }
    flow: FlowRecipe = replace(
        recipe,
        model=replace(
            recipe.model, condition_width=condition_width or recipe.model.condition_width
        ),
        stages=replace(recipe.stages, **stages[cell.kind]),
    )
    return flow


def check_settings(table: Table, settings: Sequence[str]) -> None:
    """Refuse a setting that no flow of a table has.

    Raises:
        ConfigError: it is not `key=value`, there is no such setting (the nearest one is
            suggested), or the table itself sets it.
    """
    recipes = [_base_recipe(cell) for cell in table.cells if isinstance(cell, FlowCell)]
    known = {key for recipe in recipes for key in flat_keys(recipe)}
    for each in settings:
        if _key(each) not in known:
            override(recipes[0], [each])
        elif _key(each) in SET_BY_THE_TABLE:
            raise ConfigError(
                f"--set {each}: the table sets this itself, for each cell",
                hint="--aligners gives the folder of aligners, --seeds the number of runs",
            )


def _base_recipe(cell: FlowCell) -> Any:
    """At the tables' size, without settings. A cell trains in 4 to 8 minutes on one core."""
    if cell.kind == "distilled":
        base, plain = distil(), small(tiny())
        return replace(
            base,
            pairs=replace(base.pairs, count=768, solver_steps=8),
            objective=ObjectiveConfig(path=cell.path),
            windows=plain.windows,
            train=replace(plain.train, **TRAINING[cell.kind]),
        )
    recipe = small({"polished": polish, "diffusion": diffusion}.get(cell.kind, tiny)())
    recipe = replace(
        recipe,
        model=replace(recipe.model, static=cell.static),
        objective=replace(recipe.objective, path=cell.path),
    )
    if recipe.model.predicts == "velocity":
        recipe = replace(recipe, model=replace(recipe.model, prior_path=cell.path))
    return replace(recipe, train=replace(recipe.train, **TRAINING[cell.kind]))


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()
