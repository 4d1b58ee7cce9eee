"""A table of the flow with one cell of each kind: used by tests in this process and in another.

python miniature_table.py ablate miniature ...    the command line with this table in it
"""

from __future__ import annotations

import sys

from foleyflow.cli.app import app
from foleyflow.experiments.flow_tables import FLOW_TABLES, Comparison, FlowCell, FlowRow, FlowTable

MINIATURE = "miniature"


def _line(kind: str, evaluations: int) -> FlowRow:
    return FlowRow(cell=FlowCell(aligner="vama", kind=kind), evaluations=evaluations)


FLOW_TABLES[MINIATURE] = FlowTable(
    title="One cell of each kind",
    rows=(
        _line("dcf", 1),
        _line("dcf", 25),
        _line("unmerged", 1),
        _line("gdcf", 1),
        _line("polished", 1),
        _line("distilled", 1),
        _line("diffusion", 25),
    ),
    comparisons=(
        Comparison(asks="GDCF in 1 - DCF in 25", first=_line("gdcf", 1), second=_line("dcf", 25)),
    ),
)

if __name__ == "__main__":
    app(sys.argv[1:])
