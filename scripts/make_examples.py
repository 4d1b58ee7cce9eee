"""Films the example clips that ship with foleyflow (needs the extra `physics`; a few minutes).

python scripts/make_examples.py [--out foleyflow/assets/examples]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from foleyflow.simulation.dataset.simulate import write_example

EXAMPLES = {"chopping": ("strikes", 3), "drums": ("drums", 5), "falling": ("drops", 11)}


def main() -> None:
    """Parses the arguments, films, prints what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("foleyflow/assets/examples"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (family, seed) in EXAMPLES.items():
        path = arguments.out / f"{name}.mp4"
        write_example(path, seed=seed, family=family, duration_s=6.0)
        print(path)


if __name__ == "__main__":
    main()
