"""Definitions of the ablation tables of the paper, each with a part for one or both stages.

A cell is one training run per seed. Cells of several tables are the same run, and a cell that
begins with another one (the one-step map, for instance, with the velocity flow) shares its
training. Within a part, only the listed settings differ. Networks are small and trainings short:
a table takes hours on two cores, and shows an order rather than the best quality.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from foleyflow.errors import ConfigError
from foleyflow.experiments.measure_flow import DIFFUSION, MAP, VELOCITY, Sampling

Stage = Literal["alignment", "flow"]
FlowKind = Literal["dcf", "unmerged", "gdcf", "polished", "distilled", "diffusion"]
BEGINS_WITH: dict[FlowKind, FlowKind] = {
    "unmerged": "dcf",
    "gdcf": "dcf",
    "distilled": "dcf",
    "polished": "gdcf",
}
KIND_NAMES: dict[FlowKind, str] = {
    "dcf": "DCF",
    "unmerged": "GDCF without merging",
    "gdcf": "GDCF",
    "polished": "GDCF + DMD (eq. 7)",
    "distilled": "distilled from DCF's pairs",
    "diffusion": "diffusion",
}
# A distilled student is trained only for one step.
SAMPLINGS: dict[FlowKind, tuple[Sampling, ...]] = {
    "dcf": VELOCITY,
    "unmerged": MAP,
    "gdcf": MAP,
    "polished": MAP,
    "distilled": MAP[:1],
    "diffusion": DIFFUSION,
}
# Kinds whose network has a velocity, and so a likelihood.
WITH_DENSITY: tuple[FlowKind, ...] = ("dcf", "unmerged", "gdcf", "polished")


@dataclass(frozen=True)
class AlignerCell:
    """A training run of stage one.

    Attributes:
        name: of its folder.
        meaning: a description for the table.
        recipe: of the task `align`, with `settings` as for `--set`.
        trained: False for random weights.
    """

    name: str
    meaning: str
    recipe: str
    settings: tuple[str, ...] = ()
    trained: bool = True
    begins_with: ClassVar[None] = None

    @property
    def aligner(self) -> str:
        """Its own name, as of the aligner of a flow."""
        return self.name


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
        aligners = {"none": "no alignment", "cavp": "CAVP", "vama": "VAMA"}
        condition = aligners.get(self.aligner, self.aligner.replace("ratio-", "hidden "))
        path = "" if self.path == "linear" else f", path {self.path}"
        time = "static" if self.static else "dynamic"
        return f"{condition}, {time}, {KIND_NAMES[self.kind]}{path}"

    @property
    def begins_with(self) -> FlowCell | None:
        """The cell with its initial weights, None for random ones."""
        kind = BEGINS_WITH.get(self.kind)
        return None if kind is None else replace(self, kind=kind)

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """Solvers and step counts of its samples."""
        return SAMPLINGS[self.kind]


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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference of two rows, the first minus the second, for each seed."""

    question: str
    first: Row
    second: Row


@dataclass(frozen=True, kw_only=True)
class Table:
    """One stage's part of a table."""

    title: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()

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
        return Table(
            title=self.title,
            rows=tuple(row for row in self.rows if row.cell.aligner not in aligners),
            comparisons=tuple(
                each
                for each in self.comparisons
                if not {each.first.cell.aligner, each.second.cell.aligner} & set(aligners)
            ),
        )


def _aligners(*cells: AlignerCell) -> tuple[Row, ...]:
    return tuple(Row(cell=cell) for cell in cells)


def _rows(cell: FlowCell, *evaluations: int) -> tuple[Row, ...]:
    """Rows of a flow, by default for all of its step counts."""
    counts = evaluations or tuple(sampling.evaluations for sampling in cell.samplings)
    return tuple(Row(cell=cell, evaluations=count) for count in counts)


def _compare(
    question: str, first: tuple[FlowCell, int], second: tuple[FlowCell, int]
) -> Comparison:
    rows = [Row(cell=cell, evaluations=count) for cell, count in (first, second)]
    return Comparison(question=question, first=rows[0], second=rows[1])


ALIGNMENT_2 = Table(
    title="Table 2, the half that concerns VAMA: the value of the training of stage one",
    rows=_aligners(
        AlignerCell("none", "no alignment: random video encoder", "supervised", trained=False),
        AlignerCell("cavp", "contrast, semantic and temporal", "cavp"),
        AlignerCell("vama", "masked alignment (ours)", "vama"),
        AlignerCell("vama-contrast", "VAMA + 0.01 InfoNCE", "vama-contrast"),
        AlignerCell("supervised", "supervised by exact events and materials", "supervised"),
    ),
)
ALIGNMENT_3 = Table(
    title="Table 3: frozen encoders of video and sound",
    rows=_aligners(
        *(
            AlignerCell(
                f"{video}+{sound}",
                f"{video} + {sound}",
                "published",
                settings=(f"video={video}", f"sound={sound}", "student=own"),
            )
            for video in ("imagebind-video", "mae", "eva-clip-g")
            for sound in ("imagebind-sound", "audiomae")
        )
    ),
)
ALIGNMENT_5 = Table(
    title="Table 5: the fraction of hidden audio segments",
    rows=_aligners(
        *(
            AlignerCell(
                f"ratio-{ratio}",
                f"{round(100 * ratio)} % hidden, none fully",
                "vama",
                settings=(f"losses.ratio={ratio}", "losses.fully_masked_fraction=0"),
            )
            for ratio in (0.3, 0.5, 0.7, 0.8, 0.9)
        )
    ),
)
TARGETS = Table(
    title="Targets of the recovery (the audio side of table 3, at this size)",
    rows=_aligners(
        AlignerCell(
            "mel", "log-mel patches, energy and rises", "vama", settings=("losses.latent=0",)
        ),
        AlignerCell("latents", "codec latents in addition", "vama"),
        AlignerCell("slow-student", "features of a slow copy", "slow-student"),
        AlignerCell("literal", "only codec latents, none fully hidden", "latents-only"),
    ),
)


