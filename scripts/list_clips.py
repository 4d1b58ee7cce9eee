"""Prints the clips of a folder that a manifest puts in the wanted categories, one per line.

    python scripts/list_clips.py CLIPS [--category gh_stick_hits ...] [--all]

The folder holds manifest.csv with the columns name, category and clear_onsets. Without --all only
clips with clear onsets are listed; the default categories are the real clips of impacts.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

IMPACTS = ("gh_stick_hits", "hammering_chopping", "drums_percussion")


def main() -> None:
    """Parses the arguments, reads the manifest, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--category", action="append")
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    wanted = set(arguments.category or IMPACTS)
    with (arguments.clips / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["category"] in wanted and (arguments.all or row["clear_onsets"] == "yes"):
                print(arguments.clips / row["name"])


if __name__ == "__main__":
    main()
