"""Table 1: score the outputs of any systems together with ours, and with controls.

Every system is a folder of sounds or videos, `SYSTEMS/SYSTEM/CASE.wav`, that is scored against the
videos with true sound, `VIDEOS/CASE.mp4`. docs/baselines.md says where the outputs of the paper's
baselines come from. The figures that the paper prints are a separate block, because they belong to
another protocol and other clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foleyflow.errors import DataError, UsageError
from foleyflow.evaluation.blocks import Workers
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.files import (
    CASE_PATTERN,
    MEDIA_SUFFIXES,
    check_folder,
    find_files,
    find_videos,
)
from foleyflow.evaluation.folder import evaluate_folder
from foleyflow.evaluation.metrics.synchrony import WINDOWS_S
from foleyflow.evaluation.protocols import protocol_named
from foleyflow.evaluation.report import Report
from foleyflow.evaluation.run import evaluation_workers
from foleyflow.evaluation.scores import CONDITIONS, MetricScore, flags
from foleyflow.experiments.judged_sounds import (
    JUDGED_COLUMNS,
    PUBLISHED_COLUMNS,
    SIMULATION_COLUMNS,
    ColumnJudges,
    load_column_judges,
)
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.pretrained import model_folder
from foleyflow.weights import read_record, write_atomically

OURS = "ours"
# Column -> metric, of the columns that have controls.
METRIC_OF = {**JUDGED_COLUMNS, "onset F1": "onset_f1"}
COLUMNS = (*METRIC_OF, "gain")
# System -> KLD, FAD and Align Acc in percent, on the test clips of VGGSound.
PRINTED: dict[str, tuple[float, float, float]] = {
    "SpecVQGAN": (3.78, 6.63, 48.79),
    "Im2Wav": (2.54, 6.32, 74.31),
    "Diff-Foley": (3.15, 6.40, 82.47),
    "FoleyGen": (2.89, 2.59, 73.83),
    "V2A-Mapper": (2.78, 0.99, 74.37),
    "Seeing & Hearing": (2.62, 2.63, 78.95),
    "MaskVAT": (2.65, 1.51, 63.87),
    "VAB": (2.58, 2.69, 76.83),
    "VATT": (2.25, 2.35, 82.81),
    "Foley-Flow": (0.97, 0.52, 98.97),
}
PRINTED_TITLE = "As printed in the paper (table 1): other protocol and data, not comparable"


@dataclass(frozen=True, kw_only=True)
class SystemsRun:
    """What to score, and where.

    Attributes:
        videos: folder of the videos with true sound; sounds alone suffice without `ours`, and
            then no judge of pairs has a value.
        out: folder of the table, of our sounds and of computed values.
        systems: folder of one folder per system, or None for ours alone.
        ours: model whose sound is generated, "embedded" or a folder; None for no such row.
        judge_folder: where the judges' weights are; None for the default folder.
        device: that generates our sounds, and that the judges of `workers` run on.
        workers: processes that compute the metrics; 0 for this process.
        ray: address of a cluster that computes the metrics, instead of `workers`.
    """

    videos: Path
    out: Path
    systems: Path | None = None
    ours: str | None = "embedded"
    judge_folder: Path | None = None
    device: str = "auto"
    workers: int = 0
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.workers and self.ray is not None:
            raise UsageError("--workers and --ray: expected one of them", hint="leave one out")


def plan_systems(run: SystemsRun) -> dict[str, Any]:
    """System -> number of clips with an output and a reference, without running anything.

    Raises:
        DataError: no such folder, no videos, or nothing to score.
    """
    folders, references = _system_folders(run), _references(run)
    counts = {
        name: len(find_files(folder, CASE_PATTERN, MEDIA_SUFFIXES).keys() & references.keys())
        for name, folder in folders.items()
    }
    if run.ours is not None:
        counts[OURS] = len(find_videos(run.videos, CASE_PATTERN))
    return {"references": len(references), "systems": counts}


def run_systems(
    run: SystemsRun, progress: Callable[[str], None] = lambda text: None
) -> tuple[dict[str, Any], str]:
    """Score all systems and write `OUT/table1.json` and `OUT/table1.md`.

    Sounds of ours that exist already are kept, and computed values are stored in `OUT/cache`.

    Args:
        run: what to score, and where.
        progress: called with a line before each system, and for each column that is left out.

    Returns:
        "rows": system -> "columns" (column -> "mean", "low", "high" and "count", the number of
        clips with a value) and "clips"; "controls": the same for the true sound and the controls
        of `foleyflow evaluate`, over all clips; "flags": column -> lines about controls that score
        as well as a system; "left_out": column -> why it is missing; "printed": the paper's
        figures; "reports": the complete reports. And the table as Markdown.

    Raises:
        DataError: no such folder, no videos, or nothing to score.
        CheckpointError: our model can't be used, or a judge that ships with foleyflow.
    """
    # Systems, judges and our sound
    folders = _system_folders(run)
    _references(run)
    judges = load_column_judges(run.judge_folder)
    for column, error in judges.missing.items():
        hint = f"; {error.hint}" if error.hint else ""
        progress(f"column {column} is left out: {error}{hint}")
    if run.ours is not None:
        folders[OURS] = _generate_ours(run, progress)

    # Scores of each system
    cache = ResultCache(run.out / "cache")
    rows: dict[str, Any] = {}
    reports: dict[str, Any] = {}
    scores: dict[str, dict[str, MetricScore]] = {}
    with evaluation_workers(
        run.workers,
        run.ray,
        judge_folder=run.judge_folder,
        device=run.device,
        has_judges=bool(judges.judges),
    ) as workers:
        for name, folder in folders.items():
            progress(f"system {name}")
            scored = _score(folder, run.videos, judges, cache, workers)
            rows[name] = {
                "clips": len(scored[0].clips),
                "columns": _columns(scored, "generated") | _gain_column(scored[0]),
            }
            reports[name] = [report.to_json() for report in scored]
            for report in scored:
                for metric, score in report.scores.items():
                    scores.setdefault(metric, {})[name] = score

        # Controls: those of the true sound cover all clips
        progress("controls")
        scored = _score(run.videos, run.videos, judges, cache, workers)
    controls = {
        CONDITIONS[condition]: {"columns": columns}
        for condition in ("true", "silence", "noise", "other", "shifted")
        if (columns := _columns(scored, condition))
    }

    # Table
    result = {
        "title": "Table 1: generated sound against the true sound of the same videos",
        "rows": rows,
        "controls": controls,
        "flags": {
            column: flags(scores[metric])
            for column, metric in METRIC_OF.items()
            if metric in scores
        },
        "left_out": {column: str(error) for column, error in judges.missing.items()},
        "judges": judges.weights_sha256,
        "printed": {"title": PRINTED_TITLE, "rows": PRINTED},
        "reports": reports,
    }
    text = systems_markdown(result)
    write_atomically(run.out / "table1.json", json.dumps(result, indent=1) + "\n")
    write_atomically(run.out / "table1.md", text)
    return result, text


def _references(run: SystemsRun) -> dict[str, Path]:
    """Clip -> video or sound."""
    references = find_files(run.videos, CASE_PATTERN, MEDIA_SUFFIXES)
    videos = find_videos(run.videos, CASE_PATTERN)
    if not references or (run.ours is not None and not videos):
        raise DataError(
            f"{run.videos}: no videos in it",
            hint="give videos with true sound; sounds alone suffice with --ours none",
        )
    return references


def _system_folders(run: SystemsRun) -> dict[str, Path]:
    """System -> folder of its outputs, by name."""
    if run.systems is None:
        if run.ours is None:
            raise DataError("nothing to score", hint="give --systems DIR, or leave out --ours none")
        return {}
    check_folder(run.systems)
    folders = {path.name: path for path in sorted(run.systems.iterdir()) if path.is_dir()}
    if not folders:
        raise DataError(
            f"{run.systems}: no folders in it",
            hint="expected SYSTEM/CASE.wav, see docs/baselines.md",
        )
    if OURS in folders and run.ours is not None:
        raise DataError(
            f"{folders[OURS]}: the name {OURS!r} is that of the generated sounds",
            hint="rename the folder, or give --ours none",
        )
    return folders


def _generate_ours(run: SystemsRun, progress: Callable[[str], None]) -> Path:
    """The folder of our sounds, with those that were missing; one per model and settings."""
    folder = model_folder(run.ours)
    hashes = [read_record(folder, part).sha256 for part in ("codec", "align", "flow")]
    settings: dict[str, Any] = {
        "seed": 0,
        "steps": 1,
        "loudness_lufs": None,  # as generated, like the sounds of other systems
    }
    key = hashlib.sha256(json.dumps([hashes, settings]).encode()).hexdigest()[:12]
    target = run.out / f"{OURS}-{key}"
    target.mkdir(parents=True, exist_ok=True)
    videos = find_videos(run.videos, CASE_PATTERN)
    missing = {name: path for name, path in videos.items() if not (target / f"{name}.wav").exists()}
    model = FoleyFlow.from_pretrained(folder, device=run.device) if missing else None
    for number, (name, path) in enumerate(missing.items(), start=1):
        progress(f"{OURS}: sound {number} of {len(missing)}, {name}")
        if model is not None:
            model.generate(path, **settings).save(target / f"{name}.wav")
    return target


def _score(
    folder: Path,
    videos: Path,
    judges: ColumnJudges,
    cache: ResultCache,
    workers: Workers | None,
) -> tuple[Report, ...]:
    """The report with our judges, and with the paper's protocol if one of its judges is present."""
    own = evaluate_folder(
        folder,
        videos,
        metrics=(*SIMULATION_COLUMNS.values(), METRIC_OF["onset F1"]),
        judges=judges.judges,
        cache=cache,
        workers=workers,
    )
    if not set(judges.columns) & set(PUBLISHED_COLUMNS):
        return (own,)
    paper = evaluate_folder(
        folder,
        videos,
        protocol=protocol_named("paper"),
        judges=judges.judges,
        cache=cache,
        workers=workers,
    )
    return own, paper


