"""Fixtures of the tests of adaptations: a folder of recordings, and a tiny model."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.media_files import Sound, make_video
from support.small_vggsound import FRAME_RATE, RATE_HZ, hits, painter

from foleyflow.pretrained import load_aligner
from foleyflow.weights import add_components, read_record, save_component

SECONDS = 9.0


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    """Four recordings of hits with their sound, and three videos that can't be learned from."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "kitchen").mkdir()
    for number in range(4):
        write_recording(folder / "kitchen" / f"take{number}.mp4", number)
    write_recording(folder / "short.mp4", 7, seconds=2.0)
    write_recording(folder / "silent.mp4", 8, level=0.0)
    make_video(folder / "mute.mp4", rate=FRAME_RATE, n_frames=100)
    return folder


def write_recording(path: Path, seed: int, *, seconds: float = SECONDS, level: float = 1.0) -> None:
    """A bar that jumps at hits, which sound."""
    hits_s = 0.4 + np.cumsum(np.random.default_rng(seed).uniform(0.35, 0.7, 40))
    hits_s = hits_s[hits_s < seconds - 0.3]
    count = round(seconds * FRAME_RATE)
    make_video(
        path,
        rate=FRAME_RATE,
        n_frames=count,
        painter=painter(seed, np.arange(count) / FRAME_RATE, hits_s=hits_s),
        sound=Sound(samples=(level * hits(hits_s, seconds)).astype(np.float32), rate_hz=RATE_HZ),
    )


@pytest.fixture(scope="session")
def blind_model(smoke_model, tmp_path_factory) -> Path:
    """A tiny model that finds no event, and whose flow was trained without video too."""
    folder = shutil.copytree(smoke_model, tmp_path_factory.mktemp("blind") / "model")
    record, aligner = read_record(folder, "align"), load_aligner(folder)
    with torch.no_grad():
        aligner.onset_head.bias.fill_(-30.0)
    save_component(
        folder, "align", module=aligner, config=record.config, provenance=record.provenance
    )
    flow = read_record(folder, "flow")
    settings = flow.provenance["settings"]
    stages = {**settings["stages"], "no_video_fraction": 0.2}
    provenance = {**flow.provenance, "settings": {**settings, "stages": stages}}
    changed = dataclasses.replace(flow, provenance=provenance)
    add_components(folder, {"flow": vars(changed)})
    return folder
