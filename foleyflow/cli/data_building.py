"""`foleyflow data vggsound`, `audioset` and `folder`: build data sets of real clips."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Argument, Option

from foleyflow.cli.console import progress_on_stderr
from foleyflow.cli.options import ClipSeconds, DataOut, Ray, Workers
from foleyflow.cli.shared_options import REQUIRED, Result, printing
from foleyflow.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from foleyflow.data.build.builder import BuildSummary
    from foleyflow.judges.audio_judges import AudioJudge

NAMED_CLIPS = 10  # clips of the test split that were left out and are printed with their names

Listing = Annotated[Path, Argument(metavar="CSV", help="List of the training segments.")]
Downloads = Annotated[Path, Argument(metavar="VIDEOS", help="Folder of the downloaded videos.")]
Cuts = Annotated[
    str,
    Option(metavar="avoid|keep", help="Whether clips with a cut are rejected or allowed."),
]
Validation = Annotated[
    float,
    Option(metavar="FRACTION", help="Fraction of the training videos for the validation split."),
]
Tagger = Annotated[
    str, Option(metavar="panns", help="Reject clips in which this tagger finds only music.")
]
Judges = Annotated[
    Path | None,
    Option(help="Folder of the tagger's weights. Default: ~/.cache/foleyflow/judges."),
]
FilterTest = Annotated[
    bool,
    Option(
        "--filter-test",
        help="Filter and shorten test clips like training clips. Default: the test split as "
        "published.",
    ),
]

Rows = Sequence[Any]  # of `ListedClip`; heavy modules are imported only when a command runs
RowReader = Callable[..., Rows]
BUILD_OPTIONS = {
    "out": (DataOut, REQUIRED),
    "duration": (ClipSeconds, 8.0),
    "cuts": (Cuts, "avoid"),
    "validation": (Validation, 0.01),
    "tagger": (Tagger, ""),
    "judges": (Judges, None),
    "workers": (Workers, 0),
    "ray": (Ray, None),
}
PUBLISHED_OPTIONS = {"filter_test": (FilterTest, False)}  # of lists that have a test split


def _build_command(
    *, validation: float = 0.01, more: Mapping[str, tuple[Any, Any]] | None = None
) -> Callable[[RowReader], Callable[..., None]]:
    """Makes a command that builds a data set of shards from the rows that a function reads.

    The function has its own options, and `duration` and `validation` as keyword-only parameters.
    `more` are further options of the building.
    """
    shared = BUILD_OPTIONS | {"validation": (Validation, validation)} | dict(more or {})

    def make(read_rows: RowReader) -> Callable[..., None]:
        @functools.wraps(read_rows)
        def build(**options: Any) -> Result:
            settings = {name: options.pop(name) for name in shared}
            return _build(functools.partial(read_rows, **options), options["clips"], **settings)

        return printing(build, shared)

    return make


@_build_command(more=PUBLISHED_OPTIONS)
def vggsound(
    listing: Listing,
    clips: Downloads,
    segment: Annotated[
        float, Option(metavar="SECONDS", help="Length of the listed segments.")
    ] = 10.0,
    *,
    duration: float,
    validation: float,
) -> Rows:
    """Check the videos of VGGSound and pack clips into shards. Rerun to resume."""
    from foleyflow.data.build.listing import read_vggsound

    return read_vggsound(listing, validation=validation, segment_s=segment)


@_build_command(more=PUBLISHED_OPTIONS)
def audioset(
    listing: Listing,
    clips: Downloads,
    test: Annotated[
        Path | None, Option(metavar="CSV", help="List of the evaluation segments.")
    ] = None,
    *,
    duration: float,
    validation: float,
) -> Rows:
    """Check the videos of AudioSet and pack clips into shards. Rerun to resume."""
    from foleyflow.data.build.listing import read_audioset

    rows = read_audioset(listing, validation=validation)
    return rows if test is None else rows + read_audioset(test, split="test")


@_build_command(validation=0.05)
def folder(
    clips: Annotated[
        Path,
        Argument(metavar="VIDEOS", help="Folder of videos; names of subfolders are labels."),
    ],
    *,
    duration: float,
    validation: float,
) -> Rows:
    """Check a folder of videos and pack clips into shards. Rerun to resume."""
    from foleyflow.data.build.listing import read_folder

    return read_folder(clips, duration_s=duration, validation=validation)


def _build(
    read_rows: RowReader,
    clips: Path,
    *,
    out: Path,
    duration: float,
    cuts: str,
    validation: float,
    tagger: str,
    judges: Path | None,
    workers: int,
    ray: str | None,
    filter_test: bool = False,
) -> Result:
    """Builds a data set of shards; returns a summary."""
    if cuts not in ("avoid", "keep"):
        raise ConfigError(f"--cuts {cuts}: expected avoid or keep")
    if not (duration > 0 and 0 <= validation < 1):
        raise ConfigError(
            f"--duration {duration}, --validation {validation}: expected more than 0 s and a "
            "fraction of 0..1"
        )
    if tagger not in ("", "panns"):
        raise ConfigError(f"--tagger {tagger}: expected panns")
    from foleyflow.data.build.builder import BuildSettings, build
    from foleyflow.data.build.examination import ExamineSettings
    from foleyflow.parallel.ray_cluster import optional_parallel_map

    # List, tagger and settings
    rows = read_rows(duration=duration, validation=validation)
    music = None
    if tagger:
        from foleyflow.judges.weights import default_folder

        judges = judges or default_folder()
        music = functools.partial(_music_probability, judges)
        _panns(judges)  # reports a problem with its file before the work
    settings = BuildSettings(
        examine=ExamineSettings(
            duration_s=duration, avoid_cuts=cuts == "avoid", filter_test=filter_test
        ),
        tagger=tagger,
    )
    # Examine and pack
    with (
        optional_parallel_map(ray) as parallel_map,
        progress_on_stderr("examining") as examining,
        progress_on_stderr("packing") as packing,
    ):
        summary = build(
            rows,
            clips,
            out,
            settings,
            music=music,
            workers=workers or None,
            parallel_map=parallel_map,
            examining=examining,
            packing=packing,
        )
    return dataclasses.asdict(summary), _summary_text(out, summary, as_published=not filter_test)


def _summary_text(out: Path, summary: BuildSummary, *, as_published: bool) -> str:
    """The numbers of clips that were kept and rejected, and test clips that are missing."""
    kept = ", ".join(f"{count} {split}" for split, count in summary.splits.items())
    lines = [f"{out}: {kept} in {summary.shards} shards; reasons in manifest.csv"]
    lines += [f"{count:8d} rejected: {reason}" for reason, count in summary.rejected.items()]
    if summary.test_listed and as_published:
        missing = list(summary.test_left_out.items())
        lines.append(
            f"test split as published: {summary.splits['test']} of {summary.test_listed} listed "
            f"clips, {len(missing)} left out"
        )
        lines += [f"         {key}: {reason}" for key, reason in missing[:NAMED_CLIPS]]
        if len(missing) > NAMED_CLIPS:
            lines.append(f"         and {len(missing) - NAMED_CLIPS} more, see manifest.csv")
    return "\n".join(lines)


@functools.lru_cache(maxsize=1)
def _panns(folder: Path) -> AudioJudge:
    """The tagger, loaded once in each process."""
    from foleyflow.judges.adapters import load_judge

    return cast("AudioJudge", load_judge("panns", folder))


def _music_probability(folder: Path, sound: NDArray[np.float32]) -> float:
    """A `MusicTagger` that can be imported in any process."""
    import numpy as np

    from foleyflow.data.build.examination import music_alone

    return music_alone(1 / (1 + np.exp(-_panns(folder).logits(sound))))
