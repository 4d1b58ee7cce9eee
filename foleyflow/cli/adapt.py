"""`foleyflow adapt`: adapt the model to the user's own recordings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from foleyflow.cli.console import stages_on_stderr
from foleyflow.cli.options import EMBEDDED, Device, DryRun, Model, Seed, Threads
from foleyflow.cli.shared_options import Result, printing
from foleyflow.errors import ConfigError
from foleyflow.system.printable import json_text

if TYPE_CHECKING:
    from foleyflow.adaptation.adapting import Adaptation

Steps = Annotated[int, Option(min=1, help="Training steps; 300 take about 15 minutes.")]
SimulatedFolder = Annotated[
    Path | None,
    Option(
        "--simulated",
        metavar="FOLDER",
        help="Simulated clips with training and validation splits. Default: create them once in "
        "~/.cache/foleyflow.",
    ),
]
SimulatedFraction = Annotated[
    float, Option(metavar="FRACTION", help="Fraction of simulated clips in each step.")
]
UnclearLags = Annotated[
    str,
    Option(
        metavar="skip|keep",
        help="What to do with recordings whose lag between sound and picture is not clear.",
    ),
]


@printing
def adapt(
    folder: Annotated[
        Path, Argument(metavar="FOLDER", help="Videos with their own sound, of any length.")
    ],
    out: Annotated[
        Path, Option(help="Folder of the work; the adapted model is in its folder `model`.")
    ] = Path("adapted"),
    model: Model = EMBEDDED,
    simulated: SimulatedFolder = None,
    simulated_fraction: SimulatedFraction = 0.5,
    unclear_lags: UnclearLags = "skip",
    steps: Steps = 300,
    seed: Seed = 0,
    threads: Threads = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> Result:
    """Adapt the model to your own recordings. Rerun to resume.

    The model learns from finished scenes how your kind of footage looks when something is hit. A
    fifth of the recordings is kept out of training. Exit status 3: the adapted model was not better
    on them, so that none was written.
    """
    from foleyflow.adaptation.adapting import NOT_BETTER_STATUS, AdaptSettings
    from foleyflow.adaptation.adapting import adapt as run
    from foleyflow.pretrained import model_folder

    settings = AdaptSettings(
        steps=steps,
        simulated_fraction=simulated_fraction,
        keep_unclear=keeps_unclear(unclear_lags),
        seed=seed,
        threads=threads,
        device=device,
    )
    if dry_run:
        plan = _plan(folder, out, model, settings)
        return plan, json_text(plan)
    with stages_on_stderr() as show:
        result = run(
            folder,
            out,
            model=model_folder(model),
            simulated=simulated,
            settings=settings,
            progress=show,
        )
    status = 0 if result.model is not None else NOT_BETTER_STATUS
    return result.as_json(), _summary(result), status


def keeps_unclear(unclear_lags: str) -> bool:
    """Whether --unclear-lags keeps recordings.

    Raises:
        ConfigError: it is neither skip nor keep.
    """
    if unclear_lags not in ("skip", "keep"):
        raise ConfigError(f"--unclear-lags {unclear_lags}: expected skip or keep")
    return unclear_lags == "keep"


def _plan(folder: Path, out: Path, model: str, settings: Any) -> dict[str, Any]:
    """What an adaptation would read and write."""
    from foleyflow.adaptation.recordings import CLIP_S, files_of
    from foleyflow.data.build.listing import read_folder

    files = files_of(folder, read_folder(folder, duration_s=CLIP_S, validation=0.0))
    return {
        "model": model,
        "out": str(out / "model"),
        "settings": dataclasses.asdict(settings),
        "recordings": [str(path) for path in files.values()],
    }


def _summary(result: Adaptation) -> str:
    """Each recording, and the scores before and after."""
    lines = []
    for each in result.recordings:
        kind = "held out" if each.name in result.held_out else "learned"
        lag = f"lag {round(1000 * (each.lag_s or 0)):+d} ms" if not each.reason else each.reason
        lines.append(f"{'left out' if each.reason else kind:9s} {each.name}: {lag}")
    before, after = result.before, result.after
    lines += [
        f"{result.minutes:g} minutes of clips; on the held-out recordings:",
        f"before: gain {before.gain:+.2f}, F1 {before.f1:.2f}, precision {before.precision:.2f}, "
        f"recall {before.recall:.2f}",
        f"after:  gain {after.gain:+.2f}, F1 {after.f1:.2f}, precision {after.precision:.2f}, "
        f"recall {after.recall:.2f}",
    ]
    if result.model is None:
        lines.append("not better: no model was written. More recordings may help.")
    else:
        lines.append(f"better: use it with --model {result.model}")
    return "\n".join(lines)
