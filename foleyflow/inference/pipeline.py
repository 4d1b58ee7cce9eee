"""Generates the sound of a silent video. This file contains the complete data flow:

    frames --encoder--> features --aligner--> conditions and cues
    conditions and cues --flow--> latents --codec--> sound

All stages process streams or keep their results in temporary files, so memory hardly grows with the
length of the video. Frames are decoded and encoded in two background threads while the caller's
thread aligns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike

from foleyflow import pretrained
from foleyflow.alignment.model import Alignment
from foleyflow.codec.interface import SoundCodec
from foleyflow.cues.sheet import CueSheet
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.analysis import Analysis, analyse_video
from foleyflow.inference.calibration import Calibration, read_calibration
from foleyflow.inference.candidates import Candidate, check_count, rank_candidates
from foleyflow.inference.generation import Settings, generate_results
from foleyflow.inference.given_frames import GivenFrames, Times, given_video
from foleyflow.inference.result import Generated
from foleyflow.inference.sensitivity import DEFAULT_SENSITIVITY, check_sensitivity
from foleyflow.inference.spotting import Spotting, spot_cues
from foleyflow.inference.windows import WindowPlan, trained_plan
from foleyflow.library import SoundLibrary
from foleyflow.media import MediaInfo, probe
from foleyflow.parallel.threads import choose_threads
from foleyflow.system.device import pick_device
from foleyflow.system.stopwatch import Stopwatch

DEFAULT_LUFS = -23.0

logger = logging.getLogger(__name__)


class FoleyFlow:
    """A codec, an aligner and a flow that were trained together."""

    def __init__(
        self,
        codec: SoundCodec,
        aligner: Alignment,
        flow: FlowTransformer,
        *,
        name: str,
        plan: WindowPlan | None = None,
        path: str = "linear",
        calibration: Calibration | None = None,
        threads: int | None = None,
    ) -> None:
        """Takes networks in eval mode, all on one device.

        Args:
            name: of the model, for reports and error messages.
            plan: windows that the flow was trained on; None for those of the embedded model.
            path: probability path that the flow was trained with.
            calibration: of the aligner; None uses its onset probabilities unchanged.
            threads: torch threads per operation in `generate`; None or 0 chooses by the size of
                the networks. The number changes how sums are rounded.

        Raises:
            ConfigError: the networks don't fit each other, or `threads` is negative.
        """
        pretrained.check_compatible(codec, aligner, flow, name)
        self.codec, self.aligner, self.flow = codec, aligner, flow
        self.name, self.plan, self.path = name, plan or WindowPlan(), path
        self.calibration = calibration or Calibration()
        self.threads = choose_threads(threads, (codec, aligner, flow))

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        device: str = "auto",
        weights_dir: str | Path | None = None,
        threads: int | None = None,
    ) -> FoleyFlow:
        """Loads a model.

        Args:
            source: a model folder; None or "embedded" for the model that ships with foleyflow.
            device: "auto", "cpu", "cuda" or "cuda:N".
            weights_dir: folder with the weights of the published video encoder, if the model uses
                one; None for ~/.cache/foleyflow/encoders.
            threads: torch threads per operation; None or 0 chooses by the size of the model.

        Raises:
            CheckpointError: weights or their calibration are missing, damaged or of another model.
            ConfigError: the device can't be used.
        """
        folder = pretrained.model_folder(source)
        torch_device = pick_device(device)
        encoders = None if weights_dir is None else Path(weights_dir)
        aligner = pretrained.load_aligner_with_encoder(folder, encoders)
        if isinstance(aligner.encoder, MotionEncoder):
            aligner.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(
            pretrained.load_codec(folder).to(torch_device),
            aligner.to(torch_device),
            pretrained.load_flow(folder).to(torch_device),
            name=str(source or "embedded"),
            plan=trained_plan(folder),
            path=pretrained.trained_path(folder),
            calibration=read_calibration(folder),
            threads=threads,
        )

    @property
    def materials(self) -> tuple[str, ...]:
        """The names that cues and `generate` accept as materials; none without cue tracks."""
        return self.flow.config.cue_materials

    def spot(
        self,
        video: str | Path | MediaInfo | None = None,
        *,
        frames: ArrayLike | Iterable[tuple[float, Any]] | None = None,
        rate_hz: float | Fraction | None = None,
        times_s: Times | None = None,
        sensitivity: float = DEFAULT_SENSITIVITY,
        progress: Callable[[float], None] | None = None,
    ) -> CueSheet:
        """Finds the cues of a video; uncertain ones are disabled.

        Args:
            video: any file that PyAV can decode, or its `probe` result.
            frames, rate_hz, times_s: frames in place of a video, see `generate`.
            sensitivity: above 0 and below 1; higher values enable more uncertain cues.
            progress: called with the seconds of video processed.

        Raises:
            MediaError: the video or the frames can't be used.
            ConfigError: the sensitivity is out of range, or the frames have no valid times.
        """
        check_sensitivity(sensitivity)
        clip = given_video(video, frames, rate_hz, times_s)
        if isinstance(clip, GivenFrames):
            analysis, warnings = self.analyse_frames(clip, Stopwatch(), progress)
            name = clip.info.path
        else:
            info = clip if isinstance(clip, MediaInfo) else probe(clip)
            analysis, warnings = self.analyse(info, Stopwatch(), progress)
            name = info.path
        spotting = self.spot_in(analysis, sensitivity)
        for text in (*warnings, *spotting.warnings):
            logger.warning("%s: %s", name, text)
        return spotting.cues

    def generate(
        self,
        video: str | Path | MediaInfo | None = None,
        *,
        frames: ArrayLike | Iterable[tuple[float, Any]] | None = None,
        rate_hz: float | Fraction | None = None,
        times_s: Times | None = None,
        cues: CueSheet | None = None,
        seed: int = 0,
        steps: int = 1,
        guidance: float | None = None,
        material: str | None = None,
        sensitivity: float = DEFAULT_SENSITIVITY,
        loudness_lufs: float | None = DEFAULT_LUFS,
        library: SoundLibrary | str | Path | None = None,
        library_variation: bool = True,
        reference: str | Path | None = None,
        stereo: bool = False,
        progress: Callable[[float], None] | None = None,
        on_generated: Callable[[float], None] | None = None,
    ) -> Generated:
        """Generates the sound of a video; nothing is written before `Generated.save`.

        Args:
            video: any file that PyAV can decode, or its `probe` result.
            frames: in place of a video: RGB pictures (T, H, W, 3), uint8 or float 0..1, as a NumPy
                array, a torch tensor or a list; or an iterator of (time_s, picture) for long clips,
                which is read in another thread. At least two frames.
            rate_hz: frames per second; the sound is as long as T / rate_hz, to the sample.
            times_s: times of the frames instead of a rate. The clip begins with the first frame,
                and the last one is shown as long as the one before it, also of an iterator.
            cues: what sounds; None finds the cues in the video (see `spot`). A model whose flow
                has no cue tracks generates from the video alone: it takes none, and has none in
                its result.
            seed: the same seed gives the same samples on the same device in the same precision.
            steps: number of function evaluations of the flow per window.
            guidance: scale of classifier-free guidance, 1 to about 4; None for the model's default.
            material: of all struck objects, one of `materials`; None for those of the cues.
            sensitivity: of finding cues, above 0 and below 1.
            loudness_lufs: target integrated loudness, or None to keep the generated level.
            library: recorded sounds, or their folder, for the enabled cues of its materials; the
                model generates the others.
            library_variation: vary choice, pitch and gain of the recorded sounds a little.
            reference: sound file with a hit whose timbre all cues follow, instead of their
                attributes except for `material`; not with a library.
            stereo: pan each cue to its `pan`, or to where something moves in the picture.
            progress: called with the seconds of video processed.
            on_generated: called with the seconds of sound generated after that.

        Raises:
            MediaError: the video or the frames can't be used.
            ConfigError: a setting is out of range, the frames have no valid times, a material of
                the cues is unknown, or the model takes no cues.
            DataError: the library has no usable sound or one of its files changed, or the reference
                is silent.
        """
        settings = Settings(
            cues=cues,
            steps=steps,
            guidance=guidance,
            material=material,
            sensitivity=sensitivity,
            loudness_lufs=loudness_lufs,
            library=library,
            library_variation=library_variation,
            reference=reference,
            stereo=stereo,
            on_generated=on_generated,
        )
        clip = given_video(video, frames, rate_hz, times_s)
        return next(generate_results(self, clip, [seed], settings, progress=progress))

    def candidates(
        self,
        video: str | Path | MediaInfo,
        *,
        count: int = 4,
        cues: CueSheet | None = None,
        seed: int = 0,
        steps: int = 1,
        guidance: float | None = None,
        material: str | None = None,
        sensitivity: float = DEFAULT_SENSITIVITY,
        loudness_lufs: float | None = DEFAULT_LUFS,
        library: SoundLibrary | str | Path | None = None,
        library_variation: bool = True,
        reference: str | Path | None = None,
        stereo: bool = False,
        progress: Callable[[float], None] | None = None,
        on_generated: Callable[[float], None] | None = None,
    ) -> list[Candidate]:
        """Generates several takes of a video, and returns them with the best one first.

        The video is analysed once. See `candidates.rank_candidates` for the order. Other arguments
        and errors are those of `generate`.

        Args:
            video: see `generate`.
            count: of takes, 1 to 32.
            seed: of the first take; the others have `seed + 1`, `seed + 2` and so on.

        Raises:
            ConfigError: the count is out of range.
        """
        check_count(count)
        info = video if isinstance(video, MediaInfo) else probe(video)
        settings = Settings(
            cues=cues,
            steps=steps,
            guidance=guidance,
            material=material,
            sensitivity=sensitivity,
            loudness_lufs=loudness_lufs,
            library=library,
            library_variation=library_variation,
            reference=reference,
            stereo=stereo,
            on_generated=on_generated,
        )
        seeds = range(seed, seed + count)
        takes = generate_results(self, info, seeds, settings, progress=progress)
        return rank_candidates(list(takes), info)

    def analyse(
        self, info: MediaInfo, stopwatch: Stopwatch, progress: Callable[[float], None] | None
    ) -> tuple[Analysis, list[str]]:
        """See `analysis.analyse_video`."""
        return analyse_video(
            self.aligner, info, self.plan, stopwatch, threads=self.threads, progress=progress
        )

    def analyse_frames(
        self, frames: GivenFrames, stopwatch: Stopwatch, progress: Callable[[float], None] | None
    ) -> tuple[Analysis, list[str]]:
        """`analyse` for frames in memory, or from an iterator."""
        return analyse_video(
            self.aligner, frames, self.plan, stopwatch, threads=self.threads, progress=progress
        )

    def spot_in(self, analysis: Analysis, sensitivity: float) -> Spotting:
        """See `spotting.spot_cues`."""
        return spot_cues(
            analysis,
            materials=self.materials,
            calibration=self.calibration,
            sensitivity=sensitivity,
        )
