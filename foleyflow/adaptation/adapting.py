"""`adapt`: the aligner of a model learns from a folder of recordings with their own sound.

    recordings --lags.py--> lags --data.build--> clips without lags --training--> aligner
    aligner --scoring.py--> better on held-out recordings? --calibrating.py--> model folder

Everything is kept in one work folder, so that a stopped adaptation resumes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foleyflow.adaptation.calibrating import (
    fit_to_both,
    recorded_candidates,
    simulated_candidates,
    simulated_validation,
)
from foleyflow.adaptation.model_folder import check_adaptable, write_adapted
from foleyflow.adaptation.recordings import (
    CLIP_S,
    Recording,
    analyse_recording,
    examine_recording,
    files_of,
    held_out_names,
    lags_of,
    recording_onsets,
    rows_of_splits,
)
from foleyflow.adaptation.scoring import HeldOutScore, ObservedRecording, best_score
from foleyflow.adaptation.simulation_cache import simulated_clips
from foleyflow.alignment.model import Alignment
from foleyflow.data.build.builder import BuildSettings, build
from foleyflow.data.build.examination import ExamineSettings
from foleyflow.data.build.listing import read_folder
from foleyflow.errors import ConfigError, DataError
from foleyflow.evaluation.metric import extra_package
from foleyflow.inference.analysis import Analysis
from foleyflow.inference.calibration import CalibrationOrigin
from foleyflow.inference.windows import WindowPlan, aligner_plan
from foleyflow.media import probe
from foleyflow.pretrained import load_aligner
from foleyflow.recipes.adapt import adapt as adapt_recipe
from foleyflow.training.run import train
from foleyflow.weights import read_record, write_atomically

NOT_BETTER_STATUS = 3  # of the command line, if no model was written
Observed = Mapping[str, tuple[Analysis, ObservedRecording]]
# Called with the name of a stage, and the finished and total steps in it
StageProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class AdaptSettings:
    """Settings of an adaptation.

    Attributes:
        steps: of training.
        simulated_fraction: of the clips in each step.
        keep_unclear: use recordings whose lag is not clear, with a lag of 0.
        seed: of the training.
        threads: torch threads per operation; 0 keeps the present number.
    """

    steps: int = 300
    simulated_fraction: float = 0.5
    keep_unclear: bool = False
    seed: int = 0
    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.simulated_fraction < 1:
            raise ConfigError(
                f"steps={self.steps}, simulated_fraction={self.simulated_fraction}: expected at "
                "least 1, and a fraction above 0 and below 1"
            )


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """The result of an adaptation.

    Attributes:
        model: the adapted model; None if it was not better than before.
        recordings: all videos of the folder.
        held_out: names of the recordings that were kept out of training.
        minutes: length of the clips that were trained on.
        before, after: scores on the held-out recordings.
    """

    model: Path | None
    recordings: tuple[Recording, ...]
    held_out: tuple[str, ...]
    minutes: float
    before: HeldOutScore
    after: HeldOutScore

    def as_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "model": None if self.model is None else str(self.model),
            "minutes": self.minutes,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "held_out": list(self.held_out),
            "recordings": [each.as_json() for each in self.recordings],
        }


def adapt(
    folder: Path,
    out: Path,
    *,
    model: Path,
    simulated: Path | None = None,
    settings: AdaptSettings | None = None,
    progress: StageProgress = lambda stage, done, total: None,
) -> Adaptation:
    """Adapt the aligner of a model to the recordings of a folder; rerun to resume.

    Args:
        folder: of videos with their own sound, and of folders of them.
        out: work folder; `out / "model"` is the adapted model.
        model: folder of the model to start from.
        simulated: data set of simulated clips; None creates one in the user's cache.
        settings: of the training.
        progress: called with the progress of each stage.

    Raises:
        DataError: too few recordings can be used, or the clips can't be used.
        CheckpointError: the model can't be used.
        ConfigError: the model can't be adapted, or `out` has an adaptation with other settings.
        TrainingError: a number of the training is not finite.
        MissingExtra: librosa, mir_eval or mujoco is not installed.
    """
    settings = settings or AdaptSettings()
    for package in ("librosa", "mir_eval"):
        extra_package(package)
    check_adaptable(model)
    # Recordings, and their lags against the present aligner
    plan, aligner = aligner_plan(model), load_aligner(model)
    rows = read_folder(folder, duration_s=CLIP_S, validation=0.0)
    files = files_of(folder, rows)
    identity = f"{read_record(model, 'align').sha256} {settings.keep_unclear}"
    recordings = _examine_all(
        files,
        out / "recordings.json",
        identity,
        lambda name, path: examine_recording(
            name, path, aligner, plan, keep_unclear=settings.keep_unclear
        ),
        progress,
    )
    held_out = held_out_names(recordings)
    lags_s = lags_of(recordings)
    # Clips without lags
    summary = build(
        rows_of_splits(rows, recordings, held_out),
        folder,
        out / "clips",
        BuildSettings(examine=ExamineSettings(duration_s=CLIP_S, avoid_cuts=False)),
        lags_s=lags_s,
        examining=lambda done, total: progress("examining clips", done, total),
        packing=lambda done, total: progress("packing clips", done, total),
    )
    for split in ("train", "validation"):
        if not summary.splits[split]:
            raise DataError(
                f"no clip of the {split} recordings was kept: {summary.rejected}",
                hint=f"see {out / 'clips' / 'manifest.csv'}",
            )
    # Training, together with simulated clips
    data = simulated_clips(simulated, progress)
    trained = train(
        adapt_recipe(
            model=model,
            simulated=data,
            segments=plan.length,
            steps=settings.steps,
            simulated_fraction=settings.simulated_fraction,
            seed=settings.seed,
        ),
        recipe_name="adapt",
        data=out / "clips",
        out=out / "run",
        init=model,
        threads=settings.threads,
        device=settings.device,
        progress=lambda step, _: progress("training", step, settings.steps),
    )
    if trained is None:
        raise ConfigError("this process is one of several: expected one", hint="leave torchrun out")
    # Better on recordings that it has not seen?
    adapted = load_aligner(trained.model)
    kept_out = {name: path for name, path in files.items() if name in held_out}
    before = _observe(kept_out, aligner, plan, "scoring before", progress)
    after = _observe(kept_out, adapted, plan, "scoring after", progress)
    scores = [best_score([each for _, each in part.values()]) for part in (before, after)]
    minutes = round(summary.splits["train"] * CLIP_S / 60, 2)
    written = None
    if scores[1].gain > scores[0].gain:
        facts = {
            "recordings": sum(not each.reason for each in recordings) - len(held_out),
            "held_out_recordings": len(held_out),
            "minutes": minutes,
            "lags_ms": sorted(round(1000 * lag_s) for lag_s in lags_s.values()),
            "steps": settings.steps,
            "simulated_fraction": settings.simulated_fraction,
            "held_out_before": asdict(scores[0]),
            "held_out_after": asdict(scores[1]),
        }
        written = _calibrate_and_write(
            adapted, plan, after, lags_s, data, facts, model, trained.model, out / "model", progress
        )
    return Adaptation(
        model=written,
        recordings=tuple(recordings),
        held_out=tuple(sorted(held_out)),
        minutes=minutes,
        before=scores[0],
        after=scores[1],
    )


def _examine_all(
    files: Mapping[str, Path],
    store: Path,
    identity: str,
    examine: Callable[[str, Path], Recording],
    progress: StageProgress,
) -> list[Recording]:
    """Each recording of the folder; those that were examined before are read from `store`."""
    known: dict[str, Any] = {}
    if store.is_file():
        known = json.loads(store.read_text(encoding="utf-8"))
    store.parent.mkdir(parents=True, exist_ok=True)
    recordings = []
    for done, (name, path) in enumerate(files.items()):
        key = f"{identity} {name} {path.stat().st_size}"
        if key not in known:
            progress("examining recordings", done, len(files))
            known[key] = asdict(examine(name, path))
            write_atomically(store, json.dumps(known, indent=1) + "\n")
        recordings.append(Recording(**known[key]))
    progress("examining recordings", len(files), len(files))
    return recordings


def _observe(
    files: Mapping[str, Path],
    aligner: Alignment,
    plan: WindowPlan,
    stage: str,
    progress: StageProgress,
) -> Observed:
    """What an aligner finds in each recording, with the onsets of its sound."""
    observed = {}
    for done, (name, path) in enumerate(files.items(), start=1):
        info = probe(path)
        onsets_s = recording_onsets(info)
        if onsets_s is None:
            raise DataError(f"{path.name}: became silent", hint="rerun without changing the folder")
        analysis = analyse_recording(info, aligner, plan)
        observed[name] = (
            analysis,
            ObservedRecording(
                duration_s=info.duration_s,
                onsets_s=onsets_s,
                probability=analysis.curves.onsets,
                rate_hz=analysis.rate_hz,
            ),
        )
        progress(stage, done, len(files))
    return observed


def _calibrate_and_write(
    aligner: Alignment,
    plan: WindowPlan,
    held_out: Observed,
    lags_s: Mapping[str, float],
    data: Path,
    facts: Mapping[str, Any],
    base: Path,
    trained: Path,
    out: Path,
    progress: StageProgress,
) -> Path:
    """Fits the calibration of the new aligner and writes the adapted model."""
    clips = simulated_validation(data)
    simulated = simulated_candidates(
        aligner, clips, plan, lambda done, total: progress("calibrating", done, total)
    )
    recorded: Sequence[Any] = [
        piece
        for name, (analysis, observed) in held_out.items()
        for piece in recorded_candidates(analysis, observed.onsets_s, lags_s[name])
    ]
    judged = [*simulated, *recorded]
    origin = CalibrationOrigin(
        data="simulated clips and held-out recordings",
        fingerprint=clips.fingerprint,
        split="validation",
        clips=len(judged),
        candidates=sum(len(each.correct) for each in judged),
        commit=None,
        aligner="",
    )
    return write_adapted(
        base,
        trained,
        out,
        facts=facts,
        calibration=fit_to_both(simulated, recorded),
        origin=origin,
    )
