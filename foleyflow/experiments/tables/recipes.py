"""The recipes of the cells of the ablation tables, with equal numbers of updates for all flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from foleyflow.alignment.model import AlignmentConfig
from foleyflow.errors import ConfigError
from foleyflow.experiments.tables.cells import AlignerCell, FlowCell, Table
from foleyflow.experiments.tables.definitions import aligner_cell
from foleyflow.flow.diffusion import PATH as DIFFUSION_PATH
from foleyflow.pretrained import EMBEDDED
from foleyflow.recipes import recipe_named
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.align import small as small_aligner
from foleyflow.recipes.flow import DistilRecipe, FlowRecipe, distil, paper, small
from foleyflow.recipes.overrides import flat_keys, override
from foleyflow.recipes.published import PublishedRecipe, published, published_flow

# 2.56 s, the shortest window that our judge of synchrony takes
WINDOW_SEGMENTS = 32
# Schedules of both parts of a flow's training at the tables' size. The first part ends without
# decay, so that both together are one schedule with one decay, and is averaged for longer.
BASE_TRAINING: dict[str, Any] = {"warmup_steps": 40, "decay_fraction": 0.0}
FURTHER_TRAINING: dict[str, Any] = {
    "warmup_steps": 20,
    "learning_rate": 5e-4,
    "decay_fraction": 0.4,
    "ema": 0.99,
}
SMALL_PAIRS: dict[str, Any] = {"count": 768, "solver_steps": 8}
SET_BY_THE_TABLE = ("align", "teacher", "train.seed", "model.condition_width")
TOTAL_STEPS = "train.steps"


@dataclass(frozen=True, kw_only=True)
class FlowBudget:
    """Updates of each row: those of the first part, which rows share, and the further ones."""

    base_steps: int
    further_steps: int

    def __post_init__(self) -> None:
        if min(self.base_steps, self.further_steps) < 1:
            raise ConfigError(
                f"base_steps={self.base_steps}, further_steps={self.further_steps}: expected at "
                "least 1 update in each part",
                hint=f"--set {TOTAL_STEPS} sets their sum, at least 2",
            )


SMALL_BUDGET = FlowBudget(base_steps=400, further_steps=240)


def aligner_recipe(
    cell: AlignerCell, *, seed: int, settings: Sequence[str]
) -> AlignRecipe | PublishedRecipe:
    """The complete recipe of an aligner; recipes over published encoders keep their size.

    Raises:
        ConfigError: an unknown setting, or a value of the wrong type.
    """
    named = recipe_named("align", cell.recipe)
    sized: AlignRecipe | PublishedRecipe
    if not isinstance(named, AlignRecipe):
        sized = named
    elif cell.published:
        # The losses of the small recipe, and what it changes in the model for them
        sized = published()
        default = asdict(AlignmentConfig())
        changed = {
            key: value for key, value in asdict(named.model).items() if value != default[key]
        }
        sized = replace(sized, model=replace(sized.model, **changed), losses=named.losses)
    else:
        sized = small_aligner(named)
        sized = replace(sized, windows=replace(sized.windows, segments=WINDOW_SEGMENTS))
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
            `base_steps` and `further_steps` are the updates of both parts of every row,
            `train.steps` is their sum, which is divided as by default.
        align: model folder of the aligner.
        begin: model folder of the flow that it begins with, or None.
        condition_width: width of the aligner's features; None for that of the recipe.

    Raises:
        ConfigError: a value of the wrong type.
    """
    recipe = replace(_plain_recipe(cell), codec=str(EMBEDDED), align=str(align))
    budget, settings = flow_budget(settings, default=_default_budget(cell))
    recipe = override(recipe, [each for each in settings if _key(each) in flat_keys(recipe)])
    steps = budget.base_steps if cell.begins_with is None else budget.further_steps
    recipe = replace(recipe, train=replace(recipe.train, seed=seed, steps=steps))
    if isinstance(recipe, DistilRecipe):
        return replace(recipe, teacher=str(begin))
    # The same stages for every number of updates: distribution matching in the last sixth,
    # progressive distillation in the last four ninths of the rest.
    polish_steps = max(1, steps // 6) if cell.kind == "polished" else 0
    merges = cell.kind in ("gdcf", "polished")
    one_step = cell.kind in ("unmerged", "gdcf", "polished")
    flow: FlowRecipe = replace(
        recipe,
        model=replace(
            recipe.model, condition_width=condition_width or recipe.model.condition_width
        ),
        stages=replace(
            recipe.stages,
            dcf_steps=0 if one_step else steps,
            merge_steps=4 * (steps - polish_steps) // 9 if merges else 0,
            polish_steps=polish_steps,
        ),
    )
    return flow


def flow_budget(
    settings: Sequence[str], *, default: FlowBudget
) -> tuple[FlowBudget, tuple[str, ...]]:
    """The updates of both parts, and the settings without those that give them.

    Raises:
        ConfigError: a value of the wrong type, less than one update in a part, or the sum together
            with a part.
    """
    own = [each for each in settings if _key(each) in asdict(default)]
    total = [each for each in settings if _key(each) == TOTAL_STEPS]
    rest = tuple(each for each in settings if each not in (*own, *total))
    if own and total:
        raise ConfigError(
            f"--set {total[-1]} is the sum of base_steps and further_steps, got both",
            hint=f"give {TOTAL_STEPS}, or the parts",
        )
    if not total:
        return override(default, own), rest
    train = override(paper(), total).train
    share = default.base_steps / (default.base_steps + default.further_steps)
    base_steps = round(share * train.steps)
    return FlowBudget(base_steps=base_steps, further_steps=train.steps - base_steps), rest


def check_settings(table: Table, settings: Sequence[str]) -> None:
    """Refuse a setting that no flow of a table has.

    Raises:
        ConfigError: it is not `key=value`, there is no such setting (the nearest one is
            suggested), or the table itself sets it.
    """
    cells = [cell for cell in table.cells if isinstance(cell, FlowCell)]
    _, settings = flow_budget(settings, default=_default_budget(cells[0]))
    recipes = [_plain_recipe(cell) for cell in cells]
    known = {key for recipe in recipes for key in flat_keys(recipe)}
    for each in settings:
        if _key(each) not in known:
            override(recipes[0], [each])
        elif _key(each) in SET_BY_THE_TABLE:
            raise ConfigError(
                f"--set {each}: the table sets this itself, for each cell",
                hint="--aligners gives the folder of aligners, --seeds the number of runs",
            )


def has_published_encoders(cell: FlowCell) -> bool:
    """Whether the aligner of a flow has published encoders."""
    recipe = aligner_recipe(aligner_cell(cell.aligner), seed=0, settings=())
    return isinstance(recipe, PublishedRecipe)


def _default_budget(cell: FlowCell) -> FlowBudget:
    """At the tables' size 640 updates; over published encoders those of `published_flow`."""
    if not has_published_encoders(cell):
        return SMALL_BUDGET
    recipe = published_flow()
    base_steps = recipe.stages.dcf_steps
    return FlowBudget(base_steps=base_steps, further_steps=recipe.train.steps - base_steps)


def _plain_recipe(cell: FlowCell) -> Any:
    """The recipe of a cell without settings, and without the numbers of updates.

    At the tables' size, both parts together train in 4 to 8 minutes on one core.
    """
    is_published = has_published_encoders(cell)
    part = BASE_TRAINING if cell.begins_with is None else FURTHER_TRAINING
    if is_published:
        plain = published_flow()
        # The first part has no decay, as at the tables' size
        part = {key: part[key] for key in ("decay_fraction",) if cell.begins_with is None}
    else:
        plain = small(paper())
        plain = replace(plain, windows=replace(plain.windows, segments=WINDOW_SEGMENTS))
    train = replace(plain.train, **part)
    if cell.kind == "distilled":
        base = distil()
        return replace(
            base,
            pairs=base.pairs if is_published else replace(base.pairs, **SMALL_PAIRS),
            objective=replace(plain.objective, path=cell.path),
            windows=plain.windows,
            views=plain.views,
            train=train,
        )
    predicts_noise = cell.kind in ("diffusion-base", "diffusion")
    return replace(
        plain,
        model=replace(
            plain.model,
            static=cell.static,
            predicts="noise" if predicts_noise else "velocity",
            prior_path=DIFFUSION_PATH if predicts_noise else cell.path,
        ),
        objective=replace(plain.objective, path=cell.path),
        train=train,
    )


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()