def _flow_2() -> Table:
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
    unaligned = [cell["none", False, kind] for kind in ("dcf", "gdcf")]
    gdcf, dcf = cell["vama", False, "gdcf"], cell["vama", False, "dcf"]
    return Table(
        title="Table 2, the half that concerns GVAF: condition, timing and flow",
        rows=(
            *_rows(neither, 25),
            *(row for each in (*crossed, *unaligned) for row in _rows(each, 1, 25)),
        ),
        comparisons=(
            _compare(
                "dynamic - static, VAMA, DCF in 25", (dcf, 25), (cell["vama", True, "dcf"], 25)
            ),
            _compare(
                "dynamic - static, VAMA, GDCF in 1", (gdcf, 1), (cell["vama", True, "gdcf"], 1)
            ),
            _compare("GDCF - DCF, both in 1, VAMA, dynamic", (gdcf, 1), (dcf, 1)),
            _compare(
                "VAMA - CAVP, dynamic, GDCF in 1", (gdcf, 1), (cell["cavp", False, "gdcf"], 1)
            ),
            _compare(
                "VAMA - no alignment, dynamic, GDCF in 1",
                (gdcf, 1),
                (cell["none", False, "gdcf"], 1),
            ),
            _compare("both in 1 - neither in 25", (gdcf, 1), (neither, 25)),
        ),
    )


def _flow_4() -> Table:
    dcf, unmerged, gdcf, polished, distilled, diffused = (
        FlowCell(aligner="vama", kind=kind)
        for kind in ("dcf", "unmerged", "gdcf", "polished", "distilled", "diffusion")
    )
    gvp, vp = (replace(dcf, path=path) for path in ("gvp", "vp"))
    return Table(
        title="Table 4: the type of flow, VAMA conditions, dynamic",
        rows=tuple(
            row
            for cell in (dcf, gvp, vp, unmerged, gdcf, polished, distilled, diffused)
            for row in _rows(cell)
        ),
        comparisons=(
            _compare("GDCF in 1 - DCF in 25", (gdcf, 1), (dcf, 25)),
            _compare("GDCF - GDCF without merging, both in 1", (gdcf, 1), (unmerged, 1)),
            _compare("GDCF + DMD in 1 - DCF in 25", (polished, 1), (dcf, 25)),
            _compare("distilled in 1 - DCF in 25", (distilled, 1), (dcf, 25)),
            _compare("GDCF - DCF, both in 1", (gdcf, 1), (dcf, 1)),
            _compare(
                "path gvp - vp, DCF in 25 (the paper's table, read as SiT)", (gvp, 25), (vp, 25)
            ),
            _compare("path gvp - vp, DCF in 1", (gvp, 1), (vp, 1)),
            _compare("DCF - diffusion, both in 25", (dcf, 25), (diffused, 25)),
        ),
    )


def _flow_5() -> Table:
    cells = {row.name: FlowCell(aligner=row.name, kind="gdcf") for row in ALIGNMENT_5.rows}
    return Table(
        title="Table 5, the half that concerns sound: the fraction of hidden segments in stage one",
        rows=tuple(
            row
            for cell in cells.values()
            for row in (*_rows(replace(cell, kind="dcf"), 25), *_rows(cell, 1))
        ),
        comparisons=(
            _compare(
                "80 % - 30 % hidden, GDCF in 1", (cells["ratio-0.8"], 1), (cells["ratio-0.3"], 1)
            ),
        ),
    )


# Table of the paper -> stage -> part; `targets` is table 3's comparison of audio targets, in small.
TABLES: dict[str, dict[Stage, Table]] = {
    "table2": {"alignment": ALIGNMENT_2, "flow": _flow_2()},
    "table3": {"alignment": ALIGNMENT_3},
    "table4": {"flow": _flow_4()},
    "table5": {"alignment": ALIGNMENT_5, "flow": _flow_5()},
    "targets": {"alignment": TARGETS},
}


def part_of(name: str, stage: str | None) -> tuple[Stage, Table]:
    """A table's part for a stage, by default for its first one.

    Raises:
        ConfigError: no such table, or it has no part for the stage.
    """
    if name not in TABLES:
        raise ConfigError(f"table {name!r}: expected one of {', '.join(TABLES)}")
    parts = TABLES[name]
    for known, table in parts.items():
        if stage in (known, None):
            return known, table
    raise ConfigError(f"table {name!r}, stage {stage!r}: expected {' or '.join(parts)}")


def aligner_cell(name: str) -> AlignerCell:
    """The aligner cell of a name, in any table."""
    return next(
        row.cell
        for parts in TABLES.values()
        for table in parts.values()
        for row in table.rows
        if isinstance(row.cell, AlignerCell) and row.cell.name == name
    )
