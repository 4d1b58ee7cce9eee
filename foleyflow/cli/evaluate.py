"""The command `foleyflow evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import (
    check_writable,
    handle_errors,
    print_result,
    print_status,
    progress_on_stderr,
)
from foleyflow.cli.options import Debug, Json
from foleyflow.errors import FoleyflowError, UsageError


def evaluate(
    generated: Annotated[Path, typer.Argument(help="Folder of generated sounds or videos.")],
    reference: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of reference sounds, videos or event files. Without it, GENERATED holds "
            "CASE/SYSTEM.* files with CASE/gt.* as references."
        ),
    ] = None,
    generated_pattern: Annotated[
        str, typer.Option(help="Which files of GENERATED; {case} stands for the clip's name.")
    ] = "{case}",
    reference_pattern: Annotated[
        str, typer.Option(help="Which files of REFERENCE, '{case}.flac' for instance.")
    ] = "{case}",
    skip_without_onsets: Annotated[
        bool,
        typer.Option("--skip-without-onsets", help="Leave out clips without reference onsets."),
    ] = False,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="A,B,C",
            help="More metrics, each with true sound, silence, noise and another clip's sound as "
            "controls: onset_f1, envelope_correlation, log_spectral_distance, ...; an unknown "
            "name lists all.",
        ),
    ] = "",
    protocol: Annotated[
        str | None,
        typer.Option(
            help="paper or av-benchmark: a published set of metrics, lengths and rates, instead "
            "of --metrics."
        ),
    ] = None,
    judges: Annotated[
        Path | None,
        typer.Option(
            help="Folder of published judges' weights. Default: ~/.cache/foleyflow/judges."
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for cached values, by content and settings."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the report as JSON here.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a page with plots and sounds here; it works offline."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score generated sounds of any system against references: onset F1, lags, controls."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.evaluation.report import systems_text
        from foleyflow.evaluation.run import evaluate as run
        from foleyflow.weights import write_atomically

        # Check the options that the library does not see.
        check_writable(out)
        check_writable(html)
        if out is not None and html is not None and out.absolute() == html.absolute():
            raise UsageError(f"{out}: --out and --html are one file", hint="name two files")
        names = [name.strip() for name in metrics.split(",") if name.strip()]
        if names and protocol is not None:
            raise UsageError(
                "--metrics and --protocol: a protocol names its own metrics",
                hint="compute other metrics in a separate run",
            )
        # Score.
        with progress_on_stderr("clips") as progress:
            reports = run(
                generated,
                reference,
                generated_pattern=generated_pattern,
                reference_pattern=reference_pattern,
                skip_without_onsets=skip_without_onsets,
                metrics=names,
                protocol=protocol,
                judge_folder=judges,
                cache_folder=cache,
                progress=progress,
                on_missing_judge=_print_missing_judge,
            )
        # Write and print.
        if reference is None:
            content = {name: report.to_json() for name, report in reports.items()}
            text = systems_text(reports)
        else:
            content, text = reports["generated"].to_json(), reports["generated"].to_text()
        if out is not None:
            write_atomically(out, json.dumps(content, indent=1) + "\n")
        if html is not None:
            from foleyflow.evaluation.html_report import page_text

            title = f"{generated} against {reference or 'gt'}"
            write_atomically(html, page_text(reports, title=title))
        print_result(content, as_json=as_json, text=text)


def _print_missing_judge(error: FoleyflowError) -> None:
    print_status(f"foleyflow: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
