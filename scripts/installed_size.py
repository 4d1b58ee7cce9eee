"""Prints the size of an environment, its largest packages, and how long foleyflow takes to start.

PYTHON scripts/installed_size.py, with the Python of the environment. Bytes are those of the files,
as Docker counts them. Times are medians of separate processes: wall, and processor time, which
depends less on what else runs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

RUNS = 3
STARTS = {
    "python": ["-c", ""],
    "import foleyflow": ["-c", "import foleyflow"],
    "foleyflow --help": ["-m", "foleyflow", "--help"],
    "from foleyflow import FoleyFlow": ["-c", "from foleyflow import FoleyFlow"],
}


def file_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder without following links."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def median_s(arguments: list[str]) -> dict[str, float]:
    """Median wall and processor time of a Python process; the first run is not counted."""
    walls, processors = [], []
    for _ in range(RUNS + 1):
        start_s, used = time.perf_counter(), os.times()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - start_s)
        now = os.times()
        processors.append(now[2] + now[3] - used[2] - used[3])
    return {
        "wall": round(statistics.median(walls[1:]), 2),
        "processor": round(statistics.median(processors[1:]), 2),
    }


def main() -> None:
    """Prints one JSON object."""
    packages = Path(sysconfig.get_path("purelib"))
    parts = sorted(((file_bytes(path), path.name) for path in packages.iterdir()), reverse=True)
    report = {
        "environment_mb": round(file_bytes(Path(sys.prefix)) / 1e6, 1),
        "packages_mb": {name: round(size / 1e6, 1) for size, name in parts[:16]},
        "start_s": {name: median_s(start) for name, start in STARTS.items()},
    }
    print(json.dumps(report, indent=1))


main()
