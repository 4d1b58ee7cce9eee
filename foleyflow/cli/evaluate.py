"""`foleyflow evaluate`: score generated sounds against references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from foleyflow.cli.console import (
    check_writable,
    print_status,
    progress_on_stderr,
    write_report,
)
from foleyflow.cli.options import Device, Judges, Out, Ray
from foleyflow.cli.shared_options import Result, printing
from foleyflow.errors import FoleyflowError, UsageError

if TYPE_CHECKING:
    from foleyflow.evaluation.hits import HitReport

DETECTED_HITS = "detected"  # value of --hits


@printing
def evaluate(
    generated: Annotated[
        Path, Argument(metavar="GENERATED", help="Folder of generated sounds or videos.")
    ],
    reference: Annotated[
        Path | None,
        Argument(
            metavar="REFERENCE",
            help="Folder of reference sounds, videos or event files. Without it, GENERATED "
            "contains CASE/SYSTEM.* files, and CASE/gt.* are the references.",
        ),
    ] = None,
    generated_pattern: Annotated[
        str,
        Option(metavar="PATTERN", help="Files of GENERATED, where {case} is the clip's name."),
    ] = "{case}",
    reference_pattern: Annotated[
        str,
        Option(metavar="PATTERN", help="Files of REFERENCE, for example '{case}.flac'."),
    ] = "{case}",
    skip_without_onsets: Annotated[
        bool,
        Option("--skip-without-onsets", help="Leave out clips without reference onsets."),
    ] = False,
    metrics: Annotated[
        str,
        Option(
            metavar="A,B,C",
            help="Further metrics: onset_f1, envelope_correlation, log_spectral_distance, ...; an "
            "unknown name lists all. The true sound, silence, noise and another clip's sound are "
            "scored as controls.",
        ),
    ] = "",
    protocol: Annotated[
        str | None,
        Option(
            metavar="paper|av-benchmark|flatsounds",
            help="Published set of metrics, lengths and rates, instead of --metrics. The sounds "
            "should come from `generate --loudness off`. flatsounds needs --hits.",
        ),
    ] = None,
    hits: Annotated[
        str | None,
        Option(
            metavar="CSV|detected",
            help="Hits for --protocol flatsounds: a csv file with the columns clip and time_s, or "
            "the onsets that are detected in REFERENCE.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a constant of --protocol flatsounds, for example gap_fraction=0.3; "
            "repeatable.",
        ),
    ] = None,
    judges: Judges = None,
    cache: Annotated[
        Path | None,
        Option(help="Folder in which computed values are stored and found in later runs."),
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int,
        Option(min=0, help="Number of processes on this machine; 0 computes in this process."),
    ] = 0,
    ray: Ray = None,
    out: Out = None,
    html: Annotated[
        Path | None,
        Option(help="Also write a page with plots and sounds to this file."),
    ] = None,
) -> Result:
    """Score the sounds of any system against references: onset F1, lags and further metrics."""
    from foleyflow.evaluation.protocols import HIT_PROTOCOL
    from foleyflow.evaluation.report import systems_text
    from foleyflow.evaluation.run import evaluate as run
    from foleyflow.weights import write_atomically

    # Check the options that the library does not receive
    check_writable(out)
    check_writable(html)
    if out is not None and html is not None and out.absolute() == html.absolute():
        raise UsageError(f"{out}: --out and --html are the same file", hint="name two files")
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if names and protocol is not None:
        raise UsageError(
            "--metrics and --protocol: a protocol names its own metrics",
            hint="compute other metrics in a separate run",
        )
    if hits is not None or settings or protocol == HIT_PROTOCOL:
        unused = {
            "--skip-without-onsets": skip_without_onsets,
            "--judges": judges is not None,
            "--cache": cache is not None,
            "--workers": workers > 0,
            "--ray": ray is not None,
            "--html": html is not None,
        }
        patterns = generated_pattern, reference_pattern
        report = _hit_report(generated, reference, patterns, protocol, hits, settings or [], unused)
        write_report(out, report.to_json())
        return report.to_json(), report.to_text()
    # Score the sounds
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
            device=device,
            workers=workers,
            ray=ray,
            progress=progress,
            on_missing_judge=_print_missing_judge,
        )
    # Write the report
    if reference is None:
        content = {name: report.to_json() for name, report in reports.items()}
        text = systems_text(reports)
    else:
        content, text = reports["generated"].to_json(), reports["generated"].to_text()
    write_report(out, content)
    if html is not None:
        from foleyflow.evaluation.html_report import page_text

        title = f"{generated} against {reference or 'gt'}"
        write_atomically(html, page_text(reports, title=title))
    return content, text


def _hit_report(
    generated: Path,
    reference: Path | None,
    patterns: tuple[str, str],
    protocol: str | None,
    hits: str | None,
    settings: list[str],
    unused: dict[str, bool],
) -> HitReport:
    """The report of the protocol flatsounds; `unused` has options that it does not take."""
    from foleyflow.evaluation.hits import HitSettings, evaluate_hits
    from foleyflow.evaluation.protocols import HIT_PROTOCOL
    from foleyflow.recipes.overrides import override

    # Check the options
    if protocol != HIT_PROTOCOL:
        raise UsageError("--hits and --set: expected --protocol flatsounds with them")
    if hits is None:
        raise UsageError(
            "--protocol flatsounds: expected --hits CSV",
            hint="--hits detected takes the onsets of the sounds in REFERENCE",
        )
    given = [option for option, is_given in unused.items() if is_given]
    if given:
        raise UsageError(f"{given[0]} has no effect on --protocol flatsounds", hint="leave it out")
    detects = hits == DETECTED_HITS
    if detects != (reference is not None):
        raise UsageError(
            "--hits detected needs REFERENCE, the folder of true sounds"
            if detects
            else "REFERENCE has no effect on hits from a csv file",
            hint=None if detects else "leave it out, or give --hits detected",
        )
    # Score the sounds
    with progress_on_stderr("clips") as progress:
        return evaluate_hits(
            generated,
            None if detects else Path(hits),
            true_sounds=reference,
            pattern=patterns[0],
            true_pattern=patterns[1],
            settings=override(HitSettings(), settings),
            progress=progress,
        )


def _print_missing_judge(error: FoleyflowError) -> None:
    print_status(f"foleyflow: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
