"""`foleyflow evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

from foleyflow.cli.outcome import answer, check_writable
from foleyflow.errors import DataError, UsageError
from foleyflow.evaluation.folder import (
    CASE_PATTERN,
    evaluate_folder,
    evaluate_systems,
    systems_text,
)
from foleyflow.weights import write_atomically


def run(
    generated: Path,
    reference: Path | None,
    *,
    generated_pattern: str,
    reference_pattern: str,
    skip_without_onsets: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Scores a folder, or several systems side by side, and prints the table or the JSON."""
    check_writable(out)
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
    if reference is None:
        reports = evaluate_systems(generated, skip_without_onsets=skip_without_onsets)
        content = {name: report.to_json() for name, report in reports.items()}
        text = systems_text(reports)
    else:
        report = evaluate_folder(
            generated,
            reference,
            generated_pattern=generated_pattern,
            reference_pattern=reference_pattern,
            skip_without_onsets=skip_without_onsets,
        )
        content, text = report.to_json(), report.to_text()
    if out is not None:
        write_atomically(out, json.dumps(content, indent=1) + "\n")
    answer(content, as_json=as_json, text=text)
