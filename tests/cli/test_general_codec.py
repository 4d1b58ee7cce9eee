"""Models whose codec works on samples or mel spectra, on the command line."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from support.cli_model import make_model, run_cli

from foleyflow import FoleyFlow
from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.mel_network import MelCodecConfig
from foleyflow.codec.waveform_network import WaveformCodecConfig
from foleyflow.media.waveform import read_waveform
from foleyflow.pretrained import load_codec_config
from foleyflow.weights import save_component

SMALL = {
    "waveform": lambda channels: WaveformCodecConfig(
        channels=channels, encoder_width=2, decoder_width=2
    ),
    "mel": lambda channels: MelCodecConfig(
        channels=channels, bands=20, width=16, blocks=2, vocoder_width=2
    ),
}


@pytest.fixture(params=SMALL)
def other_model(request, tmp_path):
    """The small model with a random codec of another architecture."""
    folder = make_model(tmp_path / "model")
    config = SMALL[request.param](load_codec_config(folder).channels)
    torch.manual_seed(0)
    codec = Codec(config)
    with torch.no_grad():
        for name, parameter in codec.decoder.named_parameters():
            if "original0" in name:
                parameter *= 4.0  # initial weights give nearly silent sounds
    save_component(folder, "codec", module=codec, config=asdict(config), provenance={})
    return folder


def test_generated_sound_is_as_long_as_the_video_and_repeatable(other_model, clip_file, tmp_path):
    sounds = []
    for name in ("one.wav", "two.wav"):
        command = ["generate", clip_file, "--model", other_model, "--audio-only", "--seed", "3"]
        outcome = run_cli(*command, "-o", tmp_path / name)
        assert outcome.status == 0, outcome.stderr
        sounds.append(read_waveform(tmp_path / name))
    one, two = (sound.samples for sound in sounds)
    assert sounds[0].rate_hz == 48_000 and one.shape[1] == 76_800  # 1.6 s
    assert np.array_equal(one, two)


def test_a_stretch_is_generated_again_and_the_rest_is_kept(other_model, clip_file):
    model = FoleyFlow.from_pretrained(other_model, device="cpu")
    first = model.generate(clip_file, seed=0, loudness_lufs=None)
    again = first.regenerate(0.4, 0.8, seed=1)
    changed = np.flatnonzero(again.waveform != first.waveform)
    assert len(changed) and changed.min() >= 19_200 and changed.max() < 38_400
