"""A flow table with one cell of each kind, for tests in this process and in another.

python miniature_table.py ablate miniature ...    the command line with this table
"""

from __future__ import annotations

import sys

from foleyflow.cli.app import app
from foleyflow.experiments.tables.cells import Comparison, FlowCell, Row, Table
from foleyflow.experiments.tables.definitions import TABLES

MINIATURE = "miniature"


def _row(kind: str, evaluations: int) -> Row:
    return Row(cell=FlowCell(aligner="vama", kind=kind), evaluations=evaluations)


TABLES[MINIATURE] = {
    "flow": Table(
        title="One cell of each kind",
        rows=(
            _row("dcf", 1),
            _row("dcf", 25),
            _row("unmerged", 1),
            _row("gdcf", 1),
            _row("polished", 1),
            _row("distilled", 1),
            _row("diffusion", 25),
        ),
        comparisons=(
            Comparison(
                question="GDCF in 1 - DCF in 25", first=_row("gdcf", 1), second=_row("dcf", 25)
            ),
        ),
    )
}

if __name__ == "__main__":
    app(sys.argv[1:])
