"""Describes the work of `foleyflow generate` and `spot`: its settings, and one job per video."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from foleyflow.inference.delivery import Delivery
from foleyflow.inference.event_files import EVENT_SUFFIXES
from foleyflow.inference.project import project_files
from foleyflow.inference.revision import Revision
from foleyflow.inference.sidecar import sidecar_path
from foleyflow.inference.stem_files import stem_folder
from foleyflow.inference.stems import StemKind
from foleyflow.media.formats import SIDECAR_SUFFIX

STANDARD_INPUT = "-"  # as the name of a video
REPORT_SUFFIX = ".report.png"


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """Settings of every batch of videos.

    Attributes:
        output: a file, or a folder with a slash at its end; None writes next to each video.
        model, device, weights_dir, threads: see `FoleyFlow.from_pretrained`.
        overwrite: replace existing outputs.
        sensitivity: of finding cues.
    """

    output: str | None
    model: str
    device: str
    weights_dir: str | None
    threads: int
    overwrite: bool
    sensitivity: float

    @property
    def folder(self) -> Path | None:
        """The folder of all outputs; None if there is no common one."""
        if self.output and (self.output.endswith("/") or os.path.isdir(self.output)):
            return Path(self.output)
        return None

    @property
    def companion_suffixes(self) -> list[str]:
        """Suffixes, appended to the name of an output, of the files to write next to it."""
        return []

    def companions(self, output: Path) -> list[Path]:
        """The files to write next to an output."""
        return [output.with_name(output.name + suffix) for suffix in self.companion_suffixes]

    def folders(self, output: Path) -> list[Path]:
        """The folders to write next to an output."""
        return []


@dataclass(frozen=True, kw_only=True)
class SpotRequest(BatchRequest):
    """The settings of a batch; see `foleyflow spot --help`."""


@dataclass(frozen=True, kw_only=True)
class Request(BatchRequest):
    """The settings of a batch; see `foleyflow generate --help`.

    Without `loudness_lufs`, the generated level is kept. Without `cues`, a file, they are found. A
    `revision` changes an earlier result instead of generating one from these settings.
    """

    seed: int
    steps: int
    guidance: float | None
    material: str
    cues: str | None
    loudness_lufs: float | None
    library: str | None
    library_variation: bool
    reference: str | None
    stereo: bool
    delivery: Delivery
    audio_only: bool
    project: str | None
    report: bool
    events: bool
    sidecar: bool
    candidates: int = 1
    stems: StemKind | None = None
    revision: Revision | None = None

    def companions(self, output: Path) -> list[Path]:
        """The files to write next to an output."""
        takes = self.take_outputs(output)[1:]
        records = [sidecar_path(take) for take in takes] if self.sidecar else []
        has_stems = self.stems is not None
        project = project_files(output, has_stems=has_stems) if self.project else []
        return [*super().companions(output), *project, *takes, *records]

    def folders(self, output: Path) -> list[Path]:
        """The folders to write next to an output."""
        return [stem_folder(output)] if self.stems else []

    def take_outputs(self, output: Path) -> list[Path]:
        """The outputs of all takes, by their rank: the output itself, NAME.take2.mp4 and so on."""
        ranks = range(2, self.candidates + 1)
        return [output, *(output.with_stem(f"{output.stem}.take{rank}") for rank in ranks)]

    @property
    def companion_suffixes(self) -> list[str]:
        """Suffixes, appended to the name of an output, of the files to write next to it."""
        wanted = list(EVENT_SUFFIXES) if self.events else []
        wanted += [REPORT_SUFFIX] if self.report else []
        return wanted + ([SIDECAR_SUFFIX] if self.sidecar else [])


AnyRequest = TypeVar("AnyRequest", bound=BatchRequest, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Job(Generic[AnyRequest]):
    """One video and its output; `name` is the video as the user gave it."""

    name: str
    video: Path
    output: Path
    request: AnyRequest
