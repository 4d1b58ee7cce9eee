"""The verbs and their flags. Nothing heavy is imported until a verb runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from foleyflow import __version__
from foleyflow.cli.outcome import handle_errors, refuse_given
from foleyflow.cli.usage import ReportingGroup
from foleyflow.parallel.precision import PRECISION_VARIABLE, precision_set_to

app = typer.Typer(
    cls=ReportingGroup,
    help="Gives a silent video its sound.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Make or check data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
measure_app = typer.Typer(help="Measure properties of the product.", no_args_is_help=True)
app.add_typer(measure_app, name="measure")

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and log lines.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, no more.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, do nothing.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]
Threads = Annotated[int, typer.Option(min=0, help="Processor threads; 0 takes all.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Share the work out on a Ray cluster: local, auto, HOST:PORT. Default: this process.",
    ),
]


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="foleyflow")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foleyflow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            envvar=PRECISION_VARIABLE,
            metavar="auto|bf16|fp32",
            help="What networks compute in; auto is bf16 where the device has it in hardware.",
        ),
    ] = "auto",
) -> None:
    """Gives a silent video its sound."""
    context.with_resource(precision_set_to(precision))


@app.command()
def generate(
    videos: Annotated[
        # Text, not paths: an empty name would become the current folder.
        list[str],
        typer.Argument(help="Video files; - reads one from standard input.", metavar="VIDEO..."),
    ],
    output: Annotated[
        # Text, not a path: a slash at the end, which says "folder", would be lost.
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE|FOLDER/",
            help="Where to write. Default: CLIP.foley.mp4 beside the video.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Model folder, or embedded.")] = "embedded",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same sound.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Evaluations of the flow per window.")] = 1,
    guidance: Annotated[
        float | None,
        typer.Option(min=1.0, max=20.0, help="How strongly the video rules; 1 to about 4."),
    ] = None,
    material: Annotated[
        str, typer.Option(help="auto, or what the struck things are made of: wood, metal, ...")
    ] = "auto",
    loudness: Annotated[str, typer.Option(help="Integrated loudness in LUFS, or off.")] = "-23",
    audio_only: Annotated[bool, typer.Option("--audio-only", help="Write a wav file.")] = False,
    overwrite: Overwrite = False,
    report: Annotated[
        bool, typer.Option("--report", help="Draw a picture beside the output.")
    ] = False,
    events: Annotated[
        bool, typer.Option("--events", help="Write found events: CSV, Audacity labels, MIDI.")
    ] = False,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="Write a JSON of all that is needed to repeat this.")
    ] = False,
    device: Device = "auto",
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the published encoder's weights, for a model trained over one. "
            "Default: ~/.cache/foleyflow/encoders."
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processor threads of one operation; 0 decides by the model's size: 1 for the "
            "embedded one. Another number may round otherwise.",
        ),
    ] = 0,
    ray: Ray = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Make the sound of videos and write them with it; pictures are copied untouched."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli.generate import Request, run

        status = run(
            videos,
            Request(
                output=output,
                model=model,
                seed=seed,
                steps=steps,
                guidance=guidance,
                material=material,
                loudness=loudness,
                audio_only=audio_only,
                overwrite=overwrite,
                report=report,
                events=events,
                sidecar=sidecar,
                device=device,
                weights_dir=None if weights_dir is None else str(weights_dir),
                threads=threads,
            ),
            ray=ray,
            as_json=as_json,
            dry_run=dry_run,
            debug=debug,
        )
    raise typer.Exit(status)


@app.command()
def train(
    task: Annotated[str, typer.Argument(help="codec, align, flow or judge.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of this task.")] = "tiny",
    data: Annotated[Path, typer.Option(help="Data set; for codec a place for its sounds.")] = Path(
        "data/sim"
    ),
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/TASK.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Model folder whose weights the run begins with.")
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(
            metavar="RANK", help="Adapt the model of --init by adapters of this rank; it is merged."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable."),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Train one part of the model, or a judge; the same command again resumes."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli.train import run

        run(
            task,
            recipe_name=recipe,
            data=data,
            out=out or Path("runs") / task,
            init=init,
            lora=lora,
            assignments=set_ or [],
            threads=threads,
            device=device,
            as_json=as_json,
            dry_run=dry_run,
        )


@app.command()
def ablate(
    table: Annotated[
        str,
        typer.Argument(
            help="Which of the paper's tables: 2, 5 and targets for stage one, 2-flow, 4 and "
            "5-flow for the flow."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Simulated clips: train, validation, test.")] = Path(
        "data/sim"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder. Default: runs/table-TABLE; runs/tables-flow for all of the flow's, "
            "which share cells."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row.")] = 3,
    real: Annotated[
        Path | None,
        typer.Option(help="Stage one: folder of real clips with sound, only measured."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of all rows; aligner.KEY=VALUE for the aligners of the flow's "
            "tables.",
        ),
    ] = None,
    probe_clips: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Stage one: training clips that the probes are fitted to, at most. Default: 768.",
        ),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(min=2, help="Flow: test clips that are sounded, at most. Default: 96."),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(help="Flow: model folder of a tagger, which hears materials."),
    ] = None,
    aligners: Annotated[
        Path | None,
        typer.Option(
            help="Flow: where table-2 and table-5 lie; aligners that are missing there are "
            "trained. Default: runs."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="ALIGNER", help="Flow: leave out its rows, as none, cavp or vama."),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Train and measure the rows of one of the paper's tables; again resumes."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments import ablate_alignment as stage_one
        from foleyflow.experiments import ablate_flow as stage_two

        common: dict[str, Any] = {
            "data": data,
            "seeds": seeds,
            "assignments": set_ or [],
            "threads": threads,
            "device": device,
            "as_json": as_json,
            "dry_run": dry_run,
        }
        if table in stage_two.FLOW_TABLES:
            refuse_given(table, {"--real": real, "--probe-clips": probe_clips})
            stage_two.run(
                table,
                out=out or Path("runs/tables-flow"),
                clips=clips or 96,
                judge_folder=judge,
                aligners=aligners or Path("runs"),
                without=without or (),
                **common,
            )
        else:
            flow_alone = {"--clips": clips, "--judge": judge, "--aligners": aligners}
            refuse_given(table, flow_alone | {"--without": without})
            stage_one.run(
                table,
                out=out or Path("runs") / f"table-{table}",
                real=real,
                probe_clips=probe_clips or 768,
                **common,
            )


@data_app.command()
def simulate(
    clips: Annotated[int, typer.Option(min=1, help="Clips wanted in the split, in all.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other clips.")] = 0,
    split: Annotated[
        str, typer.Option(help="train, validation or test: no clip in common.")
    ] = "train",
    duration: Annotated[float, typer.Option(help="Seconds of each clip.")] = 4.0,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Frames per second of all clips; varied if not given. 1: for judges of sound."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes one per core.")] = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make clips of impacts by physics simulation; what is there already is kept."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli.simulate import run

        run(
            out,
            clips=clips,
            seed=seed,
            split=split,
            duration_s=duration,
            rate_hz=rate,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )


@data_app.command()
def prepare(
    task: Annotated[str, typer.Argument(help="align or flow.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of this task.")] = "tiny",
    data: Annotated[Path, typer.Option(help="Data set.")] = Path("data/sim"),
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting, as for train."),
    ] = None,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Decode clips, and compute the latents and features that a training needs, beforehand."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli.prepare import run

        run(
            task,
            recipe_name=recipe,
            data=data,
            assignments=set_ or [],
            ray=ray,
            as_json=as_json,
        )


DataOut = Annotated[Path, typer.Option(help="Folder of the data set.")]
ClipSeconds = Annotated[float, typer.Option(help="Seconds of each clip.")]
Cuts = Annotated[
    str, typer.Option(help="avoid (a clip lies within one scene) or keep (cuts don't matter).")
]
Validation = Annotated[
    float, typer.Option(help="Share of the training videos that become the validation split.")
]
Tagger = Annotated[str, typer.Option(help="panns: leave out clips with music alone.")]
Judges = Annotated[
    Path | None,
    typer.Option(help="Folder of the tagger's weights. Default: ~/.cache/foleyflow/judges."),
]
Workers = Annotated[int, typer.Option(min=0, help="Threads; 0 takes one per core.")]


@data_app.command()
def vggsound(
    listing: Annotated[Path, typer.Argument(metavar="CSV", help="vggsound.csv.")],
    clips: Annotated[Path, typer.Argument(help="Folder of the downloaded videos.")],
    out: DataOut,
    duration: ClipSeconds = 8.0,
    segment: Annotated[float, typer.Option(help="Seconds of the list's segments.")] = 10.0,
    cuts: Cuts = "avoid",
    validation: Validation = 0.01,
    tagger: Tagger = "",
    judges: Judges = None,
    workers: Workers = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check VGGSound's clips and pack them into shards; again goes on where it stopped."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli import dataset

        request = dataset.DataRequest(
            out=out,
            duration_s=duration,
            cuts=cuts,
            validation=validation,
            tagger=tagger,
            judges=judges,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )
        dataset.vggsound(listing, clips, request, segment_s=segment)


@data_app.command()
def audioset(
    listing: Annotated[
        Path, typer.Argument(metavar="CSV", help="AudioSet's csv of training segments.")
    ],
    clips: Annotated[Path, typer.Argument(help="Folder of the downloaded videos.")],
    out: DataOut,
    test: Annotated[
        Path | None, typer.Option(metavar="CSV", help="AudioSet's csv of evaluation segments.")
    ] = None,
    duration: ClipSeconds = 8.0,
    cuts: Cuts = "avoid",
    validation: Validation = 0.01,
    tagger: Tagger = "",
    judges: Judges = None,
    workers: Workers = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check AudioSet's clips and pack them into shards; again goes on where it stopped."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli import dataset

        request = dataset.DataRequest(
            out=out,
            duration_s=duration,
            cuts=cuts,
            validation=validation,
            tagger=tagger,
            judges=judges,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )
        dataset.audioset(listing, clips, request, test=test)


@data_app.command("folder")
def data_folder(
    clips: Annotated[Path, typer.Argument(help="Folder of videos; subfolders are labels.")],
    out: DataOut,
    duration: ClipSeconds = 8.0,
    cuts: Cuts = "avoid",
    validation: Validation = 0.05,
    tagger: Tagger = "",
    judges: Judges = None,
    workers: Workers = 0,
    ray: Ray = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check one's own videos and pack them into shards; again goes on where it stopped."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli import dataset

        request = dataset.DataRequest(
            out=out,
            duration_s=duration,
            cuts=cuts,
            validation=validation,
            tagger=tagger,
            judges=judges,
            workers=workers,
            ray=ray,
            as_json=as_json,
        )
        dataset.folder(clips, request)


@data_app.command("doctor")
def data_doctor(
    root: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of a data set.")],
    decode: Annotated[int, typer.Option(min=1, help="Clips of each split to decode.")] = 32,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say whether a data set is whole and decodes, and whether its splits share videos."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli import dataset

        status = dataset.doctor(root, decode=decode, as_json=as_json)
    raise typer.Exit(status)


@app.command()
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
        from foleyflow.cli.evaluate import run

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


@app.command()
def reel(
    out: Annotated[Path, typer.Argument(help="New folder of the reel.")],
    data: Annotated[Path, typer.Option(help="Simulated clips with a test split.")] = Path(
        "data/sim"
    ),
    model: Annotated[str, typer.Option(help="Model folder, or embedded.")] = "embedded",
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER:SOLVER:STEPS",
            help="Another flow to listen to, diffusion=runs/diffusion/model:dpm:25 for instance; "
            "repeatable.",
        ),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Test clips.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, the same for all systems.")] = 0,
    guidance: Annotated[float, typer.Option(min=1.0, max=20.0, help="As in generate.")] = 1.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Sound test clips at each step count and by baselines, and write a page to compare them."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.experiments.reel import run

        run(
            out,
            data=data,
            model=model,
            baselines=baseline or [],
            clips=clips,
            seed=seed,
            guidance=guidance,
            as_json=as_json,
        )


@app.command()
def bench(
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON here.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure speed and memory on this machine."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli.bench import run

        run(out=out, as_json=as_json)


@app.command()
def doctor(
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of published encoders' weights, hashed too. "
            "Default: ~/.cache/foleyflow/encoders."
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is installed and usable, what is missing, and the line that mends it."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli.doctor import run

        status = run(weights_dir=weights_dir, as_json=as_json)
    raise typer.Exit(status)


@measure_app.command()
def robustness(
    cases: Annotated[
        int | None,
        typer.Option(min=1, help="Files to try, in turn from each container. Default: 1000."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed damages in other ways.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; they change no result.")] = 2,
    containers: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Only these, such as mp4,mkv. Default: all."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="CONTAINER:NUMBER", help="Run this case alone; repeatable."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Copy the files of the cases that failed to here."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the report as JSON here.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run generate on damaged and odd files and count how it ends; exit 1 if a case failed."""
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.cli.measure import robustness as run

        status = run(
            case_count=cases,
            seed=seed,
            workers=workers,
            containers=containers,
            case_names=case or [],
            keep=keep,
            out=out,
            as_json=as_json,
        )
    raise typer.Exit(status)
