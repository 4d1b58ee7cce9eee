"""Something computed once for every clip of a split and kept beside it: features, or sound.

The file grows clip by clip; a job that was stopped goes on where it stood. What is stored and under
which name is the caller's matter: a name must say all that it depends on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.parallel.ray_cluster import ParallelMap

SAVED_EVERY = 32  # clips


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """Rows of all clips, one clip after the other, as a memory map.

    Attributes:
        values: (sum of T, ...).
        times_s: (sum of T,) float64 on each clip's clock.
        offsets: (N + 1,) int64; clip n has the rows offsets[n] .. offsets[n + 1] - 1.
    """

    values: NDArray[Any]
    times_s: NDArray[np.float64]
    offsets: NDArray[np.int64]

    def by_clip(self) -> NDArray[Any]:
        """(N, T, ...) where every clip has as many rows."""
        return self.values.reshape(len(self.offsets) - 1, -1, *self.values.shape[1:])


# (T,) times in seconds and (T, ...) values of a clip; all clips' values have one type and shape.
Rows = tuple[NDArray[np.float64], NDArray[np.generic]]


def stored_rows(
    folder: Path,
    rows_of: Callable[[int], Rows],
    *,
    clips: int,
    parallel_map: ParallelMap = map,
) -> StoredRows:
    """Opens the store, or fills it first.

    Args:
        folder: of the store; it appears when it is complete.
        rows_of: computes one clip's rows.
        clips: N.
        spread: who computes what is missing.

    Source: ours.
    """
    if not folder.exists():
        _fill(folder, rows_of, clips, parallel_map)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    offsets = np.concatenate([[0], np.cumsum(about["counts"])]).astype(np.int64)
    return StoredRows(
        values=np.memmap(
            folder / "values.bin",
            np.dtype(about["dtype"]),
            mode="r",
            shape=(int(offsets[-1]), *about["shape"]),
        ),
        times_s=np.fromfile(folder / "times_s.bin", np.float64),
        offsets=offsets,
    )


def _fill(
    folder: Path, rows_of: Callable[[int], Rows], clips: int, parallel_map: ParallelMap
) -> None:
    draft = folder.with_name(folder.name + ".part")
    draft.mkdir(parents=True, exist_ok=True)
    about_path = draft / "about.json"
    about: dict[str, Any] = {"counts": [], "dtype": "", "shape": []}
    if about_path.exists():
        about = json.loads(about_path.read_text(encoding="utf-8"))
    counts: list[int] = list(about["counts"])
    with (
        open(draft / "values.bin", "ab") as values_file,
        open(draft / "times_s.bin", "ab") as times_file,
    ):
        # What was written after the last note of it is written again.
        row_bytes = np.dtype(about["dtype"]).itemsize * math.prod(about["shape"]) if counts else 0
        values_file.truncate(sum(counts) * row_bytes)
        times_file.truncate(sum(counts) * 8)
        for times_s, values in parallel_map(rows_of, range(len(counts), clips)):
            values_file.write(np.ascontiguousarray(values).data)
            times_file.write(np.ascontiguousarray(times_s, np.float64).data)
            counts.append(len(values))
            if len(counts) % SAVED_EVERY == 0 or len(counts) == clips:
                values_file.flush()
                times_file.flush()
                about = {
                    "counts": counts,
                    "dtype": str(values.dtype),
                    "shape": list(values.shape[1:]),
                }
                noted = about_path.with_suffix(".json.part")
                noted.write_text(json.dumps(about), encoding="utf-8")
                os.replace(noted, about_path)
    os.replace(draft, folder)
