"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

EMBEDDED = "embedded"
SIMULATED = Path("data/sim")


def materials(incomplete: str) -> list[str]:
    """The values of --material that the shell offers."""
    from foleyflow.simulation.materials import MATERIALS

    return _starting(incomplete, ("auto", *MATERIALS))


def _starting(incomplete: str, values: Iterable[str]) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]


Debug = Annotated[bool, Option("--debug", help="Show tracebacks and log messages.")]
Json = Annotated[bool, Option("--json", help="Print one JSON object on stdout.")]
DryRun = Annotated[
    bool, Option("--dry-run", help="Print what would be done as JSON, and do nothing.")
]
Out = Annotated[Path | None, Option(help="Also write the report as JSON to this file.")]
# 0 keeps the number that torch has chosen.
Threads = Annotated[int, Option(min=0, help="CPU threads; 0 uses PyTorch's default, one per core.")]
Device = Annotated[
    str,
    Option(
        metavar="auto|cpu|cuda|cuda:N",
        autocompletion=lambda incomplete: _starting(incomplete, ("auto", "cpu", "cuda")),
        help="Device; auto uses the GPU if there is one.",
    ),
]
Ray = Annotated[
    str | None,
    Option(
        "--ray",
        metavar="local|auto|HOST:PORT",
        help="Distribute the work on a Ray cluster. Default: run in this process.",
    ),
]
SimulatedData = Annotated[Path, Argument(metavar="DATA", help="Data set of simulated clips.")]
DataSet = Annotated[Path, Argument(metavar="DATA", help="Folder of the data set.")]
DataOut = Annotated[Path, Option(help="Folder of the data set to write.")]
ClipSeconds = Annotated[float, Option(metavar="SECONDS", help="Length of each clip.")]
Workers = Annotated[int, Option(min=0, help="Number of threads; 0 uses one per core.")]
ClipCount = Annotated[int, Option(min=1, help="Maximum number of clips.")]
Recordings = Annotated[
    list[Path],
    Argument(
        metavar="CLIPS",
        help="Videos with their own sound, or folders of them. Of a folder with a manifest.csv, "
        "the videos that `foleyflow data list` lists.",
    ),
]
Videos = Annotated[list[Path], Argument(metavar="VIDEO", help="Video files.")]
Model = Annotated[
    str,
    Option(
        metavar="embedded|FOLDER",
        help="Model folder, or embedded for the model that ships with foleyflow.",
    ),
]
Guidance = Annotated[float, Option(min=1.0, max=20.0, help="Scale of classifier-free guidance.")]
Seed = Annotated[int, Option(min=0, help="Random seed.")]
JudgeFolder = Annotated[
    Path | None,
    Option(help="Model folder of a tagger, which classifies the materials of sounds."),
]
Judges = Annotated[
    Path | None,
    Option(help="Folder of published judges' weights. Default: ~/.cache/foleyflow/judges."),
]
Recipe = Annotated[
    str, Option(metavar="NAME", help="Recipe of the task; an unknown name lists all.")
]
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the recipe; repeatable. `foleyflow train TASK --dry-run` prints "
        "all settings.",
    ),
]
ProbeClips = Annotated[
    int | None,
    Option(min=2, help="Maximum number of clips that probes are trained on. Default: 768."),
]
RealClips = Annotated[
    Path | None, Option(help="Folder of real clips with sound, for further measurements.")
]
