"""`foleyflow generate`: generate sound for videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Option

from foleyflow.cli.configuration import typed_parameters
from foleyflow.cli.console import handle_errors
from foleyflow.cli.file_list import video_names
from foleyflow.cli.options import (
    EMBEDDED,
    Debug,
    Device,
    DryRun,
    Json,
    Model,
    Ray,
    Seed,
    materials,
)
from foleyflow.cli.output_names import is_template, output_names
from foleyflow.cli.sound_options import (
    SoundOptions,
    checked_sound,
    parse_loudness,
    parse_mix_level,
)
from foleyflow.cli.takes import (
    Candidates,
    Of,
    Range,
    Stems,
    revised,
    revision_to_json,
    takes_text,
)
from foleyflow.cli.video_batch import (
    FilesFrom,
    ModelThreads,
    Overwrite,
    Sensitivity,
    VideoBatch,
    VideoNames,
    WeightsFolder,
    as_argument,
    checked_sensitivity,
    cue_counts,
)
from foleyflow.errors import UsageError
from foleyflow.system.printable import printable


def generate(
    context: typer.Context,
    videos: VideoNames = None,
    files_from: FilesFrom = None,
    output: Annotated[
        # Text, not a path: the slash at the end of a folder would be lost.
        str | None,
        Option(
            "-o",
            "--output",
            metavar="FILE|FOLDER/",
            help="Output file, folder of the outputs, or a template such as {stem}.foley{suffix} "
            "(fields: stem, suffix, name, folder, number). Default: NAME.foley.mp4 next to each "
            "video.",
        ),
    ] = None,
    model: Model = EMBEDDED,
    seed: Seed = 0,
    steps: Annotated[
        int, Option(min=1, help="Number of function evaluations of the flow per window.")
    ] = 1,
    guidance: Annotated[
        float | None,
        Option(
            min=1.0,
            max=20.0,
            help="Scale of classifier-free guidance; higher values follow the video more closely. "
            "Default: that of the model.",
        ),
    ] = None,
    material: Annotated[
        str,
        Option(
            metavar="auto|NAME",
            autocompletion=materials,
            help="Material of all cues, such as wood; auto keeps those of the cues.",
        ),
    ] = "auto",
    cues: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Generate exactly the cues of this file, as `foleyflow spot` or another program "
            "writes them: .json, .csv, .txt (Audacity), .mid, .reaper.csv, .edl or .otio. Default: "
            "find the cues in the video.",
        ),
    ] = None,
    sensitivity: Sensitivity = None,
    candidates: Candidates = 1,
    of: Of = None,
    range_text: Range = None,
    loudness: Annotated[
        str,
        Option(
            metavar="LUFS|off",
            help="Target integrated loudness; off keeps the generated level.",
        ),
    ] = "-23",
    library: Annotated[
        Path | None,
        Option(
            metavar="FOLDER",
            help="Folder of recorded sounds, named after their materials; they replace the model "
            "for the cues of these materials.",
        ),
    ] = None,
    library_variation: Annotated[
        Literal["on", "off"] | None,
        Option(
            help="Vary choice, pitch and gain of the sounds of --library a little. Default: on.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        Option(
            metavar="SOUND",
            help="Sound file with a hit whose timbre all cues follow instead of their attributes. "
            "--material, if given, is that of the recorded hit.",
        ),
    ] = None,
    stereo: Annotated[
        bool,
        Option(
            "--stereo",
            help="Pan each cue to its place in the picture. Default: mono.",
        ),
    ] = False,
    mix: Annotated[
        Literal["replace", "mix", "duck"],
        Option(
            help="What becomes of the video's own sound: replace it, mix it with the generated "
            "sound, or duck it around the cues.",
        ),
    ] = "replace",
    mix_level: Annotated[
        str | None,
        Option(
            metavar="LU|off",
            help="Loudness of the generated sound above that of the video, for --mix mix|duck; off "
            "keeps the levels of both. Default: 0.",
        ),
    ] = None,
    duck_depth: Annotated[
        float | None,
        Option(
            metavar="DB",
            help="By how much --mix duck lowers the video's own sound. Default: 9.",
        ),
    ] = None,
    keep_original: Annotated[
        bool,
        Option("--keep-original", help="Keep the audio tracks of the video after the new one."),
    ] = False,
    audio_only: Annotated[
        bool, Option("--audio-only", help="Write a sound file instead of a video.")
    ] = False,
    sound_format: Annotated[
        Literal["wav16", "wav24", "flac", "bwf"] | None,
        Option(
            "--format",
            help="Format of the sound file of --audio-only; bwf is Broadcast Wave with time code "
            "and markers. Default: by the suffix of the output, 24 bits.",
        ),
    ] = None,
    project: Annotated[
        Literal["reaper"] | None,
        Option(
            help="Also write a project with the video, the generated sound (or its --stems) and "
            "the cues as markers.",
        ),
    ] = None,
    stems: Stems = None,
    overwrite: Overwrite = False,
    report: Annotated[
        bool,
        Option("--report", help="Also plot frames, waveform, spectrogram and cues to a PNG file."),
    ] = False,
    events: Annotated[
        bool,
        Option("--events", help="Also write the cues as JSON, CSV, Audacity labels and MIDI."),
    ] = False,
    sidecar: Annotated[
        bool,
        Option("--sidecar", help="Also write all settings and hashes of weights as JSON."),
    ] = False,
    device: Device = "auto",
    weights_dir: WeightsFolder = None,
    threads: ModelThreads = 0,
    ray: Ray = None,
    as_json: Json = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Generate sound for each video and write a copy with the new audio track.

    The video stream is not re-encoded. With several videos, those whose output exists are skipped.
    """
    with handle_errors(debug=debug, as_json=as_json):
        from foleyflow.inference.delivery import Delivery
        from foleyflow.inference.generation_job import generate_sound, sound_output
        from foleyflow.inference.request import Request

        names = video_names(videos, files_from)
        typed = typed_parameters(context)
        # A configured default gives way to what the command line has
        if cues is not None and "sensitivity" not in typed:
            sensitivity = None
        sound = checked_sound(
            SoundOptions(
                mix=mix,
                mix_level=mix_level,
                duck_depth=duck_depth,
                keep_original=keep_original,
                audio_only=audio_only,
                sound_format=sound_format,
                library=library,
                library_variation=library_variation,
                reference=reference,
            ),
            typed,
        )
        if project is not None and audio_only and "-" in names:
            raise UsageError(
                f"--project {project} with --audio-only: standard input leaves no video for it",
                hint="leave --audio-only out, or save the video to a file first",
            )
        is_revision = of is not None or range_text is not None
        if is_revision and output is not None and is_template(output) and len(names) == 1:
            output = output_names(output, names)[names[0]]
        request = Request(
            output=output,
            model=model,
            seed=seed,
            steps=steps,
            guidance=guidance,
            material=material,
            cues=cues,
            sensitivity=checked_sensitivity(sensitivity),
            loudness_lufs=parse_loudness(loudness),
            library=None if sound.library is None else str(sound.library),
            library_variation=sound.library_variation != "off",
            reference=None if sound.reference is None else str(sound.reference),
            stereo=stereo,
            delivery=Delivery(
                mix=mix,
                mix_level_lu=parse_mix_level(sound.mix_level),
                duck_depth_db=(
                    Delivery.duck_depth_db if sound.duck_depth is None else sound.duck_depth
                ),
                keep_original=sound.keep_original,
                sound_format=sound.sound_format,
            ),
            audio_only=audio_only,
            project=project,
            overwrite=overwrite,
            report=report,
            events=events,
            sidecar=sidecar,
            candidates=candidates,
            stems=stems,
            device=device,
            weights_dir=None if weights_dir is None else str(weights_dir),
            threads=threads,
        )
        if is_revision:
            request = revised(request, names, typed, of=of, range_text=range_text)
        batch = VideoBatch(
            command="generate",
            videos=names,
            request=request,
            output_of=sound_output,
            work=generate_sound,
            result_text=_result_text,
            is_list=files_from is not None,
        )
        batch.check(ray=ray)
        if cues is not None:
            _check_cues(cues, len(names), sensitivity)
        if dry_run:
            lufs = request.loudness_lufs
            settings = vars(request) | request.delivery.to_json() | revision_to_json(request)
            settings["loudness"] = "off" if lufs is None else f"{lufs:g}"
            del settings["loudness_lufs"], settings["delivery"], settings["revision"]
            status = batch.print_plan(settings)
        else:
            status = batch.run(ray=ray, as_json=as_json, debug=debug)
    raise typer.Exit(status)


