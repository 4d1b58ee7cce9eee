"""Training runs for one process, and for two processes that a test starts with torchrun.

torchrun --nproc-per-node 2 shared_training.py FOLDER

FOLDER contains checkpoints of single processes, which the two processes resume.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.waveform_network import WaveformCodecConfig
from foleyflow.data.joining import join_windows
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError, TrainingError
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.recipes.general_codec import SMOKE_DISCRIMINATORS
from foleyflow.training.loop import train
from foleyflow.training.processes import SINGLE_PROCESS, Processes, join_processes
from foleyflow.training.task import Task, TrainConfig
from foleyflow.training.tasks.adversarial_codec import AdversarialCodecTask, AdversarialConfig
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask
from foleyflow.training.tasks.codec import CodecLossConfig
from foleyflow.training.tasks.flow import FlowStageConfig, FlowTask
from foleyflow.training.tasks.flow_batches import ContextConfig, FlowData

CONFIG = TrainConfig(
    steps=6,
    batch_clips=8,
    learning_rate=3e-3,
    warmup_steps=2,
    decay_fraction=0.0,  # so that a run of three steps is the start of a run of six
    bf16=False,
    log_every=1,
    validate_every=6,
    save_every=3,
)
CPU = torch.device("cpu")


def align_task(*, contrasts: bool = True, **losses: object) -> AlignTask:
    """Clips of noise at several frame rates, with random masks, missing labels and contrast."""
    rng = np.random.default_rng(0)
    counts = [30, 24, 30, 18, 36, 30, 24, 12, 30, 30]
    clips = ClipArrays(
        frames=rng.integers(0, 256, (sum(counts), 32, 32, 3)).astype(np.uint8),
        times_s=np.concatenate([np.arange(n) * 1.2 / n for n in counts]),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        sounds=rng.integers(-9000, 9000, (len(counts), 57_600)).astype(np.int16),
        rate_hz=48_000,
        event_times_s=[np.array([0.3 + 0.05 * clip]) for clip in range(len(counts))],
        materials=np.array([0, 1, 2, -1, 8, -1, -1, 3, 4, -1]),
    )
    latents = rng.normal(size=(len(counts), 60, 8)).astype(np.float16)
    source = WindowSource(clips, latents, WindowConfig(segments=10))
    torch.manual_seed(0)
    model = Alignment(
        AlignmentConfig(
            width=16,
            heads=2,
            video_layers=1,
            audio_layers=1,
            decoder_layers=1,
            latent_channels=8,
            contrast_width=8 if contrasts else 0,
        ),
        encoder=MotionEncoder(MotionEncoderConfig(size=32, widths=(4, 4, 8), dim=16)),
    )
    contrast = 0.1 if contrasts else 0.0
    settings = AlignLossConfig(material=0.1, contrast=contrast, stretches=contrast, **losses)
    return AlignTask(model, settings, windows=source, held_out_windows=source)


def joined_align_task() -> AlignTask:
    """The clips of `align_task` twice, with different probabilities."""
    task = align_task(contrasts=False)
    probabilities = np.concatenate([np.full(10, 0.07), np.arange(10) / 150])
    task.windows = join_windows([task.windows, task.windows], probabilities)
    return task


def flow_task(
    *, broken: bool = False, probabilities: np.ndarray | None = None, **stages: int
) -> FlowTask:
    """Windows of noise with flow matching, the one-step map and, if wanted, the polish."""
    rng = np.random.default_rng(0)
    rows, frames = 12, 40
    video = rng.normal(size=(rows, frames, 16)).astype(np.float16)
    if broken:
        video[-1, 3, 3] = np.nan  # windows are sampled in order: it is always in the last process
    windows = ConditionWindows(
        video=video,
        states=rng.normal(size=(rows, frames // 4, 16)).astype(np.float16),
        latents=rng.normal(size=(rows, frames, 6)).astype(np.float16),
        clip=100 + np.arange(rows),
        start_s=np.zeros(rows),
    )
    torch.manual_seed(0)
    network = FlowTransformer(
        FlowConfig(channels=6, width=16, layers=2, heads=2, condition_width=16)
    )
    return FlowTask(
        network,
        ObjectiveConfig(interval_share=0.9),
        FlowStageConfig(**{"dcf_steps": 3, **stages}),
        steps=CONFIG.steps,
        data=FlowData(windows=windows, probabilities=probabilities),
        validation_data=FlowData(windows=windows),
        context=ContextConfig(shortest_context=4, longest_context=12),
    )


def adversarial_codec_task() -> AdversarialCodecTask:
    """A codec on samples of noise, whose discriminators start at the third step."""
    sounds = np.random.default_rng(0).integers(-9000, 9000, (12, 4800)).astype(np.int16)
    torch.manual_seed(0)
    codec = Codec(WaveformCodecConfig(strides=(4, 8), channels=4, encoder_width=4, decoder_width=4))
    return AdversarialCodecTask(
        AdversarialConfig(networks=SMOKE_DISCRIMINATORS, from_step=2),
        codec=codec,
        losses=CodecLossConfig(crop_s=0.05, fine_spectra=True),
        sounds=sounds,
        validation_sounds=sounds[:4],
    )


# name -> task and settings of its training
RUNS: dict[str, tuple[Callable[[], Task], TrainConfig]] = {
    "align": (align_task, CONFIG),
    "align, joined": (joined_align_task, CONFIG),
    "align, uneven masks": (lambda: align_task(contrasts=False, masks_per_clip=1), CONFIG),
    "flow": (flow_task, CONFIG),
    "flow, weighted": (lambda: flow_task(probabilities=np.arange(12) / 66), CONFIG),
    "flow in parts": (flow_task, replace(CONFIG, accumulate=2)),
    "codec": (adversarial_codec_task, CONFIG),
    "polish": (lambda: flow_task(dcf_steps=1, polish_steps=2), CONFIG),
}


def run(name: str, folder: Path, processes: Processes = SINGLE_PROCESS, **settings: object) -> None:
    """Starts or resumes one of the runs."""
    make, config = RUNS[name]
    train(make(), replace(config, **settings), folder=folder, device=CPU, processes=processes)


def main(folder: Path) -> None:
    """All runs in two processes; their error messages go to `messages-RANK.json`."""
    messages: dict[str, str] = {}
    with join_processes(CPU) as (processes, device):
        torch.set_num_threads(1)
        for name in RUNS:
            run(name, folder / name, processes)
        run("flow", folder / "sharded", processes, shard=True)
        run("align, uneven masks", folder / "align, sharded", processes, shard=True)
        run("flow", folder / "from one", processes)
        run("flow", folder / "from one, sharded", processes, shard=True)
        for part in ("for one", "sharded, for one"):
            run("flow", folder / part, processes, steps=3, shard=part.startswith("sharded"))
        try:
            train(
                flow_task(broken=True),
                replace(CONFIG, steps=60, save_every=1),
                folder=folder / "broken",
                device=device,
                processes=processes,
            )
        except TrainingError as error:
            messages["broken"] = str(error)
        refused = (
            ("batch", "flow", {"batch_clips": 7}),
            ("polish", "polish", {"shard": True}),
            ("contrast", "align", {"shard": True}),
        )
        for name, task, settings in refused:
            try:
                run(task, folder / "refused", processes, **settings)
            except ConfigError as error:
                messages[name] = str(error)
        (folder / f"messages-{processes.rank}.json").write_text(json.dumps(messages))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
