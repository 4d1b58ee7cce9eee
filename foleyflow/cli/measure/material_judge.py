"""Loads the judge that recognises materials in sounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from foleyflow.judges.interface import MaterialJudge


def load_material_judge(folder: Path) -> MaterialJudge:
    """The tagger in a model folder, else the one that ships with foleyflow."""
    from foleyflow.judges.adapters import load_judge

    return cast("MaterialJudge", load_judge("tagger-sim", folder))
