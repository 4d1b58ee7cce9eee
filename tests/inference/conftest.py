"""A small untrained aligner, and flows with random weights."""

from __future__ import annotations

import pytest
import torch
from support.films import SIZE
from support.flow_networks import random_flow

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.flow.transformer import FlowConfig, FlowTransformer

MATERIALS = ("wood", "metal")
SHAPE = {"channels": 48, "width": 16, "layers": 1, "heads": 2, "condition_width": 16}


@pytest.fixture(scope="module")
def aligner():
    torch.manual_seed(0)
    encoder = MotionEncoder(MotionEncoderConfig(size=SIZE, widths=(4, 4, 8), dim=16))
    config = AlignmentConfig(
        width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, materials=2
    )
    return Alignment(config, encoder=encoder).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def flow():
    """A flow that takes the video alone."""
    return with_statistics(FlowConfig(**SHAPE))


@pytest.fixture(scope="module")
def cue_flow():
    """A flow that takes all fields of cues."""
    return with_statistics(FlowConfig(**SHAPE, cue_materials=MATERIALS))


@pytest.fixture(params=["flow", "cue_flow"])
def any_flow(request):
    """Both kinds of flow."""
    return request.getfixturevalue(request.param)


def with_statistics(config: FlowConfig) -> FlowTransformer:
    network = random_flow(config, deviation=0.2)
    network.latent_mean.normal_()
    network.latent_deviation.uniform_(0.5, 2.0)
    return network
