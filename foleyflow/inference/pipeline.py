"""Generates the sound of a silent video. This file contains the complete data flow:

    frames --encoder--> features --aligner--> conditions --flow--> latents --codec--> sound

All stages process streams, so memory does not grow with the length of the video. Frames are decoded
and encoded in two background threads while the caller's thread aligns, generates and decodes
latents.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from foleyflow import pretrained
from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_at
from foleyflow.codec.autoencoder import Codec
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import ConfigError
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.event_extraction import audible_events
from foleyflow.inference.latent_generation import generate_latents
from foleyflow.inference.material_choice import guess_material, material_label
from foleyflow.inference.result import Generated
from foleyflow.inference.sound_spool import decode_chunks
from foleyflow.inference.video_frames import frames_for_encoder
from foleyflow.inference.windows import WindowPlan, trained_plan
from foleyflow.media import MediaInfo, probe
from foleyflow.parallel.precision import precision_on
from foleyflow.parallel.threads import choose_threads, torch_threads
from foleyflow.system.device import pick_device
from foleyflow.system.stopwatch import Stopwatch

DEFAULT_LUFS = -23.0
DEFAULT_GUIDANCE = 2.5  # better than 1 on simulated and real clips, see docs/results.md


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
        threads: int | None = None,
    ) -> None:
        """Takes networks in eval mode, all on one device.

        Args:
            name: of the model, for reports and error messages.
            plan: windows that the flow was trained on; None for those of the embedded model.
            path: probability path that the flow was trained with.
            threads: torch threads per operation in `generate`; None or 0 chooses by the size of
                the networks. The number changes how sums are rounded.

        Raises:
            ConfigError: the networks don't fit each other, or `threads` is negative.
        """
        pretrained.check_compatible(codec, aligner, flow, name)
        self.codec, self.aligner, self.flow = codec, aligner, flow
        self.name, self.plan, self.path = name, plan or WindowPlan(), path
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
            CheckpointError: weights are missing, damaged or of another model.
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
            threads=threads,
        )

    @property
    def materials(self) -> tuple[str, ...]:
        """The names that `generate` accepts as `material`."""
        return self.flow.config.material_names

    def generate(
        self,
        video: str | Path | MediaInfo,
        *,
        seed: int = 0,
        steps: int = 1,
        guidance: float = DEFAULT_GUIDANCE,
        material: str | None = None,
        loudness_lufs: float | None = DEFAULT_LUFS,
        progress: Callable[[float], None] | None = None,
    ) -> Generated:
        """Generates the sound of a video; nothing is written before `Generated.save`.

        Args:
            video: any file that PyAV can decode, or its `probe` result.
            seed: the same seed gives the same samples on the same device in the same precision.
            steps: number of function evaluations of the flow per window.
            guidance: scale of classifier-free guidance, 1 to about 4.
            material: of the struck objects, one of `materials`; None chooses it from the video.
            loudness_lufs: target integrated loudness, or None to keep the generated level.
            progress: called with the seconds of video processed.

        Raises:
            MediaError: the video can't be used.
            ConfigError: a setting is out of range.
        """
        label = material_label(material, self.materials)
        if steps < 1 or not 1.0 <= guidance <= 20.0 or seed < 0:
            raise ConfigError(
                f"seed={seed}, steps={steps}, guidance={guidance}: expected seed >= 0, "
                "steps >= 1, guidance from 1 to 20",
                hint=f"the defaults are seed=0, steps=1, guidance={DEFAULT_GUIDANCE:g}",
            )
        start_s, stopwatch = time.perf_counter(), Stopwatch()
        info = video if isinstance(video, MediaInfo) else probe(video)
        # Frames to features to latents, window by window
        frames = frames_for_encoder(info, self.aligner)
        chunks = generate_latents(
            self.aligner,
            self.flow,
            frames,
            duration_s=info.duration_s,
            seed=seed,
            steps=steps,
            guidance=guidance,
            material=label,
            guess_material=material is None and bool(self.materials),
            plan=self.plan,
            path=self.path,
            stopwatch=stopwatch,
            on_window=progress,
        )
        # Latents to sound; closing `chunks` ends its threads, also after an error
        with torch_threads(self.threads), closing(chunks):
            spool, findings = decode_chunks(self.codec, chunks, stopwatch)
        gain, config = spool.gain(loudness_lufs), self.codec.config
        stopwatch.seconds["total"] = time.perf_counter() - start_s
        return Generated(
            info=info,
            sample_rate_hz=config.rate_hz,
            sample_count=max(1, count_at(info.duration_s, config.rate_hz)),
            events=audible_events(
                findings.events_s,
                spool.levels,
                rate_hz=config.latent_rate_hz,
                duration_s=info.duration_s,
            ),
            material_guess=guess_material(findings.materials, self.materials),
            settings={
                "model": self.name,
                "seed": seed,
                "steps": steps,
                "guidance": guidance,
                "material": material or "auto",
                "loudness_lufs": loudness_lufs,
                "precision": precision_on(next(self.aligner.parameters()).device),
                "threads": self.threads,
            },
            timings_s=stopwatch.seconds,
            warnings=[*info.warnings, *frames.counts.warnings()],
            _spool=spool,
            _gain=gain,
        )