def _columns(reports: tuple[Report, ...], condition: str) -> dict[str, dict[str, Any]]:
    """Column -> figure under a condition, with the number of clips."""
    figures = {
        name: score.figures[condition]
        for report in reports
        for name, score in report.scores.items()
        if condition in score.figures
    }
    columns = {}
    for column, name in METRIC_OF.items():
        if name in figures:
            fields = asdict(figures[name])
            columns[column] = {"mean": fields.pop("value"), **fields}
    return columns


def _gain_column(report: Report) -> dict[str, dict[str, Any]]:
    """The gain of the onset F1 over that of shuffled pairs; none for a single clip."""
    if report.synchrony is None:
        return {}
    window = next(w for w in report.synchrony.windows if w.window_s == WINDOWS_S[0])
    return {} if window.gain is None else {"gain": asdict(window.gain)}


def systems_markdown(result: Mapping[str, Any]) -> str:
    """A result of `run_systems` as Markdown: systems, controls, and the paper's figures.

    Each value is followed by the number of clips that have one.
    """
    used = [
        column
        for column in COLUMNS
        if any(column in row["columns"] for row in result["rows"].values())
    ]
    lines = [result["title"], "", "Values with the number of clips in brackets.", ""]
    lines += [f"| | {' | '.join(used)} |", "|---" * (1 + len(used)) + "|"]
    for kind in ("rows", "controls"):
        for name, row in result[kind].items():
            texts = [_figure_text(row["columns"].get(column)) for column in used]
            label = name if kind == "rows" else f"control: {name}"
            lines.append(f"| {label} | {' | '.join(texts)} |")
    for column, warnings in result["flags"].items():
        for warning in warnings:
            lines += ["", f"{column}: {warning}"]
    if result["left_out"]:
        lines += ["", f"Columns left out: {', '.join(result['left_out'])}."]
    lines += ["", result["printed"]["title"], ""]
    lines += ["| | KLD | FAD | Align Acc, % |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |"
        for name, values in result["printed"]["rows"].items()
    ]
    return "\n".join(lines) + "\n"


def _figure_text(figure: Mapping[str, Any] | None) -> str:
    return "–" if figure is None else f"{figure['mean']:.3f} ({figure['count']})"
