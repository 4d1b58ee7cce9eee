"""Every published encoder at full size, from a file of random weights, through both stages.

No network is reached: the file of each encoder is made here, loaded strictly as a published one
would be. What a video encoder gives of 224 x 224 frames goes through VAMA and one step of GVAF;
what a sound encoder gives is recovered in a step of VAMA, gradients included. Says the seconds
and the peak memory of each; each encoder runs in a process of its own.

    python scripts/measure_encoders.py [--out encoders.json] [--frames 8] [NAME ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
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
from foleyflow.experiments.benchmark import machine
from foleyflow.features.encoder_features import at_segments
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer
from foleyflow.recipes import recipe_named
from foleyflow.training.tasks.alignment import AlignTask

SEGMENTS, SEGMENT_S, BANDS = 40, 0.16, 8  # 6.4 s


def main() -> None:
    """Measures the encoders named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.names[0], frames=options.frames)))
        return
    found = []
    for name in options.names or [*VIDEO_ENCODERS, *SOUND_ENCODERS]:
        command = [sys.executable, __file__, "--alone", name, "--frames", str(options.frames)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(found[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def measure(name: str, *, frames: int) -> dict[str, Any]:
    """One encoder: made, stored, loaded, run."""
    declare_torchvision()
    encoder = (VIDEO_ENCODERS | SOUND_ENCODERS)[name]
    with tempfile.TemporaryDirectory() as folder:
        trunk = encoder.trunk()
        path = Path(folder) / f"{Path(encoder.file.name).stem}.safetensors"
        save_file({key: value.contiguous() for key, value in trunk.state_dict().items()}, path)
        parameters = sum(p.numel() for p in trunk.parameters())
        file_mb = path.stat().st_size / 1e6
        del trunk
        frozen = load_encoder(encoder, Path(folder))
    began_s = time.perf_counter()
    if encoder.kind == "video":
        pixels = torch.randint(0, 256, (frames, 3, 360, 640), dtype=torch.uint8)
        features = frozen(frozen.squares(pixels))
        took_s = time.perf_counter() - began_s
        latents = through_both_stages(name, features)
    else:
        sound = 0.1 * torch.randn(round(SEGMENTS * SEGMENT_S * 16_000))
        grid = frozen(sound)
        took_s = time.perf_counter() - began_s
        features = at_segments(grid, frozen, segments=SEGMENTS, segment_s=SEGMENT_S, bands=BANDS)
        latents = as_teacher(name, features)
    if not latents.isfinite().all():
        raise SystemExit(f"{name}: not finite")
    return {
        "encoder": name,
        "parameters": parameters,
        "file_mb": round(file_mb),
        "features": list(features.shape),
        "forward_s": round(took_s, 2),
        "frames": frames if encoder.kind == "video" else None,
        "machine": machine(),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def through_both_stages(name: str, features: Tensor) -> Tensor:
    """Features of frames through VAMA (the recipe `published`) and one step of GVAF."""
    recipe = dataclasses.replace(recipe_named("align", "published"), video=name, student="own")
    aligner = recipe.random_aligner().eval()
    times_s = torch.arange(len(features))[None] / 8.0
    watched = aligner.watch(features[None], times_s)
    guidance = aligner.guide(watched, times_s, segments=SEGMENTS)
    config = FlowConfig(guide_width=recipe.model.width, latents_per_segment=8)
    flow = FlowTransformer(config).eval()
    noise = torch.randn(1, 8 * SEGMENTS, config.channels)
    condition = Condition(
        video=guidance.video,
        states=guidance.states,
        events=guidance.onsets,
        material=torch.zeros(1, dtype=torch.int64),
        context=torch.zeros_like(noise),
        known=torch.zeros(1, 8 * SEGMENTS, dtype=torch.bool),
    )
    return sample(flow, condition, noise, steps=1, guidance=1.0)


@torch.enable_grad()
def as_teacher(name: str, features: Tensor) -> Tensor:
    """The loss of a VAMA step (the recipe `published`) that recovers these features of a sound.

    Its gradients are made too. The video's features are random here: `through_both_stages` has
    real ones.
    """
    recipe = dataclasses.replace(recipe_named("align", "published"), sound=name, student="own")
    aligner = recipe.random_aligner()
    rng = np.random.default_rng(0)
    frames = round(SEGMENTS * SEGMENT_S * 8)
    seen = rng.standard_normal((frames, TOKENS, VIDEO_ENCODERS[recipe.video].width))
    samples = round(SEGMENTS * SEGMENT_S * recipe.sound_rate_hz)
    clips = ClipArrays(
        frames=seen.astype(np.float16),
        times_s=np.arange(frames) / 8.0,
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


def declare_torchvision() -> None:
    """timm imports torchvision; where that was built for another torch, its names do."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from torchvision_operators import declare_missing

    declare_missing()


if __name__ == "__main__":
    main()