def _check_cues(cues: str, video_count: int, sensitivity: float | None) -> None:
    """Refuses options that do not fit --cues, and a file that is no cue sheet of any clip."""
    from foleyflow.cues.files import check_cues

    if video_count > 1:
        raise UsageError(
            f"--cues {cues}: one file for {video_count} videos",
            hint="run the command for each video with its own cues",
        )
    if sensitivity is not None:
        raise UsageError(
            f"--sensitivity {sensitivity:g} with --cues: expected one of them",
            hint="--sensitivity is for finding cues; `foleyflow spot` has it too",
        )
    check_cues(Path(cues))


def _result_text(described: dict[str, Any], is_only: bool) -> str:
    lines = [
        f"{described['output']}  ({described['duration_s']:.2f} s, {cue_counts(described)}, "
        f"{described['timings_s']['total']:.2f} s)"
    ]
    lines.append(_loudness_text(described["loudness"]))
    lines += takes_text(described)
    lines += [f"  {name}" for name in described.get("project_files", [])]
    lines += [f"  {described[key]}" for key in ("report", "sidecar") if key in described]
    lines += [f"  {name}" for name in described.get("event_files", [])]
    if is_only and described["video"] != "-":
        lines.append(f"  to change the cues: {_editing_text(described)}")
    return "\n".join(map(printable, lines))


def _loudness_text(loudness: dict[str, float | None]) -> str:
    level, peak = loudness["integrated_lufs"], loudness["true_peak_dbtp"]
    if level is None or peak is None:
        return "  loudness: silent"
    return f"  loudness: {level:.1f} LUFS, true peak {peak:.1f} dBTP"


def _editing_text(described: dict[str, Any]) -> str:
    """How to edit the cues of a result and generate its sound again."""
    video = as_argument(described["video"])
    sheet, steps = described["cue_file"] or next(iter(described.get("event_files", [])), None), []
    if sheet is None:
        sheet = str(Path(described["video"]).with_suffix(".cues.json"))
        steps = [f"foleyflow spot {video}"]
    again = f"foleyflow generate {video} --cues {as_argument(sheet)} --overwrite"
    return ", ".join([*steps, f"edit {sheet}", again])
