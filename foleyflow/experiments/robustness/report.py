"""Select robustness cases, run them, and summarise the results."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foleyflow.errors import ConfigError, MediaError
from foleyflow.experiments.robustness.cases import Case, first_cases
from foleyflow.experiments.robustness.corpus import CONTAINERS
from foleyflow.experiments.robustness.runner import counts, run_cases
from foleyflow.experiments.robustness.verdict import KINDS

DEFAULT_CASES = 1000


def select_cases(
    names: Sequence[str], *, count: int | None = None, containers: str | None = None
) -> list[Case]:
    """Return the cases with these names, or without names the first `count` of some containers.

    None means 1000 cases, and all containers; names of containers are separated by commas.

    Raises:
        ConfigError: names together with the other arguments, or an unknown case or container.
    """
    if not names:
        chosen = list(CONTAINERS) if containers is None else containers.split(",")
        return first_cases(count or DEFAULT_CASES, chosen)
    if count is not None or containers is not None:
        raise ConfigError(
            "--case was given together with --cases or --containers, expected one of both",
            hint="leave --cases and --containers out",
        )
    return [Case.named(name) for name in names]


def measure(
    cases: Sequence[Case],
    *,
    seed: int,
    workers: int,
    keep: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Run `foleyflow generate` on cases and report how each ended.

    Other arguments are those of `run_cases`.

    Args:
        keep: folder for the files of failed cases, created if necessary; None to keep none.
        on_progress: called with (done, total) after each case.

    Returns:
        The report as a JSON object: seed, cases, wall_s, counts by container and kind, and for each
        failure its result and the command that reproduces it.

    Raises:
        MediaError: the folder can't be created.
        FoleyflowError: a worker can't be started.
    """
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(
                f"{keep}: the folder can't be created ({error.strerror})",
                hint="choose another folder with --keep",
            ) from error
    start_s = time.perf_counter()
    done = itertools.count(1)
    results = run_cases(
        cases,
        seed=seed,
        workers=workers,
        keep=keep,
        on_result=lambda _: on_progress(next(done), len(cases)),
    )
    command = "foleyflow measure robustness --case {} --seed {} --keep mutants"
    return {
        "seed": seed,
        "cases": len(results),
        "wall_s": round(time.perf_counter() - start_s, 1),
        "counts": counts(results),
        "failures": [
            {**dataclasses.asdict(result), "command": command.format(result.case, seed)}
            for result in results
            if result.failed
        ],
    }


def report_text(report: Mapping[str, Any]) -> str:
    """Format a report of `measure` as a table, followed by the failures."""
    lines = [f"{'container':12}" + "".join(f"{kind:>11}" for kind in KINDS)]
    for name, row in report["counts"].items():
        lines.append(f"{name:12}" + "".join(f"{row[kind]:>11}" for kind in KINDS))
    lines.append(f"{report['cases']} cases in {report['wall_s']:g} s")
    for failure in report["failures"]:
        lines.append(f"{failure['kind']} {failure['case']}: {failure['why']}")
        lines += [f"    {text}" for text in (*failure["changes"], failure["command"])]
    return "\n".join(lines)
