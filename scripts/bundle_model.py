"""Gathers codec, aligner and flow, each trained by `foleyflow train`, in one model folder.

python scripts/bundle_model.py runs/codec/model runs/align/model runs/flow/model --out MODEL
"""

from __future__ import annotations

import argparse
from pathlib import Path

from foleyflow.weights import merge_models


def main() -> None:
    """Parses the arguments, merges, prints what the folder holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("foleyflow/assets/model"))
    arguments = parser.parse_args()
    print(", ".join(merge_models(arguments.folders, arguments.out)))


if __name__ == "__main__":
    main()
