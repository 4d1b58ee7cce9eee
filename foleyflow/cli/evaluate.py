"""`foleyflow evaluate`: the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foleyflow.cli.console import handle_errors
from foleyflow.cli.options import Debug, Json


def evaluate(
    generated: Annotated[Path, typer.Argument(help="Folder of generated sounds or videos.")],
    reference: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of true sounds, videos or event files. Left out: GENERATED holds "
            "CASE/SYSTEM.* with CASE/gt.* as the truth."
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
        typer.Option("--skip-without-onsets", help="Leave out clips whose truth has no onset."),
    ] = False,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="A,B,C",
            help="More metrics, each beside true sound, silence, noise and another clip's sound: "
            "onset_f1, envelope_correlation, log_spectral_distance, ...; a wrong name lists all.",
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
        typer.Option(help="Folder where figures are kept, by content and settings, for next time."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the report as JSON here.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a page with plots and sounds here; it works offline."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score generated sounds of any system against the true ones: onset F1, lags, controls."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.evaluation.run import run

        run(
            generated,
            reference,
            generated_pattern=generated_pattern,
            reference_pattern=reference_pattern,
            skip_without_onsets=skip_without_onsets,
            metrics=metrics,
            protocol_name=protocol,
            judge_folder=judges,
            cache_folder=cache,
            out=out,
            html=html,
            as_json=as_json,
        )
