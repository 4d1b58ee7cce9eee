"""`foleyflow measure`: measurements that are no benchmark of speed, one function for each verb."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foleyflow.cli.console import check_writable, print_result, progress_on_stderr
from foleyflow.errors import ConfigError, MediaError
from foleyflow.experiments.robustness.cases import Case, first_cases
from foleyflow.experiments.robustness.corpus import CONTAINERS
from foleyflow.experiments.robustness.runner import Result, counts, run_cases
from foleyflow.experiments.robustness.verdict import KINDS
from foleyflow.weights import write_atomically

DEFAULT_CASES = 1000


def robustness(
    *,
    case_count: int | None,
    seed: int,
    workers: int,
    containers: str | None,
    case_names: list[str],
    keep: Path | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Run generate on mutants and print how often it ended in which way.

    Returns:
        The exit status: 0 if every case was right or refused, else 1.

    Raises:
        ConfigError: --case beside --cases or --containers, or an unknown case or container.
        MediaError: the report or the kept files can't be written where they are asked for.
    """
    check_writable(out)
    if case_names and (case_count is not None or containers is not None):
        raise ConfigError(
            "--case names the cases, --cases and --containers choose them: expected one of both",
            hint="leave --cases and --containers out",
        )
    if case_names:
        cases = [Case.named(name) for name in case_names]
    else:
        wanted = list(CONTAINERS) if containers is None else containers.split(",")
        cases = first_cases(case_count or DEFAULT_CASES, wanted)
    if keep is not None:
        _make_folder(keep)
    began_s = time.perf_counter()
    with progress_on_stderr("cases") as show:
        done: list[Result] = []

        def on_result(result: Result) -> None:
            done.append(result)
            show(len(done), len(cases))

        results = run_cases(cases, seed=seed, workers=workers, keep=keep, on_result=on_result)
    failures = [result for result in results if result.failed]
    report = {
        "seed": seed,
        "cases": len(results),
        "wall_s": round(time.perf_counter() - began_s, 1),
        "counts": counts(results),
        "failures": [
            {**dataclasses.asdict(result), "command": _command(result.case, seed)}
            for result in failures
        ],
    }
    if out is not None:
        write_atomically(out, json.dumps(report, indent=1) + "\n")
    print_result(report, as_json=as_json, text=_text(report))
    return 1 if failures else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(
            f"{folder}: can't be made ({error.strerror})", hint="choose another folder with --keep"
        ) from error


def _command(case: str, seed: int) -> str:
    """What runs one case again and keeps its file."""
    return f"foleyflow measure robustness --case {case} --seed {seed} --keep mutants"


def _text(report: Mapping[str, Any]) -> str:
    lines = [f"{'container':12}" + "".join(f"{kind:>11}" for kind in KINDS)]
    for name, row in report["counts"].items():
        lines.append(f"{name:12}" + "".join(f"{row[kind]:>11}" for kind in KINDS))
    lines.append(f"{report['cases']} cases in {report['wall_s']:g} s")
    for failure in report["failures"]:
        lines.append(f"{failure['kind']} {failure['case']}: {failure['why']}")
        lines += [f"    {change}" for change in failure["changes"]]
        lines.append(f"    {failure['command']}")
    return "\n".join(lines)
