"""Generates the sound of a silent video. This file contains the complete data flow:

    frames --encoder--> features --aligner--> conditions and cues
    conditions and cues --flow--> latents --codec--> sound

All stages process streams or keep their results in temporary files, so memory hardly grows with the
length of the video. Frames are decoded and encoded in two background threads while the caller's
thread aligns.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from foleyflow import pretrained
from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_at
from foleyflow.codec.autoencoder import Codec
from foleyflow.cues.sheet import CueSheet
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import ConfigError
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.analysis import Analysis, analyse_video
from foleyflow.inference.calibration import Calibration, read_calibration
from foleyflow.inference.candidates import Candidate, check_count, rank_candidates
from foleyflow.inference.cue_checks import check_material, fit_to_clip, with_material
from foleyflow.inference.ranges import check_range, unused_seed
from foleyflow.inference.rendering import Sampling
from foleyflow.inference.rerendering import edit_take, regenerate_range
from foleyflow.inference.result import Edit, Generated
from foleyflow.inference.sensitivity import DEFAULT_SENSITIVITY, check_sensitivity
from foleyflow.inference.spotting import Spotting, spot_cues
from foleyflow.inference.stem_references import stem_plans
from foleyflow.inference.stems import Stem, StemKind, split_into_stems
from foleyflow.inference.takes import Take, generate_take
from foleyflow.inference.windows import WindowPlan, trained_plan
from foleyflow.media import MediaInfo, probe
from foleyflow.parallel.precision import precision_on
from foleyflow.parallel.threads import choose_threads
from foleyflow.system.device import pick_device
from foleyflow.system.stopwatch import Stopwatch

DEFAULT_LUFS = -23.0

logger = logging.getLogger(__name__)


class FoleyFlow:
    """A codec, an aligner and a flow that were trained together."""

    def __init__(
        self,
        codec: Codec,
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
        video: str | Path | MediaInfo,
        *,
        sensitivity: float = DEFAULT_SENSITIVITY,
        progress: Callable[[float], None] | None = None,
    ) -> CueSheet:
        """Finds the cues of a video; uncertain ones are disabled.

        Args:
            video: any file that PyAV can decode, or its `probe` result.
            sensitivity: above 0 and below 1; higher values enable more uncertain cues.
            progress: called with the seconds of video processed.

        Raises:
            MediaError: the video can't be used.
            ConfigError: the sensitivity is out of range.
        """
        check_sensitivity(sensitivity)
        info = video if isinstance(video, MediaInfo) else probe(video)
        analysis, warnings = self._analyse(info, Stopwatch(), progress)
        spotting = self._spot(analysis, sensitivity)
        for text in (*warnings, *spotting.warnings):
            logger.warning("%s: %s", info.path, text)
        return spotting.cues

    def generate(
        self,
        video: str | Path | MediaInfo,
        *,
        cues: CueSheet | None = None,
        seed: int = 0,
        steps: int = 1,
        guidance: float | None = None,
        material: str | None = None,
        sensitivity: float = DEFAULT_SENSITIVITY,
        loudness_lufs: float | None = DEFAULT_LUFS,
        progress: Callable[[float], None] | None = None,
    ) -> Generated:
        """Generates the sound of a video; nothing is written before `Generated.save`.

        Args:
            video: any file that PyAV can decode, or its `probe` result.
            cues: what sounds; None finds the cues in the video (see `spot`). A model whose flow
                has no cue tracks generates from the video alone: it takes none, and has none in
                its result.
            seed: the same seed gives the same samples on the same device in the same precision.
            steps: number of function evaluations of the flow per window.
            guidance: scale of classifier-free guidance, 1 to about 4; None for the model's default.
            material: of all struck objects, one of `materials`; None for those of the cues.
            sensitivity: of finding cues, above 0 and below 1.
            loudness_lufs: target integrated loudness, or None to keep the generated level.
            progress: called with the seconds of video processed.

        Raises:
            MediaError: the video can't be used.
            ConfigError: a setting is out of range, a material of the cues is unknown, or the model
                takes no cues.
        """
        takes = self._generate(
            video,
            [seed],
            cues=cues,
            steps=steps,
            guidance=guidance,
            material=material,
            sensitivity=sensitivity,
            loudness_lufs=loudness_lufs,
            progress=progress,
        )
        return next(takes)

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
        progress: Callable[[float], None] | None = None,
    ) -> list[Candidate]:
        """Generates `count` takes, 1 to 32, with the seeds `seed`, `seed + 1`, ...; best first.

        The video is analysed once. Other arguments and errors are those of `generate`; see
        `candidates.rank_candidates` for the order.
        """
        check_count(count)
        info = video if isinstance(video, MediaInfo) else probe(video)
        takes = self._generate(
            info,
            range(seed, seed + count),
            cues=cues,
            steps=steps,
            guidance=guidance,
            material=material,
            sensitivity=sensitivity,
            loudness_lufs=loudness_lufs,
            progress=progress,
        )
        return rank_candidates(list(takes), info)

    def _generate(
        self,
        video: str | Path | MediaInfo,
        seeds: Sequence[int],
        *,
        cues: CueSheet | None,
        steps: int,
        guidance: float | None,
        material: str | None,
        sensitivity: float,
        loudness_lufs: float | None,
        progress: Callable[[float], None] | None,
    ) -> Iterator[Generated]:
        """Yields a result for each seed; see `generate`."""
        # Settings, before any work
        if material is not None:
            check_material(material, self.materials)
        guidance = self.flow.config.default_guidance if guidance is None else guidance
        if steps < 1 or not 1.0 <= guidance <= 20.0 or min(seeds) < 0:
            raise ConfigError(
                f"seed={min(seeds)}, steps={steps}, guidance={guidance}: expected seed >= 0, "
                "steps >= 1, guidance from 1 to 20",
                hint="the defaults are seed=0, steps=1 and the guidance of the model",
            )
        check_sensitivity(sensitivity)
        start_s, stopwatch = time.perf_counter(), Stopwatch()
        info = video if isinstance(video, MediaInfo) else probe(video)
        if cues is not None:
            cues = fit_to_clip(cues, self.flow.config, duration_s=info.duration_s)
        # Frames to features to cues
        analysis, warnings = self._analyse(info, stopwatch, progress)
        if cues is None and not self.materials:
            cues = CueSheet(duration_s=info.duration_s)
        elif cues is None:
            spotting = self._spot(analysis, sensitivity)
            cues = spotting.cues
            warnings += spotting.warnings
        if material is not None:
            cues = with_material(cues, material)
        device = next(self.aligner.parameters()).device
        for seed in seeds:
            # Cues to latents to sound
            take = generate_take(
                self.codec,
                self.flow,
                analysis,
                cues,
                plan=self.plan,
                sampling=Sampling(seed=seed, steps=steps, guidance=guidance, path=self.path),
                loudness_lufs=loudness_lufs,
                threads=self.threads,
                stopwatch=stopwatch,
            )
            stopwatch.seconds["total"] = time.perf_counter() - start_s
            yield Generated(
                info=info,
                sample_rate_hz=self.codec.config.rate_hz,
                sample_count=max(1, count_at(info.duration_s, self.codec.config.rate_hz)),
                cues=cues,
                settings={
                    "model": self.name,
                    "seed": seed,
                    "steps": steps,
                    "guidance": guidance,
                    "material": material or "auto",
                    "loudness_lufs": loudness_lufs,
                    "device": str(device),
                    "precision": precision_on(device),
                    "threads": self.threads,
                },
                timings_s=stopwatch.seconds,
                warnings=warnings + take.warnings(),
                _take=take,
                _model=self,
            )
            start_s, stopwatch = time.perf_counter(), Stopwatch()

    def _analyse(
        self, info: MediaInfo, stopwatch: Stopwatch, progress: Callable[[float], None] | None
    ) -> tuple[Analysis, list[str]]:
        return analyse_video(
            self.aligner, info, self.plan, stopwatch, threads=self.threads, progress=progress
        )

    def _spot(self, analysis: Analysis, sensitivity: float) -> Spotting:
        return spot_cues(
            analysis,
            materials=self.materials,
            calibration=self.calibration,
            sensitivity=sensitivity,
        )

    def _rerender(self, result: Generated, cues: CueSheet) -> Generated:
        """See `Generated.rerender`."""
        start_s = time.perf_counter()
        cues = fit_to_clip(cues, self.flow.config, duration_s=result.info.duration_s)
        take = edit_take(
            self.codec,
            self.flow,
            result._take,
            result.cues,
            cues,
            plan=self.plan,
            threads=self.threads,
        )
        return self._edited(result, take, cues, Edit(cues_before=result.cues), start_s)

    def _regenerate(
        self,
        result: Generated,
        range_start_s: float,
        range_end_s: float,
        *,
        seed: int | None,
        cues: CueSheet | None,
    ) -> Generated:
        """See `Generated.regenerate`."""
        start_s = time.perf_counter()
        if cues is not None:
            cues = fit_to_clip(cues, self.flow.config, duration_s=result.info.duration_s)
        sheet = result.cues if cues is None else cues
        seed = unused_seed(result) if seed is None else seed
        stretch = check_range(result, range_start_s, range_end_s, seed=seed, cues=sheet)
        take = regenerate_range(
            self.codec,
            self.flow,
            result._take,
            sheet,
            stretch,
            seed=seed,
            plan=self.plan,
            threads=self.threads,
        )
        edit = Edit(
            cues_before=result.cues, start_s=stretch.start_s, end_s=stretch.end_s, seed=seed
        )
        return self._edited(result, take, sheet, edit, start_s)

    def _stems(self, result: Generated, by: StemKind) -> list[Stem]:
        """See `Generated.stems`."""
        take, cues, threads = result._take, result.cues, self.threads
        plans = stem_plans(
            self.codec, self.flow, take, cues, by=by, plan=self.plan, threads=threads
        )
        return split_into_stems(
            result.blocks(), plans, rate_hz=result.sample_rate_hz, sample_count=result.sample_count
        )

    def _edited(
        self, result: Generated, take: Take, cues: CueSheet, edit: Edit, start_s: float
    ) -> Generated:
        return replace(
            result,
            cues=cues,
            settings=dict(result.settings),
            timings_s={"total": time.perf_counter() - start_s},
            warnings=take.warnings(),
            edits=(*result.edits, edit),
            _take=take,
        )
