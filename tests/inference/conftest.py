"""A small untrained aligner and flow."""

from __future__ import annotations

import pytest
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.flow.transformer import FlowConfig, FlowTransformer

FRAME_SIZE = 16


@pytest.fixture(scope="module")
def aligner():
    torch.manual_seed(0)
    encoder = MotionEncoder(MotionEncoderConfig(size=FRAME_SIZE, widths=(4, 4, 8), dim=16))
    config = AlignmentConfig(
        width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, materials=2
    )
    return Alignment(config, encoder=encoder).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(1)
    config = FlowConfig(
        width=16, layers=1, heads=2, condition_width=16, material_names=("wood", "metal")
    )
    network = FlowTransformer(config).eval().requires_grad_(False)
    for value in network.parameters():
        if float(value.abs().max()) == 0:
            value.normal_(std=0.2)
    network.latent_mean.normal_()
    network.latent_deviation.uniform_(0.5, 2.0)
    network.record_training_(guidance=True)
    return network
