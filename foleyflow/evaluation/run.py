"""`foleyflow evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from foleyflow.cli.console import check_writable, print_result, print_status, progress_on_stderr
from foleyflow.errors import DataError, UsageError
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.folder import (
    CASE_PATTERN,
    Report,
    evaluate_folder,
    evaluate_systems,
    systems_text,
)
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.protocols import Protocol, protocol_named
from foleyflow.judges.interface import AnyJudge
from foleyflow.weights import write_atomically


def run(
    generated: Path,
    reference: Path | None,
    *,
    generated_pattern: str,
    reference_pattern: str,
    skip_without_onsets: bool,
    metrics: str,
    protocol_name: str | None,
    judge_folder: Path | None,
    cache_folder: Path | None,
    out: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Scores a folder, or several systems side by side, and prints the table or the JSON."""
    check_writable(out)
    check_writable(html)
    if out is not None and html is not None and out.absolute() == html.absolute():
        raise UsageError(f"{out}: --out and --html are one file", hint="name two")
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if names and protocol_name is not None:
        raise UsageError(
            "--metrics and --protocol: a protocol names its own metrics",
            hint="score others in a run of their own",
        )
    protocol = None if protocol_name is None else protocol_named(protocol_name)
    cache = None if cache_folder is None else ResultCache(cache_folder)
    patterns = (generated_pattern, reference_pattern)
    if reference is None and set(patterns) != {CASE_PATTERN}:
        raise UsageError(
            "a pattern was given, but no REFERENCE",
            hint="several systems side by side go by CASE/SYSTEM.*; name the reference's folder",
        )
    for folder in filter(None, (generated, reference)):
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder", hint="give folders of sound or video files"
            )
    judges = _judges(names, protocol, judge_folder)
    with progress_on_stderr("clips") as progress:
        reports: Mapping[str, Report]
        if reference is None:
            reports = evaluate_systems(
                generated,
                skip_without_onsets=skip_without_onsets,
                metrics=names,
                judges=judges,
                protocol=protocol,
                cache=cache,
                progress=progress,
            )
            content = {name: report.to_json() for name, report in reports.items()}
            text = systems_text(reports)
        else:
            report = evaluate_folder(
                generated,
                reference,
                generated_pattern=generated_pattern,
                reference_pattern=reference_pattern,
                skip_without_onsets=skip_without_onsets,
                metrics=names,
                judges=judges,
                protocol=protocol,
                cache=cache,
                progress=progress,
            )
            reports = {"generated": report}
            content, text = report.to_json(), report.to_text()
    if out is not None:
        write_atomically(out, json.dumps(content, indent=1) + "\n")
    if html is not None:
        from foleyflow.evaluation.html_report import page_text

        title = f"{generated} against {'gt' if reference is None else reference}"
        write_atomically(html, page_text(reports, title=title))
    print_result(content, as_json=as_json, text=text)


def _judges(
    names: Sequence[str], protocol: Protocol | None, folder: Path | None
) -> dict[str, AnyJudge]:
    """The judges that metrics need; each that a protocol has to do without is said.

    Raises:
        FoleyflowError: a metric asked for by name lacks its judge, or a protocol lacks all.
    """
    wanted = names if protocol is None else protocol.metrics
    needed = [METRICS[name].judge for name in wanted if name in METRICS]
    if not any(needed):
        return {}
    from foleyflow.judges.adapters import load_judges
    from foleyflow.judges.weights import default_folder

    judges, missing = load_judges(filter(None, needed), folder or default_folder())
    if missing and (protocol is None or not judges):
        raise next(iter(missing.values()))
    for error in missing.values():
        print_status(f"foleyflow: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
    return judges
