"""Cross-validation of `foleyflow adapt`: learn from some recordings, measure on the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foleyflow.adaptation.adapting import Adaptation, AdaptSettings, adapt
from foleyflow.errors import ConfigError
from foleyflow.evaluation.metrics.synchrony import ClipOnsets, clip_onsets
from foleyflow.experiments.measure_events import event_figures, events_of_file
from foleyflow.inference.calibration import read_calibration
from foleyflow.inference.windows import aligner_plan
from foleyflow.media.waveform import read_waveform
from foleyflow.pretrained import load_aligner


def measure_adaptation(
    model: Path,
    recordings: Sequence[Path],
    work: Path,
    *,
    folds: int,
    only: int | None,
    simulated: Path | None,
    settings: AdaptSettings,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Adapt a model once per fold, and compare it with the model before on the fold's recordings.

    Folds are blocks in the order of the names, because the names of recordings of one session are
    mostly similar: they stay together. Events are those that each model's calibration enables. A
    fold whose model was not better on its own held-out recordings counts with the model before.

    Args:
        work: folder of the adaptations, which are resumed.
        folds: number of blocks.
        only: number of the only fold that is measured, from 1; None for all.

    Returns:
        "before" and "after": figures of `measure_real_events` over all measured recordings;
        "folds": the recordings of each, its adaptation, and its figures before and after.

    Raises:
        ConfigError: fewer than two folds, or fewer recordings than folds.
    """
    if not 2 <= folds <= len(recordings) or not 1 <= (only or 1) <= folds:
        raise ConfigError(
            f"{folds} folds of {len(recordings)} recordings, fold {only}: expected two folds or "
            "more, each with a recording",
            hint="give other --folds, or more recordings",
        )
    ordered = sorted(recordings, key=lambda path: path.name)
    blocks = np.array_split(np.arange(len(ordered)), folds)
    names: list[str] = []
    true: list[ClipOnsets] = []
    found: dict[str, list[ClipOnsets]] = {"before": [], "after": []}
    report: dict[str, Any] = {}
    for number, block in enumerate(blocks, start=1):
        if only not in (None, number):
            continue
        # Adapt to the recordings of the other folds
        tested = [ordered[index] for index in block]
        learned = [path for path in ordered if path not in tested]
        out = work / f"fold-{number}"
        result = adapt(
            _linked(learned, out / "recordings"),
            out,
            model=model,
            simulated=simulated,
            settings=settings,
            progress=progress,
        )
        # Measure on this fold
        own = [clip_onsets(read_waveform(path)) for path in tested]
        events = {
            "before": _events(model, tested),
            "after": _events(result.model or model, tested),
        }
        stems = [path.stem for path in tested]
        report[str(number)] = {
            "adaptation": _figures_of(result),
            **{when: event_figures(stems, own, each) for when, each in events.items()},
        }
        names, true = names + stems, true + own
        found = {when: found[when] + events[when] for when in found}
    return {
        **{when: event_figures(names, true, each) for when, each in found.items()},
        "folds": report,
    }


def _linked(recordings: Sequence[Path], folder: Path) -> Path:
    """A folder of links to recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for path in recordings:
        os.symlink(path.resolve(), folder / path.name)
    return folder


def _events(model: Path, recordings: Sequence[Path]) -> list[ClipOnsets]:
    """The events of each recording that the calibration of a model enables."""
    aligner, plan = load_aligner(model), aligner_plan(model)
    threshold = read_calibration(model).lowest_probability
    return [events_of_file(aligner, path, plan, threshold) for path in recordings]


def _figures_of(result: Adaptation) -> dict[str, Any]:
    """An adaptation as plain values, without the path of its model."""
    return {**result.as_json(), "model": result.model is not None}
