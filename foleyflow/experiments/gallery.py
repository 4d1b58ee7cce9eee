"""Make the gallery: report pictures of simulated clips before and after correcting their cues.

The cues of the first picture are found in the video. Those of the second one are the exact hits,
rolls and scrapes of the simulation with their levels and materials, written into a cue sheet and
read from it, as a user corrects them. What a user does not know (pitch, decay, striker) is left to
the model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from foleyflow.cues.cue import Cue
from foleyflow.cues.files import read_cues, write_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.data.clip_types import ClipLabels, labels_from
from foleyflow.errors import ConfigError
from foleyflow.evaluation.metrics.synchrony import detect_onsets, onset_f1
from foleyflow.evaluation.metrics.synchrony.matching import nearest_pairs
from foleyflow.experiments.gallery_clips import (
    DURATION_S,
    FRAME_RATE_HZ,
    GALLERY,
    GalleryClip,
)
from foleyflow.experiments.gallery_page import PAGE_TITLE, gallery_page
from foleyflow.experiments.gallery_pictures import plot_picture
from foleyflow.experiments.measure_aligner import WINDOW_S
from foleyflow.features.cue_labels import sheet_of_labels
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.result import Generated
from foleyflow.judges.interface import MaterialJudge, preprocess_audio
from foleyflow.media import mux, peak_gain
from foleyflow.pretrained import model_folder
from foleyflow.signals import Waveform
from foleyflow.simulation.constants import AUDIO_RATE_HZ
from foleyflow.simulation.dataset.clip_files import clip_labels
from foleyflow.simulation.dataset.clip_simulation import SimulatedClip, SimulatedVideo
from foleyflow.simulation.dataset.simulate import simulate_example
from foleyflow.weights import read_record, write_atomically

PAGE_NAME = "README.md"
STAGES = ("found", "corrected")
TITLES = {"found": "before: cues found in the video", "corrected": "after: cues corrected"}


@dataclass(frozen=True, kw_only=True)
class GallerySound:
    """A sound of a clip that was generated from a cue sheet.

    Attributes:
        result: the generated sound and its cues.
        onset_f1: of its onsets against those of the true sound.
        verdict: the material that the judge recognises.
    """

    result: Generated
    onset_f1: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class GallerySettings:
    """How the sounds are generated: steps and guidance (None for the model's), and their seed."""

    steps: int = 1
    guidance: float | None = None
    seed: int = 0


def make_gallery(
    out: Path,
    clips: Sequence[GalleryClip],
    *,
    model: str,
    judge: MaterialJudge,
    settings: GallerySettings,
    height: int,
    media: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write two report pictures of each clip, and README.md, which shows them with their figures.

    An earlier gallery in the folder is replaced; its media files stay.

    Args:
        out: folder, which is created.
        model: "embedded" or a model folder.
        judge: classifies sounds.
        height: of the clips in pixels; they are 16:9.
        media: also write the videos with the sounds, and the cue sheets.
        progress: called with the number of finished and of all clips.

    Returns:
        The settings, "weights" (the first digits of the hashes), "clips" (see `_described`) and
        "mean", the onset F1 and the recognised fraction of each stage.

    Raises:
        ConfigError: the height is odd, the folder has a README.md that is no gallery, or the model
            takes no cues.
        MediaError: a file can't be written.
        MissingExtra: a package of the evaluation is not installed.
    """
    if height % 2:
        raise ConfigError(
            f"height {height}: expected an even number", hint=f"for example {height + 1}"
        )
    page = out / PAGE_NAME
    if page.exists() and not page.read_text("utf-8").startswith(f"{PAGE_TITLE}\n"):
        raise ConfigError(
            f"{page}: expected a gallery or no such file", hint="give another folder for --out"
        )
    folder = model_folder(model)
    flow = FoleyFlow.from_pretrained(model)
    if not flow.materials:
        raise ConfigError(
            f"model {model!r} takes no cues, expected one with cue tracks",
            hint="leave --model out for the embedded model",
        )
    out.mkdir(parents=True, exist_ok=True)
    # Clips, one by one
    entries: list[dict[str, Any]] = []
    for clip in clips:
        progress(len(entries), len(clips))
        entries.append(
            _make_entry(
                out, clip, flow=flow, judge=judge, settings=settings, height=height, media=media
            )
        )
    progress(len(entries), len(clips))
    # Report and page
    guidance = flow.flow.config.default_guidance if settings.guidance is None else settings.guidance
    report = {
        "model": flow.name,
        "weights": {
            name: read_record(folder, name).sha256[:8] for name in ("codec", "align", "flow")
        },
        "steps": settings.steps,
        "guidance": guidance,
        "seed": settings.seed,
        "clips": entries,
        "mean": {
            stage: {
                "onset_f1": round(float(np.mean([each[stage]["onset_f1"] for each in entries])), 2),
                "recognised": round(
                    float(np.mean([each[stage]["is_recognised"] for each in entries])), 2
                ),
            }
            for stage in STAGES
        },
    }
    _remove_other_pictures(out, clips)
    write_atomically(page, gallery_page(report))
    return report


def picture_name(clip: GalleryClip, stage: str) -> str:
    """The file of the picture of a clip at one of the `STAGES`."""
    return f"{clip.name}-{stage}.png"


def _make_entry(
    out: Path,
    clip: GalleryClip,
    *,
    flow: FoleyFlow,
    judge: MaterialJudge,
    settings: GallerySettings,
    height: int,
    media: bool,
) -> dict[str, Any]:
    """Simulate a clip, generate its sound from found and from corrected cues, and draw both."""
    # The clip, its labels and its true sound
    simulated = simulate_example(
        seed=clip.seed,
        family=clip.family,
        duration_s=DURATION_S,
        width=2 * round(height * 8 / 9),
        height=height,
        fps=FRAME_RATE_HZ,
    )
    labels = labels_of(simulated, clip.name)
    true = Waveform(samples=simulated.sound.waveform[None], rate_hz=AUDIO_RATE_HZ)
    exact = without_unknown_fields(sheet_of_labels(labels))
    with tempfile.TemporaryDirectory() as temporary:
        video = Path(temporary) / f"{clip.name}.mp4"
        video.write_bytes(cast(SimulatedVideo, simulated.video).encode())
        # Sounds of the found cues, and of the corrected sheet
        sounds: dict[str, GallerySound] = {}
        for stage in STAGES:
            cues = None
            if stage == "corrected":
                sheet = (out if media else video.parent) / f"{clip.name}-{stage}.cues.csv"
                write_cues(sheet, exact)
                cues = read_cues(sheet, duration_s=labels.duration_s, materials=flow.materials)
            result = flow.generate(
                video,
                cues=cues,
                steps=settings.steps,
                guidance=settings.guidance,
                seed=settings.seed,
                loudness_lufs=None,
            )
            sounds[stage] = _scored(result, true, judge)
            title = f"{clip.title}, {TITLES[stage]}"
            plot_picture(out / picture_name(clip, stage), result, true, title=title)
        if media:
            _write_media(out, clip, sounds, true, video)
    return _described(clip, labels, exact, sounds, true_verdict=_verdict(judge, true))


def labels_of(clip: SimulatedClip, name: str) -> ClipLabels:
    """The labels of a clip that is not in a data set."""
    return labels_from(clip_labels(clip, name, split="gallery", seed=0))


def without_unknown_fields(sheet: CueSheet) -> CueSheet:
    """A sheet without the fields that can't be seen in the video: pitch, decay and striker."""
    cues = tuple(replace(cue, pitch_hz=None, decay_s=None, striker=None) for cue in sheet)
    return replace(sheet, cues=cues)


def _verdict(judge: MaterialJudge, sound: Waveform) -> str:
    return judge.material(preprocess_audio(judge, sound))


def _scored(result: Generated, true: Waveform, judge: MaterialJudge) -> GallerySound:
    """A generated sound with its figures against the true one."""
    sound = result.as_waveform()
    true_s, sound_s = (detect_onsets(each.mono(), each.rate_hz).times_s for each in (true, sound))
    return GallerySound(
        result=result,
        onset_f1=onset_f1(true_s, sound_s, WINDOW_S),
        verdict=_verdict(judge, sound),
    )


def _described(
    clip: GalleryClip,
    labels: ClipLabels,
    exact: CueSheet,
    sounds: dict[str, GallerySound],
    *,
    true_verdict: str,
) -> dict[str, Any]:
    """The figures of a clip.

    Returns:
        "name", "title", "scene", "material" (of the labels) and "true_verdict"; "cues", see
        `compare_cues`; and for each stage its "picture", "onset_f1", "verdict" and
        "is_recognised", whether the verdict is the material.
    """
    return {
        "name": clip.name,
        "title": clip.title,
        "scene": clip.scene,
        "material": labels.material,
        "true_verdict": true_verdict,
        "cues": compare_cues(sounds["found"].result.cues, exact),
        **{
            stage: {
                "picture": picture_name(clip, stage),
                "onset_f1": round(sound.onset_f1, 2),
                "verdict": sound.verdict,
                "is_recognised": sound.verdict == labels.material,
            }
            for stage, sound in sounds.items()
        },
    }


def compare_cues(found: CueSheet, exact: CueSheet) -> dict[str, int]:
    """Count what is right in a sheet of found cues, of which disabled ones do not count.

    Returns:
        "hits", the number of exact ones; "hits_found", those with a found hit within 50 ms;
        "materials", those with a found hit of their material; "false_hits", found hits without an
        exact one; and likewise "frictions", "frictions_found", "friction_materials" and
        "false_frictions", where an overlap counts as found.
    """
    true_hits, hits = exact.hits, found.enabled.hits
    pairs = nearest_pairs([cue.time_s for cue in true_hits], [cue.time_s for cue in hits], WINDOW_S)
    true_frictions, frictions = exact.frictions, found.enabled.frictions
    found_frictions = [
        [each for each in frictions if _overlap(each, friction)] for friction in true_frictions
    ]
    return {
        "hits": len(true_hits),
        "hits_found": len(pairs),
        "materials": sum(true_hits[i].material == hits[j].material for i, j in pairs),
        "false_hits": len(hits) - len(pairs),
        "frictions": len(true_frictions),
        "frictions_found": sum(map(bool, found_frictions)),
        "friction_materials": sum(
            any(each.material == friction.material for each in overlapping)
            for friction, overlapping in zip(true_frictions, found_frictions, strict=True)
        ),
        "false_frictions": sum(
            not any(_overlap(each, friction) for friction in true_frictions) for each in frictions
        ),
    }


def _overlap(one: Cue, other: Cue) -> bool:
    """Whether two rolls or scrapes sound at the same time."""
    return one.time_s < cast(float, other.end_s) and other.time_s < cast(float, one.end_s)


def _write_media(
    out: Path,
    clip: GalleryClip,
    sounds: dict[str, GallerySound],
    true: Waveform,
    video: Path,
) -> None:
    """Write the video with each generated sound and with the true one, and the found cues."""
    for stage, sound in sounds.items():
        sound.result.save(out / f"{clip.name}-{stage}.mp4", overwrite=True)
    write_cues(out / f"{clip.name}-found.cues.csv", sounds["found"].result.cues)
    gain = np.float32(peak_gain(float(np.abs(true.samples).max(initial=0.0))))
    mux(
        video,
        out / f"{clip.name}-true.mp4",
        [true.samples * gain],
        rate_hz=true.rate_hz,
        n_samples=true.samples.shape[1],
        overwrite=True,
    )


def _remove_other_pictures(out: Path, clips: Sequence[GalleryClip]) -> None:
    """Remove the pictures of clips that an earlier gallery had and this one has not."""
    for clip in GALLERY:
        if clip not in clips:
            for stage in STAGES:
                (out / picture_name(clip, stage)).unlink(missing_ok=True)
