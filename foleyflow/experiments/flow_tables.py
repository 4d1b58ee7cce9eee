"""The paper's tables that concern the flow, as cells: what each one is, begins with and is asked.

A cell is one training run. Cells that begin with another one (the one-step map, its polish and the
distilled student all begin with the velocity flow of their seed) share its training; cells of
several tables are the same run. Sizes and steps are small: an ordering, not a record.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from foleyflow.errors import ConfigError
from foleyflow.experiments.alignment_tables import TABLES, TableRow
from foleyflow.experiments.measure_flow import DIFFUSION, MAP, VELOCITY, Sampling
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.pretrained import EMBEDDED
from foleyflow.recipes.flow import DistilRecipe, FlowRecipe, diffusion, distil, polish, small, tiny
from foleyflow.recipes.overrides import current_key, flat_keys, override

Kind = Literal["dcf", "unmerged", "gdcf", "polished", "distilled", "diffusion"]
ALIGNER = "aligner."  # settings that begin with it are the aligners'
BEGINS_WITH: dict[Kind, Kind] = {
    "unmerged": "dcf",
    "gdcf": "dcf",
    "distilled": "dcf",
    "polished": "gdcf",
}
KINDS: dict[Kind, str] = {
    "dcf": "DCF",
    "unmerged": "GDCF without merging",
    "gdcf": "GDCF",
    "polished": "GDCF + DMD (eq. 7)",
    "distilled": "distilled from DCF's pairs",
    "diffusion": "diffusion",
}
# How each kind is sampled; one step of a distilled student is all that it was taught.
SAMPLINGS: dict[Kind, tuple[Sampling, ...]] = {
    "dcf": VELOCITY,
    "unmerged": MAP,
    "gdcf": MAP,
    "polished": MAP,
    "distilled": MAP[:1],
    "diffusion": DIFFUSION,
}
# Where the network has a velocity, so that a likelihood and the way back exist.
WITH_DENSITY: tuple[Kind, ...] = ("dcf", "unmerged", "gdcf", "polished")


@dataclass(frozen=True, kw_only=True)
class FlowCell:
    """One training run of a flow table.

    Attributes:
        aligner: row of a stage-one table whose features are the condition.
        kind: of the flow.
        static: the condition is the clip's mean.
        path: a key of `flow.path.PATHS`.
    """

    aligner: str
    kind: Kind
    static: bool = False
    path: str = "linear"

    @property
    def name(self) -> str:
        """Of its folder."""
        parts = [self.aligner, "static" if self.static else "dynamic", self.kind]
        return "-".join(parts if self.path == "linear" else [*parts, self.path])

    @property
    def meaning(self) -> str:
        """In words."""
        aligned = {"none": "no alignment", "cavp": "CAVP", "vama": "VAMA"}
        condition = aligned.get(self.aligner, self.aligner.replace("ratio-", "hidden "))
        path = "" if self.path == "linear" else f", path {self.path}"
        time = "static" if self.static else "dynamic"
        return f"{condition}, {time}, {KINDS[self.kind]}{path}"

    @property
    def begins_with(self) -> FlowCell | None:
        """The cell whose weights it begins with, None for random ones."""
        kind = BEGINS_WITH.get(self.kind)
        return None if kind is None else replace(self, kind=kind)

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """Ways in which it is sampled."""
        return SAMPLINGS[self.kind]


@dataclass(frozen=True, kw_only=True)
class FlowRow:
    """A line of a table: a cell at a number of evaluations."""

    cell: FlowCell
    evaluations: int

    @property
    def name(self) -> str:
        """In the table's JSON."""
        return f"{self.cell.name}@{self.evaluations}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a table is to say of two of its lines: the first minus the second, seed by seed.

    Attributes:
        asks: in words.
        first, second: the lines.
    """

    asks: str
    first: FlowRow
    second: FlowRow


@dataclass(frozen=True, kw_only=True)
class FlowTable:
    """A table of flows.

    Attributes:
        title: what it asks.
        rows: its lines.
        comparisons: of its lines.
    """

    title: str
    rows: tuple[FlowRow, ...]
    comparisons: tuple[Comparison, ...] = ()

    @property
    def cells(self) -> tuple[FlowCell, ...]:
        """All runs that it needs, each after the one that it begins with."""
        found: dict[str, FlowCell] = {}
        for row in self.rows:
            chain = [row.cell]
            while (before := chain[-1].begins_with) is not None:
                chain.append(before)
            found |= {cell.name: cell for cell in reversed(chain) if cell.name not in found}
        return tuple(found.values())

    def without(self, aligners: Collection[str]) -> FlowTable:
        """The lines whose condition is of none of some aligners, and what is said of them alone.

        Raises:
            ConfigError: no line has such an aligner, or all lines have.
        """
        own = {row.cell.aligner for row in self.rows}
        if not set(aligners) < own:
            raise ConfigError(
                f"--without {', '.join(aligners)}: expected some of {', '.join(sorted(own))}, "
                "and not all of them"
            )
        return FlowTable(
            title=self.title,
            rows=tuple(row for row in self.rows if row.cell.aligner not in aligners),
            comparisons=tuple(
                each
                for each in self.comparisons
                if not {each.first.cell.aligner, each.second.cell.aligner} & set(aligners)
            ),
        )


def _rows(cell: FlowCell, *evaluations: int) -> tuple[FlowRow, ...]:
    """Lines of a cell; at all step counts where none are named."""
    counts = evaluations or tuple(way.evaluations for way in cell.samplings)
    return tuple(FlowRow(cell=cell, evaluations=count) for count in counts)


def _against(asks: str, first: tuple[FlowCell, int], second: tuple[FlowCell, int]) -> Comparison:
    rows = (FlowRow(cell=cell, evaluations=count) for cell, count in (first, second))
    return Comparison(asks=asks, first=next(rows), second=next(rows))


def _table_2() -> FlowTable:
    cell = {
        (aligner, static, kind): FlowCell(aligner=aligner, static=static, kind=kind)
        for aligner in ("none", "cavp", "vama")
        for static in (True, False)
        for kind in ("dcf", "gdcf", "diffusion")
    }
    neither = cell["cavp", True, "diffusion"]
    crossed = [
        cell[aligner, static, kind]
        for aligner in ("cavp", "vama")
        for static in (True, False)
        for kind in ("dcf", "gdcf")
    ]
    alone = [cell["none", False, kind] for kind in ("dcf", "gdcf")]
    gdcf, dcf = cell["vama", False, "gdcf"], cell["vama", False, "dcf"]
    return FlowTable(
        title="Table 2, the half that concerns GVAF: condition, timing and flow",
        rows=(
            *_rows(neither, 25),
            *(row for each in (*crossed, *alone) for row in _rows(each, 1, 25)),
        ),
        comparisons=(
            _against(
                "dynamic - static, VAMA, DCF in 25", (dcf, 25), (cell["vama", True, "dcf"], 25)
            ),
            _against(
                "dynamic - static, VAMA, GDCF in 1", (gdcf, 1), (cell["vama", True, "gdcf"], 1)
            ),
            _against("GDCF - DCF, both in 1, VAMA, dynamic", (gdcf, 1), (dcf, 1)),
            _against(
                "VAMA - CAVP, dynamic, GDCF in 1", (gdcf, 1), (cell["cavp", False, "gdcf"], 1)
            ),
            _against(
                "VAMA - no alignment, dynamic, GDCF in 1",
                (gdcf, 1),
                (cell["none", False, "gdcf"], 1),
            ),
            _against("both in 1 - neither in 25", (gdcf, 1), (neither, 25)),
        ),
    )


def _table_4() -> FlowTable:
    dcf, unmerged, gdcf, polished, distilled, diffused = (
        FlowCell(aligner="vama", kind=kind)
        for kind in ("dcf", "unmerged", "gdcf", "polished", "distilled", "diffusion")
    )
    gvp, vp = (replace(dcf, path=path) for path in ("gvp", "vp"))
    return FlowTable(
        title="Table 4: the type of flow, VAMA conditions, dynamic",
        rows=tuple(
            row
            for cell in (dcf, gvp, vp, unmerged, gdcf, polished, distilled, diffused)
            for row in _rows(cell)
        ),
        comparisons=(
            _against("GDCF in 1 - DCF in 25", (gdcf, 1), (dcf, 25)),
            _against("GDCF - GDCF without merging, both in 1", (gdcf, 1), (unmerged, 1)),
            _against("GDCF + DMD in 1 - DCF in 25", (polished, 1), (dcf, 25)),
            _against("distilled in 1 - DCF in 25", (distilled, 1), (dcf, 25)),
            _against("GDCF - DCF, both in 1", (gdcf, 1), (dcf, 1)),
            _against(
                "path gvp - vp, DCF in 25 (the paper's table, read as SiT)", (gvp, 25), (vp, 25)
            ),
            _against("path gvp - vp, DCF in 1", (gvp, 1), (vp, 1)),
            _against("DCF - diffusion, both in 25", (dcf, 25), (diffused, 25)),
        ),
    )


def _table_5() -> FlowTable:
    cells = {row.name: FlowCell(aligner=row.name, kind="gdcf") for row in TABLES["5"].rows}
    return FlowTable(
        title="Table 5, the half that concerns sound: the share of segments hidden in stage one",
        rows=tuple(
            line
            for cell in cells.values()
            for line in (*_rows(replace(cell, kind="dcf"), 25), *_rows(cell, 1))
        ),
        comparisons=(
            _against(
                "80 % - 30 % hidden, GDCF in 1", (cells["ratio-0.8"], 1), (cells["ratio-0.3"], 1)
            ),
        ),
    )


FLOW_TABLES = {"2-flow": _table_2(), "4": _table_4(), "5-flow": _table_5()}


def aligner_row(name: str) -> tuple[str, TableRow]:
    """The stage-one table that has this aligner, and its row there."""
    return next(
        (key, row) for key, table in TABLES.items() for row in table.rows if row.name == name
    )


def cell_recipe(
    cell: FlowCell,
    *,
    seed: int,
    settings: Sequence[str],
    align: Path,
    begin: Path | None,
    guide_width: int | None = None,
) -> FlowRecipe | DistilRecipe:
    """The complete recipe of one cell and seed.

    Args:
        cell: of a table.
        seed: of the weights, the noise and the order of windows.
        settings: for all cells, as for `--set`; each is set where the cell's recipe has it.
        align: model folder of the aligner.
        begin: model folder of the flow that it begins with, or None.
        guide_width: of the aligner's features; None for that of a small one.

    Raises:
        ConfigError: a value that does not fit.
    """
    recipe = _recipe(cell)
    recipe = replace(recipe, codec=str(EMBEDDED), align=str(align))
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
    return replace(
        recipe,
        model=replace(recipe.model, guide_width=guide_width or recipe.model.guide_width),
        stages=replace(recipe.stages, **stages[cell.kind]),
    )


def check_settings(table: FlowTable, settings: Sequence[str]) -> None:
    """Refuses a setting that no cell of a table has.

    Raises:
        ConfigError: it is no `key=value`, or there is no such setting; the nearest is suggested.
    """
    recipes = [_recipe(cell) for cell in table.cells]
    known = {key for recipe in recipes for key in flat_keys(recipe)}
    for each in settings:
        if _key(each) not in known:
            override(recipes[0], [each])
        elif _key(each) in ("align", "teacher", "train.seed", "model.guide_width"):
            raise ConfigError(
                f"--set {each}: the table sets this itself, for each cell",
                hint="--aligners says where aligners lie, --seeds how many runs there are",
            )


def _recipe(cell: FlowCell) -> Any:
    """At the tables' size, before any setting. One cell trains in 4 to 8 minutes on one core."""
    if cell.kind == "distilled":
        base = distil()
        plain = small(tiny())
        return replace(
            base,
            pairs=replace(base.pairs, count=768, solver_steps=8),
            objective=ObjectiveConfig(path=cell.path),
            windows=plain.windows,
            train=replace(
                plain.train, steps=300, learning_rate=5e-4, warmup_steps=30, decay_fraction=0.5
            ),
        )
    recipe = small({"polished": polish, "diffusion": diffusion}.get(cell.kind, tiny)())
    recipe = replace(
        recipe,
        model=replace(recipe.model, static=cell.static),
        objective=replace(recipe.objective, path=cell.path),
    )
    if recipe.model.predicts == "velocity":
        recipe = replace(recipe, model=replace(recipe.model, prior_path=cell.path))
    if cell.kind in ("unmerged", "gdcf"):
        train = replace(recipe.train, steps=360, learning_rate=5e-4, warmup_steps=30)
    elif cell.kind == "polished":
        train = replace(recipe.train, steps=60, ema=0.98, warmup_steps=10)
    else:
        train = replace(recipe.train, steps=600, warmup_steps=60)
    return replace(recipe, train=train)


def _key(assignment: str) -> str:
    return current_key(assignment.partition("=")[0].strip())
