"""A model that analyses each video once, and finds its analysis in the project later."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foleyflow import __version__
from foleyflow.errors import DataError
from foleyflow.inference.analysis import Analysis, analyse_video
from foleyflow.inference.analysis_file import read_analysis, write_analysis
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.media import MediaInfo
from foleyflow.media.frame_source import FrameSource, decode_here
from foleyflow.parallel.precision import precision_on
from foleyflow.system.stopwatch import Stopwatch

KEPT_ANALYSES = 8


class CachingModel(FoleyFlow):
    """A model that keeps the analyses of the last videos. Several threads may use it.

    Attributes:
        folders: of videos, in which their analyses are stored, too.
        weights: hashes that identify the model in stored analyses.
        source: decodes the videos.
    """

    def __init__(self, *networks: Any, **settings: Any) -> None:
        super().__init__(*networks, **settings)
        self.folders: dict[Path, Path] = {}
        self.weights: dict[str, str] = {}
        self.source: FrameSource = decode_here
        self._analyses: OrderedDict[tuple[Any, ...], tuple[Analysis, list[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def analyse(
        self, info: MediaInfo, stopwatch: Stopwatch, progress: Callable[[float], None] | None
    ) -> tuple[Analysis, list[str]]:
        """See `analysis.analyse_video`."""
        status = info.path.stat()
        key = (info.path, status.st_size, status.st_mtime_ns, info.duration_s)
        with self._lock:
            found = self._analyses.get(key)
        if found is None:
            origin = {
                "video": [status.st_size, status.st_mtime_ns, info.duration_s],
                "weights": self.weights,
                "version": __version__,
                "device": str(next(self.aligner.parameters()).device),
                "precision": precision_on(next(self.aligner.parameters()).device),
            }
            folder = self.folders.get(info.path)
            path = None if folder is None else folder / f"analysis-{info.duration_s:.3f}.zip"
            found = None if path is None else _stored(path, origin)
            if found is None:
                found = analyse_video(
                    self.aligner,
                    info,
                    self.plan,
                    stopwatch,
                    threads=self.threads,
                    progress=progress,
                    source=self.source,
                )
                if path is not None:
                    write_analysis(path, *found, origin=origin)
        with self._lock:
            self._analyses[key] = found
            self._analyses.move_to_end(key)
            while len(self._analyses) > KEPT_ANALYSES:
                self._analyses.popitem(last=False)
        return found[0], list(found[1])


def _stored(path: Path, origin: Mapping[str, Any]) -> tuple[Analysis, list[str]] | None:
    try:
        return read_analysis(path, origin=origin)
    except DataError:  # it is made again
        return None
