"""`foleyflow data vggsound|audioset|folder|doctor`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from foleyflow.cli.console import print_result, progress_on_stderr
from foleyflow.data.build.builder import BuildSettings, build
from foleyflow.data.build.check import check_data
from foleyflow.data.build.examination import ExamineSettings, MusicTagger
from foleyflow.data.build.listing import ListedClip, read_audioset, read_folder, read_vggsound
from foleyflow.errors import ConfigError
from foleyflow.parallel.ray_cluster import RayCluster

if TYPE_CHECKING:
    from foleyflow.judges.adapters import SoundJudge

# AudioSet's classes: music with its instruments and kinds, and the instruments among them.
MUSIC, MUSIC_KINDS, INSTRUMENTS = 137, slice(137, 283), slice(138, 216)


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """The flags that the three verbs share.

    Attributes:
        out: folder of the data set.
        duration_s: of each clip.
        cuts: "avoid" or "keep".
        validation: share of the training videos that become the validation split.
        tagger: "panns", or empty.
        judges: folder of the tagger's weights; None for the usual place.
        workers: threads; 0 for one per core.
        ray: address of a Ray cluster that does the work instead; None for threads here.
        as_json: print one JSON object.
    """

    out: Path
    duration_s: float
    cuts: str
    validation: float
    tagger: str
    judges: Path | None
    workers: int
    ray: str | None
    as_json: bool


def vggsound(listing: Path, clips: Path, request: DataRequest, *, segment_s: float) -> None:
    """Builds VGGSound from its csv."""
    rows = read_vggsound(listing, validation=request.validation, segment_s=segment_s)
    _build(rows, clips, request)


def audioset(listing: Path, clips: Path, request: DataRequest, *, test: Path | None) -> None:
    """Builds AudioSet, or a part of it, from its csv files."""
    rows = read_audioset(listing, validation=request.validation)
    if test is not None:
        rows += read_audioset(test, split="test")
    _build(rows, clips, request)


def folder(clips: Path, request: DataRequest) -> None:
    """Builds a data set from a folder of videos."""
    rows = read_folder(clips, duration_s=request.duration_s, validation=request.validation)
    _build(rows, clips, request)


def doctor(root: Path, *, decode: int, as_json: bool) -> int:
    """Says what is wrong with a data set; 1 if anything is."""
    checks = check_data(root, decode=decode)
    lines = []
    for check in checks:
        lines.append(
            f"{'broken' if check.problems else 'ok':8s} {check.split}: {check.clips} clips, "
            f"{check.labels} labels, {check.decoded} decoded"
        )
        lines += [f"         {problem}" for problem in check.problems]
    print_result(
        {"splits": [dataclasses.asdict(check) for check in checks]},
        as_json=as_json,
        text="\n".join(lines) or f"{root}: no clip",
    )
    return int(not checks or any(check.problems for check in checks))


def _build(rows: Sequence[ListedClip], clips: Path, request: DataRequest) -> None:
    if request.cuts not in ("avoid", "keep"):
        raise ConfigError(f"--cuts {request.cuts}: expected avoid or keep")
    if not (request.duration_s > 0 and 0 <= request.validation < 1):
        raise ConfigError(
            f"--duration {request.duration_s}, --validation {request.validation}: expected more "
            "than 0 s and a share of 0..1"
        )
    music = _music_tagger(request)
    settings = BuildSettings(
        examine=ExamineSettings(duration_s=request.duration_s, avoid_cuts=request.cuts == "avoid"),
        tagger=request.tagger,
    )
    with (
        RayCluster(request.ray) if request.ray is not None else nullcontext() as cluster,
        progress_on_stderr("examining") as examining,
        progress_on_stderr("packing") as packing,
    ):
        summary = build(
            rows,
            clips,
            request.out,
            settings,
            music=music,
            workers=request.workers or None,
            parallel_map=cluster.parallel_map if cluster else None,
            examining=examining,
            packing=packing,
        )
    kept = ", ".join(f"{count} {split}" for split, count in summary.splits.items())
    lines = [f"{request.out}: {kept} in {summary.shards} shards; reasons in manifest.csv"]
    lines += [f"{count:8d} rejected: {reason}" for reason, count in summary.rejected.items()]
    print_result(dataclasses.asdict(summary), as_json=request.as_json, text="\n".join(lines))


def _music_tagger(request: DataRequest) -> MusicTagger | None:
    """PANNs, asked whether there is music and nothing else."""
    if not request.tagger:
        return None
    if request.tagger != "panns":
        raise ConfigError(f"--tagger {request.tagger}: expected panns")
    from foleyflow.judges.weights import default_folder

    folder = request.judges or default_folder()
    _panns(folder)  # so that what is wrong with its file is said now
    return functools.partial(_music_heard, folder)


@functools.lru_cache(maxsize=1)
def _panns(folder: Path) -> SoundJudge:
    """The tagger, loaded once in each process that asks it."""
    from foleyflow.judges.adapters import load_judge

    return cast("SoundJudge", load_judge("panns", folder))


def _music_heard(folder: Path, sound: NDArray[np.float32]) -> float:
    """What `examining.MusicTagger` says, in any process."""
    return music_alone(1 / (1 + np.exp(-_panns(folder).logits(sound))))


def music_alone(probabilities: NDArray[np.float64]) -> float:
    """How probable it is that there is music and nothing that could be seen to sound.

    Args:
        probabilities: (527,) of AudioSet's classes, 0..1.

    Returns:
        0..1: music's probability, less where an instrument or anything else is heard.

    Source: ours.
    """
    others = probabilities.copy()
    others[MUSIC_KINDS] = 0.0
    strongest = max(others.max(), probabilities[INSTRUMENTS].max())
    return float(probabilities[MUSIC] * max(0.0, 1.0 - strongest))
