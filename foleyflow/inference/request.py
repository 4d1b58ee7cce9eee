"""Describes the work of `foleyflow generate`: its settings, and one job per video."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from foleyflow.inference.event_files import EVENT_SUFFIXES
from foleyflow.media.formats import SIDECAR_SUFFIX

STANDARD_INPUT = "-"  # as the name of a video
REPORT_SUFFIX = ".report.png"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The settings of a batch; see `foleyflow generate --help`.

    `output` is a file, or a folder with a slash at its end; None writes next to each video. Without
    `loudness_lufs`, the generated level is kept.
    """

    output: str | None
    model: str
    seed: int
    steps: int
    guidance: float | None
    material: str
    loudness_lufs: float | None
    audio_only: bool
    overwrite: bool
    report: bool
    events: bool
    sidecar: bool
    device: str
    weights_dir: str | None
    threads: int

    @property
    def folder(self) -> Path | None:
        """The folder of all outputs; None if there is no common one."""
        if self.output and (self.output.endswith("/") or os.path.isdir(self.output)):
            return Path(self.output)
        return None

    @property
    def companion_suffixes(self) -> list[str]:
        """Suffixes, appended to the name of an output, of the files to write next to it."""
        wanted = list(EVENT_SUFFIXES) if self.events else []
        wanted += [REPORT_SUFFIX] if self.report else []
        return wanted + ([SIDECAR_SUFFIX] if self.sidecar else [])


@dataclass(frozen=True, kw_only=True)
class Job:
    """One video and its output; `name` is the video as the user gave it."""

    name: str
    video: Path
    output: Path
    request: Request
