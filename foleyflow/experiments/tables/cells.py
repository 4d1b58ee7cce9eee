"""Cells, rows and comparisons, which the tables consist of.

A cell is one training run per seed. Cells of several tables are the same run, and a cell that
begins with another one (the one-step map, for instance, with flow matching) shares its training.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from foleyflow.errors import ConfigError
from foleyflow.experiments.measure_flow import DIFFUSION, MAP, VELOCITY, Sampling

Stage = Literal["alignment", "flow"]
FlowKind = Literal[
    "base", "dcf", "unmerged", "gdcf", "polished", "distilled", "diffusion-base", "diffusion"
]
# The first part of the training of each row, which all rows of a path share.
BASE_OF: dict[FlowKind, FlowKind] = {
    "dcf": "base",
    "unmerged": "base",
    "gdcf": "base",
    "polished": "base",
    "distilled": "base",
    "diffusion": "diffusion-base",
}
KIND_NAMES: dict[FlowKind, str] = {
    "base": "first part of flow matching",
    "dcf": "DCF",
    "unmerged": "GDCF without merging",
    "gdcf": "GDCF",
    "polished": "GDCF + DMD (eq. 7)",
    "distilled": "distilled from pairs of the first part",
    "diffusion-base": "first part of diffusion",
    "diffusion": "diffusion",
}
# A distilled student is trained only for one step, and first parts are no rows.
SAMPLINGS: dict[FlowKind, tuple[Sampling, ...]] = {
    "base": (),
    "dcf": VELOCITY,
    "unmerged": MAP,
    "gdcf": MAP,
    "polished": MAP,
    "distilled": MAP[:1],
    "diffusion-base": (),
    "diffusion": DIFFUSION,
}
# Kinds of rows whose network has a velocity, and so a likelihood.
_WITH_VELOCITY: tuple[FlowKind, ...] = ("dcf", "unmerged", "gdcf", "polished")
# Aligner cell -> the condition that its features are, in tables of flows.
CONDITION_NAMES = {
    "none": "no alignment",
    "onset": "onset term alone",
    "cavp": "CAVP",
    "cavp-onset": "CAVP with onset term",
    "vama-no-onset": "VAMA without onset term",
    "vama": "VAMA with onset term",
}
PUBLISHED_PREFIX = "published-"  # of the names of cells over published encoders


@dataclass(frozen=True)
class AlignerCell:
    """A training run of stage one.

    Attributes:
        name: of its folder.
        meaning: a description for the table.
        recipe: of the task `align`, with `settings` as for `--set`.
        trained: False for random weights.
        published: over the frozen encoders of the recipe `published`, with the losses of `recipe`.
    """

    name: str
    meaning: str
    recipe: str
    settings: tuple[str, ...] = ()
    trained: bool = True
    published: bool = False
    begins_with: ClassVar[None] = None

    @property
    def aligner(self) -> str:
        """Its own name, as of the aligner of a flow."""
        return self.name

    def over_published_encoders(self) -> AlignerCell:
        """The same losses over published encoders."""
        return replace(
            self,
            name=PUBLISHED_PREFIX + self.name,
            meaning=f"{self.meaning}; published encoders",
            published=True,
        )


@dataclass(frozen=True, kw_only=True)
class FlowCell:
    """A training run of the flow.

    Attributes:
        aligner: name of the aligner cell whose features are the condition.
        kind: of the flow.
        static: the condition is the mean over the clip.
        path: a key of `flow.path.PATHS`.
    """

    aligner: str
    kind: FlowKind
    static: bool = False
    path: str = "linear"

    @property
    def name(self) -> str:
        """Of its folder."""
        parts = [self.aligner, "static" if self.static else "dynamic", self.kind]
        return "-".join(parts if self.path == "linear" else [*parts, self.path])

    @property
    def meaning(self) -> str:
        """A description for the table."""
        aligner = self.aligner.removeprefix(PUBLISHED_PREFIX)
        condition = CONDITION_NAMES.get(aligner, aligner.replace("ratio-", "hidden "))
        encoders = "" if aligner == self.aligner else ", published encoders"
        path = "" if self.path == "linear" else f", path {self.path}"
        time = "static" if self.static else "dynamic"
        return f"{condition}{encoders}, {time}, {KIND_NAMES[self.kind]}{path}"

    @property
    def begins_with(self) -> FlowCell | None:
        """The cell with its initial weights, None for random ones."""
        base = BASE_OF.get(self.kind)
        return None if base is None else replace(self, kind=base)

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """Solvers and step counts of its samples."""
        return SAMPLINGS[self.kind]

    @property
    def has_likelihood(self) -> bool:
        """Whether its likelihood is measured, which takes as long as all of its samples.

        This is so for the types of flow that table 4 compares, on one condition.
        """
        aligner = self.aligner.removeprefix(PUBLISHED_PREFIX)
        return self.kind in _WITH_VELOCITY and aligner == "vama" and not self.static

    def over_published_encoders(self) -> FlowCell:
        """The same flow on the features of the same losses over published encoders."""
        return replace(self, aligner=PUBLISHED_PREFIX + self.aligner)


Cell = AlignerCell | FlowCell


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table: a cell, for a flow with a number of evaluations of the network."""

    cell: Cell
    evaluations: int | None = None

    @property
    def name(self) -> str:
        """In the table's JSON."""
        suffix = "" if self.evaluations is None else f"@{self.evaluations}"
        return self.cell.name + suffix

    def over_published_encoders(self) -> Row:
        """The row of the same losses over published encoders."""
        return replace(self, cell=self.cell.over_published_encoders())


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference of two rows, the first minus the second, for each seed."""

    question: str
    first: Row
    second: Row


@dataclass(frozen=True, kw_only=True)
class Table:
    """One stage's part of a table.

    Attributes:
        title: of the table.
        rows: in order.
        comparisons: of its rows.
        common_target: whether all rows recover the same features. Else R² is left out, because it
            depends on the features.
        ranked: whether rows are ranked by their generated sound.
    """

    title: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    common_target: bool = True
    ranked: bool = False

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All required runs, each after the one that it begins with."""
        found: dict[str, Cell] = {}
        for row in self.rows:
            chain: list[Cell] = [row.cell]
            while (before := chain[-1].begins_with) is not None:
                chain.append(before)
            found |= {cell.name: cell for cell in reversed(chain) if cell.name not in found}
        return tuple(found.values())

    def without(self, aligners: Collection[str]) -> Table:
        """The table without the rows and comparisons of some aligners.

        Raises:
            ConfigError: no row has such an aligner, or all rows have.
        """
        own = {row.cell.aligner for row in self.rows}
        if not set(aligners) < own:
            raise ConfigError(
                f"--without {', '.join(aligners)}: expected some of {', '.join(sorted(own))}, "
                "and not all of them"
            )
        return replace(
            self,
            rows=tuple(row for row in self.rows if row.cell.aligner not in aligners),
            comparisons=tuple(
                each
                for each in self.comparisons
                if not {each.first.cell.aligner, each.second.cell.aligner} & set(aligners)
            ),
        )

    def over_published_encoders(self) -> Table:
        """The same rows and comparisons over published encoders."""
        return replace(
            self,
            title=f"{self.title}; published encoders",
            rows=tuple(row.over_published_encoders() for row in self.rows),
            comparisons=tuple(
                replace(
                    each,
                    first=each.first.over_published_encoders(),
                    second=each.second.over_published_encoders(),
                )
                for each in self.comparisons
            ),
        )
