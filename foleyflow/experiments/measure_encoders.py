"""Measure published encoders at full size, with random weights, through both stages.

No network access is needed: a weight file with random values is written for each encoder and
loaded like a published one. The features of a video encoder pass through VAMA and one step of
GVAF; the features of a sound encoder are the target of a training step of VAMA, with gradients.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from foleyflow.alignment.targets import StoredTeacher
from foleyflow.data.windows import ClipArrays, WindowSource
from foleyflow.encoders.catalogue import SOUND_ENCODERS, VIDEO_ENCODERS, load_encoder
from foleyflow.encoders.frozen import TOKENS
from foleyflow.errors import ConfigError, FoleyflowError
from foleyflow.experiments.machine import in_new_process, machine, peak_rss_mb
from foleyflow.features.encoder_features import resample_to_segments
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer
from foleyflow.recipes import recipe_named
from foleyflow.training.tasks.alignment import AlignTask

SEGMENTS, SEGMENT_S, BANDS = 40, 0.16, 8  # 6.4 s
FRAME_RATE_HZ, SOUND_RATE_HZ = 8, 16_000
LATENTS_PER_SEGMENT = 8


def measure_encoders(
    names: Sequence[str],
    *,
    frames: int,
    on_result: Callable[[dict[str, Any]], None] = lambda result: None,
) -> list[dict[str, Any]]:
    """Seconds and peak memory of encoders, each in a separate process.

    Args:
        names: of the encoders; all if empty.
        frames: number of frames of 640 x 360 pixels, for a video encoder.

    Raises:
        ConfigError: an unknown name.
        FoleyflowError: an encoder can't be created, or its result is not finite.
    """
    known = [*VIDEO_ENCODERS, *SOUND_ENCODERS]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"encoder {unknown[0]!r}: expected one of {', '.join(known)}")
    results = []
    for name in names or known:
        results.append(in_new_process(measure_encoder, name, frames))
        on_result(results[-1])
    return results


@torch.no_grad()
def measure_encoder(name: str, frames: int) -> dict[str, Any]:
    """Create, store, load and run one encoder."""
    encoder: Any = (VIDEO_ENCODERS | SOUND_ENCODERS)[name]  # of a video or of a sound
    # A weight file as published
    with tempfile.TemporaryDirectory() as folder:
        trunk = encoder.trunk()
        path = Path(folder) / f"{Path(encoder.file.name).stem}.safetensors"
        save_file({key: value.contiguous() for key, value in trunk.state_dict().items()}, path)
        parameters = sum(p.numel() for p in trunk.parameters())
        file_mb = path.stat().st_size / 1e6
        del trunk
        frozen = load_encoder(encoder, Path(folder))
    # Encoder and both stages
    began_s = time.perf_counter()
    if encoder.kind == "video":
        pixels = torch.randint(0, 256, (frames, 3, 360, 640), dtype=torch.uint8)
        features = frozen(frozen.resize_and_crop(pixels))
        took_s = time.perf_counter() - began_s
        result = _latents(name, features)
    else:
        grid = frozen(0.1 * torch.randn(round(SEGMENTS * SEGMENT_S * SOUND_RATE_HZ)))
        took_s = time.perf_counter() - began_s
        features = resample_to_segments(
            grid, frozen, segments=SEGMENTS, segment_s=SEGMENT_S, bands=BANDS
        )
        result = _training_loss(name, features)
    if not result.isfinite().all():
        raise FoleyflowError(f"encoder {name}: the result has values that are not finite")
    return {
        "encoder": name,
        "parameters": parameters,
        "file_mb": round(file_mb),
        "features": list(features.shape),
        "forward_s": round(took_s, 2),
        "frames": frames if encoder.kind == "video" else None,
        "machine": machine(),
        "peak_gb": round(peak_rss_mb() / 1024, 2),
    }


def _latents(name: str, features: Tensor) -> Tensor:
    """Features of frames through VAMA (the recipe `published`) and one step of GVAF."""
    recipe = replace(recipe_named("align", "published"), video=name, student="own")
    aligner = recipe.random_aligner().eval()
    times_s = torch.arange(len(features))[None] / FRAME_RATE_HZ
    encoded = aligner.encode_video(features[None])
    guide = aligner.flow_condition(encoded, times_s, segments=SEGMENTS)
    config = FlowConfig(condition_width=recipe.model.width, latents_per_segment=LATENTS_PER_SEGMENT)
    flow = FlowTransformer(config).eval()
    count = LATENTS_PER_SEGMENT * SEGMENTS
    noise = torch.randn(1, count, config.channels)
    condition = Condition(
        video=guide.video,
        states=guide.states,
        cues=torch.zeros(1, count, 0),
        has_video=torch.ones(1, dtype=torch.bool),
        context=torch.zeros_like(noise),
        known=torch.zeros(1, count, dtype=torch.bool),
    )
    return sample(flow, condition, noise, steps=1, guidance=1.0)


@torch.enable_grad()
def _training_loss(name: str, features: Tensor) -> Tensor:
    """The loss of a VAMA step (the recipe `published`) with features of a sound as the target.

    Gradients are computed too. The features of the video are random.
    """
    recipe = replace(recipe_named("align", "published"), sound=name, student="own")
    aligner = recipe.random_aligner()
    rng = np.random.default_rng(0)
    frames = round(SEGMENTS * SEGMENT_S * FRAME_RATE_HZ)
    video = rng.standard_normal((frames, TOKENS, VIDEO_ENCODERS[recipe.video].width))
    samples = round(SEGMENTS * SEGMENT_S * recipe.sound_rate_hz)
    clips = ClipArrays(
        frames=video.astype(np.float16),
        times_s=np.arange(frames) / FRAME_RATE_HZ,
        offsets=np.array([0, frames]),
        sounds=rng.integers(-3000, 3000, (1, samples)).astype(np.int16),
        rate_hz=recipe.sound_rate_hz,
        event_times_s=[np.zeros(0)],
        materials=np.array([-1]),
    )
    windows = WindowSource(clips, features[None].numpy().astype(np.float16), recipe.windows)
    task = AlignTask(
        aligner,
        recipe.losses,
        windows=windows,
        held_out_windows=windows,
        target=StoredTeacher(features[None]),
    )
    loss, _ = task.loss("align", windows.draw(rng, 1, plain=True), 0)
    loss.backward()
    return loss.detach()
