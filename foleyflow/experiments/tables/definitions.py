"""Definitions of the ablation tables 2 to 5 of the paper, with a part for one or both stages.

Within a part, only the listed settings differ. Networks are small and trainings short: a table
takes hours on two cores, and shows an order rather than the best quality.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from foleyflow.errors import ConfigError
from foleyflow.experiments.tables.cells import (
    PUBLISHED_PREFIX,
    AlignerCell,
    Comparison,
    FlowCell,
    Row,
    Stage,
    Table,
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


# Question -> aligners of the first and of the second row. Masked reconstruction and the onset term
# are two ideas; each is switched on with and without the other.
_QUESTIONS_2 = {
    "masked reconstruction, without onset term: VAMA - no alignment": ("vama-no-onset", "none"),
    "without onset term: VAMA - CAVP": ("vama-no-onset", "cavp"),
    "masked reconstruction, with onset term: VAMA - onset term alone": ("vama", "onset"),
    "with onset term: VAMA - CAVP": ("vama", "cavp-onset"),
    "onset term: added to VAMA": ("vama", "vama-no-onset"),
    "onset term: added to CAVP": ("cavp-onset", "cavp"),
    "onset term: alone - no alignment": ("onset", "none"),
}
_CROSSED_2 = ("none", "onset", "cavp", "cavp-onset", "vama-no-onset", "vama")


def _alignment_2() -> Table:
    rows = _aligners(
        AlignerCell("none", "no alignment: random video encoder", "supervised", trained=False),
        AlignerCell("onset", "onset term alone", "onset"),
        AlignerCell("cavp", "contrast, semantic and temporal", "cavp"),
        AlignerCell("cavp-onset", "contrast and onset term", "cavp-onset"),
        AlignerCell("vama-no-onset", "masked alignment", "vama-no-onset"),
        AlignerCell("vama", "masked alignment and onset term (ours)", "vama"),
        AlignerCell("vama-contrast", "VAMA + 0.01 InfoNCE", "vama-contrast"),
        AlignerCell("supervised", "supervised by exact events and materials", "supervised"),
    )
    row_of = {row.name: row for row in rows}
    return Table(
        title="Table 2, the half that concerns VAMA: the value of the training of stage one",
        rows=rows,
        comparisons=tuple(
            Comparison(question=question, first=row_of[first], second=row_of[second])
            for question, (first, second) in _QUESTIONS_2.items()
        ),
    )


def _flow_2() -> Table:
    gdcf = {name: FlowCell(aligner=name, kind="gdcf") for name in _CROSSED_2}
    dcf = {name: replace(cell, kind="dcf") for name, cell in gdcf.items()}
    ours, ours_dcf = gdcf["vama"], dcf["vama"]
    static, static_dcf = replace(ours, static=True), replace(ours_dcf, static=True)
    neither = FlowCell(aligner="cavp", static=True, kind="diffusion")
    return Table(
        title="Table 2, the half that concerns GVAF: condition, timing and flow",
        rows=(
            *_rows(neither, 25),
            *_rows(static_dcf, 25),
            *_rows(static, 1),
            *(row for name in _CROSSED_2 for row in (*_rows(dcf[name], 25), *_rows(gdcf[name], 1))),
            *_rows(ours_dcf, 1),
        ),
        comparisons=(
            *(
                _compare(f"{question}, {kind}", (cells[first], count), (cells[second], count))
                for question, (first, second) in _QUESTIONS_2.items()
                for kind, cells, count in (("GDCF in 1", gdcf, 1), ("DCF in 25", dcf, 25))
            ),
            _compare("dynamic - static, VAMA, DCF in 25", (ours_dcf, 25), (static_dcf, 25)),
            _compare("dynamic - static, VAMA, GDCF in 1", (ours, 1), (static, 1)),
            _compare("GDCF - DCF, both in 1, VAMA, dynamic", (ours, 1), (ours_dcf, 1)),
            _compare("both in 1 - neither in 25", (ours, 1), (neither, 25)),
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
    common_target=False,
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
    common_target=False,
)


def _flow_4() -> Table:
    dcf, unmerged, gdcf, polished, distilled, diffused = (
        FlowCell(aligner="vama", kind=kind)
        for kind in ("dcf", "unmerged", "gdcf", "polished", "distilled", "diffusion")
    )
    gvp, vp = (replace(dcf, path=path) for path in ("gvp", "vp"))
    return Table(
        title="Table 4: the type of flow, VAMA conditions, dynamic, equal numbers of updates",
        rows=tuple(
            row
            for cell in (dcf, gvp, vp, unmerged, gdcf, polished, distilled, diffused)
            for row in _rows(cell)
        ),
        comparisons=(
            _compare("GDCF in 1 - DCF in 25", (gdcf, 1), (dcf, 25)),
            _compare("GDCF - GDCF without merging, both in 1", (gdcf, 1), (unmerged, 1)),
            _compare("GDCF + DMD - GDCF, both in 1", (polished, 1), (gdcf, 1)),
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


def _two_flows(alignment: Table, title: str, *compared: tuple[str, str, str]) -> Table:
    """DCF in 25 steps and GDCF in one step on the features of each aligner of a table.

    `compared` are (question, first aligner, second aligner), for GDCF in one step.
    """
    cells = {row.name: FlowCell(aligner=row.name, kind="gdcf") for row in alignment.rows}
    return Table(
        title=title,
        rows=tuple(
            row
            for cell in cells.values()
            for row in (*_rows(replace(cell, kind="dcf"), 25), *_rows(cell, 1))
        ),
        comparisons=tuple(
            _compare(question, (cells[first], 1), (cells[second], 1))
            for question, first, second in compared
        ),
        ranked=not alignment.common_target,
    )


# Table of the paper -> stage -> part; `targets` is table 3's comparison of audio targets, in small.
TABLES: dict[str, dict[Stage, Table]] = {
    "table2": {"alignment": _alignment_2(), "flow": _flow_2()},
    "table3": {
        "alignment": ALIGNMENT_3,
        "flow": _two_flows(
            ALIGNMENT_3, "Table 3, the half that concerns sound: frozen encoders of stage one"
        ),
    },
    "table4": {"flow": _flow_4()},
    "table5": {
        "alignment": ALIGNMENT_5,
        "flow": _two_flows(
            ALIGNMENT_5,
            "Table 5, the half that concerns sound: the fraction of hidden segments in stage one",
            ("80 % - 30 % hidden, GDCF in 1", "ratio-0.8", "ratio-0.3"),
        ),
    },
    "targets": {
        "alignment": TARGETS,
        "flow": _two_flows(TARGETS, "Sound generated on the features of each target"),
    },
}
# Rows whose losses need labels, which clips for published encoders do not have.
_LABELLED = ("supervised",)


def part_of(
    name: str, stage: str | None, *, encoders: str = "own", without: Collection[str] = ()
) -> tuple[Stage, Table]:
    """A table's part for a stage, by default for its first one.

    Args:
        name: of the table.
        stage: "alignment", "flow" or None.
        encoders: "own", or "published" for the same cells over the recipe `published`, without
            the row that is supervised by labels.
        without: aligners whose rows are left out.

    Raises:
        ConfigError: no such table, it has no part for the stage or not over these encoders, or
            `without` are not some of its aligners.
    """
    if name not in TABLES:
        raise ConfigError(f"table {name!r}: expected one of table1, {', '.join(TABLES)}")
    parts = TABLES[name]
    found = next(((key, part) for key, part in parts.items() if stage in (key, None)), None)
    if found is None:
        raise ConfigError(f"table {name!r}, stage {stage!r}: expected {' or '.join(parts)}")
    known, table = found
    if without:
        table = table.without(without)
    if encoders == "own":
        return known, table
    if encoders != "published":
        raise ConfigError(f"encoders {encoders!r}: expected own or published")
    if not parts.get("alignment", table).common_target:
        raise ConfigError(
            f"table {name!r}: expected no --encoders, since its rows name their own encoders or "
            "targets"
        )
    labelled = {row.cell.aligner for row in table.rows} & set(_LABELLED)
    table = table.without(labelled) if labelled else table
    return known, table.over_published_encoders()


def aligner_cell(name: str) -> AlignerCell:
    """The aligner cell of a name, in any table."""
    cell = next(
        row.cell
        for parts in TABLES.values()
        for table in parts.values()
        for row in table.rows
        if isinstance(row.cell, AlignerCell)
        and row.cell.name == name.removeprefix(PUBLISHED_PREFIX)
    )
    return cell if cell.name == name else cell.over_published_encoders()
