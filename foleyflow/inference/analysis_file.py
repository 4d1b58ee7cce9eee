"""Stores the analysis of a video in a file, so that it need not be made again.

The file is a zip archive of arrays, written and read window by window, so memory does not grow with
the length of the video.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import DataError
from foleyflow.inference.analysis import Analysis, FrameCurves, HitCandidate
from foleyflow.inference.motion import ColumnMotion
from foleyflow.inference.window_spool import AnalysedWindow, WindowSpool
from foleyflow.system.atomic_files import draft_of

_RECORD = "record.json"
_MOTION = ("times_s", "changes")


def write_analysis(
    path: Path, analysis: Analysis, warnings: list[str], *, origin: Mapping[str, Any]
) -> None:
    """Writes an analysis.

    Args:
        path: of the file.
        analysis, warnings: as `analyse_video` returns them.
        origin: JSON values that identify the video and the model.
    """
    curves = vars(analysis.curves)
    record = {
        "origin": dict(origin),
        "warnings": warnings,
        "duration_s": analysis.duration_s,
        "rate_hz": analysis.rate_hz,
        "windows": [(w.start, w.length, w.kept) for w in analysis.windows],
        "candidates": [
            {**vars(each), "materials": each.materials.tolist()} for each in analysis.candidates
        ],
    }
    with draft_of(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_RECORD, json.dumps(record))
        for name, values in curves.items():
            _write(archive, f"curves/{name}", values)
        motion: Sequence[NDArray[Any]] = analysis.motion.arrays()
        for name, values in zip(_MOTION, motion, strict=True):
            _write(archive, f"motion/{name}", values)
        for number, window in enumerate(analysis.windows):
            _write(archive, f"video/{number}", window.video)
            _write(archive, f"states/{number}", window.states)


def read_analysis(path: Path, *, origin: Mapping[str, Any]) -> tuple[Analysis, list[str]] | None:
    """The analysis in a file, and its warnings; None if the file does not exist or has another
    origin.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read(_RECORD))
            if record["origin"] != dict(origin):
                return None
            return _restored(archive, record), record["warnings"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: the stored analysis is damaged ({error})", hint="remove the file"
        ) from error


def _restored(archive: zipfile.ZipFile, record: dict[str, Any]) -> Analysis:
    windows = WindowSpool()
    for number, (start, length, kept) in enumerate(record["windows"]):
        windows.append(
            AnalysedWindow(
                start=start,
                length=length,
                kept=kept,
                video=_read(archive, f"video/{number}"),
                states=_read(archive, f"states/{number}"),
            )
        )
    names = [field.name for field in dataclasses.fields(FrameCurves)]
    return Analysis(
        duration_s=record["duration_s"],
        rate_hz=record["rate_hz"],
        windows=windows,
        candidates=[
            HitCandidate(**{**each, "materials": np.array(each["materials"], np.float32)})
            for each in record["candidates"]
        ],
        curves=FrameCurves(**{name: _read(archive, f"curves/{name}") for name in names}),
        motion=ColumnMotion.restored(*(_read(archive, f"motion/{name}") for name in _MOTION)),
    )


def _write(archive: zipfile.ZipFile, name: str, values: NDArray[np.generic]) -> None:
    with archive.open(f"{name}.npy", "w") as file:
        np.lib.format.write_array(file, values, allow_pickle=False)


def _read(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
