"""The precision setting, and which computations follow it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.cli_model import make_model, run_cli, run_process
from support.media_files import make_video
from torch import nn

from foleyflow.encoders.catalogue import AUDIOMAE_SOUND, CLIP_PICTURES
from foleyflow.encoders.frame_adapter import FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.frozen import FrozenSound, FrozenVideo
from foleyflow.errors import ConfigError
from foleyflow.media import read_waveform
from foleyflow.parallel import precision
from foleyflow.parallel.precision import (
    PRECISION_VARIABLE,
    bfloat16_is_fast,
    fast_autocast,
    precision_on,
    precision_set_to,
    precision_setting,
)

CPU = torch.device("cpu")


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)


def product_dtype(*, enabled: bool = True) -> torch.dtype:
    with fast_autocast(CPU, enabled=enabled):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx2"}, "fp32"),
        ({"avx2", "avx512f"}, "fp32"),
        ({"avx2", "avx512f", "avx512_bf16"}, "bf16"),
        ({"amx_bf16"}, "bf16"),
        (set(), "fp32"),
    ],
)
def test_auto_follows_the_features_of_the_processor(unset, monkeypatch, features, expected):
    monkeypatch.setattr(precision, "processor_features", lambda: frozenset(features))
    assert precision_setting() == "auto" and precision_on(CPU) == expected
    assert product_dtype() == (torch.bfloat16 if expected == "bf16" else torch.float32)


@pytest.mark.parametrize("fast", [True, False])
def test_the_setting_overrides_the_processor_but_not_the_caller(monkeypatch, fast):
    monkeypatch.setattr(precision, "bfloat16_is_fast", lambda device: fast)
    monkeypatch.setenv(PRECISION_VARIABLE, "bf16")
    assert precision_on(CPU) == "bf16"
    assert product_dtype() == torch.bfloat16
    assert product_dtype(enabled=False) == torch.float32
    monkeypatch.setenv(PRECISION_VARIABLE, "fp32")
    assert precision_on(CPU) == "fp32" and product_dtype() == torch.float32


def test_the_setting_is_restored_after_its_block(monkeypatch):
    monkeypatch.setenv(PRECISION_VARIABLE, "fp32")
    with precision_set_to("bf16"):
        assert precision_setting() == "bf16"
    assert precision_setting() == "fp32"
    monkeypatch.delenv(PRECISION_VARIABLE)
    with precision_set_to("bf16"):
        pass
    assert precision_setting() == "auto"


def test_an_unknown_setting_is_refused_with_a_list_of_known_ones(monkeypatch):
    monkeypatch.setenv(PRECISION_VARIABLE, "half")
    with pytest.raises(ConfigError, match="'half': expected auto, bf16 or fp32") as error:
        fast_autocast(CPU)
    assert PRECISION_VARIABLE in error.value.hint


@pytest.mark.parametrize("source", ["option", "variable"])
def test_every_command_refuses_an_unknown_setting(unset, monkeypatch, source):
    if source == "variable":
        monkeypatch.setenv(PRECISION_VARIABLE, "FP16")
    option = ("--precision", "FP16") if source == "option" else ()
    outcome = run_cli(*option, "generate", "missing.mp4", "--json")
    assert outcome.status == 2
    assert outcome.answer["error"] == "precision 'FP16': expected auto, bf16 or fp32"
    assert outcome.error_lines[0] == "foleyflow: precision 'FP16': expected auto, bf16 or fp32"


def test_the_option_changes_the_sound_and_is_recorded(unset, tmp_path):
    model = make_model(tmp_path / "model")
    clip = make_video(tmp_path / "clip.mp4", n_frames=25)
    sounds = {}
    for setting in ("bf16", "fp32"):
        out = tmp_path / f"{setting}.wav"
        command = ("generate", clip, "--model", model, "--audio-only", "-o", out, "--json")
        outcome = run_cli("--precision", setting, *command, "--device", "cpu")
        assert outcome.status == 0, outcome.stderr
        assert outcome.answer["precision"] == setting
        sounds[setting] = read_waveform(out).mono()
    assert np.abs(sounds["bf16"] - sounds["fp32"]).max() > 1e-5
    assert precision_setting() == "auto"  # restored after the command


def test_the_option_overrides_the_variable(monkeypatch):
    monkeypatch.setenv(PRECISION_VARIABLE, "fp32")
    outcome = run_process("--precision", "bf16", "doctor", "--json")
    details = {finding["name"]: finding["detail"] for finding in outcome.answer["findings"]}
    assert (
        details["precision"].startswith("bf16 on cpu") and "setting: bf16" in details["precision"]
    )


def test_the_setting_is_read_without_torch():
    code = "import sys\nfrom foleyflow.parallel.precision import precision_setting\n"
    code += "precision_setting(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class Trunk(nn.Module):
    """A linear layer that returns one class token and one token per patch."""

    def __init__(self, inputs: int, patches: int) -> None:
        super().__init__()
        self.inputs, self.patches = inputs, patches
        self.mix = nn.Linear(inputs, (1 + patches) * 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        flat = values.flatten(1)[:, : self.inputs]
        return self.mix(flat).unflatten(1, (1 + self.patches, 4))


@pytest.mark.parametrize("setting", ["bf16", "fp32"])
def test_published_encoders_always_compute_in_fp32(monkeypatch, setting):
    monkeypatch.setenv(PRECISION_VARIABLE, setting)
    torch.manual_seed(0)
    video = FrozenVideo(Trunk(48, 16), CLIP_PICTURES)
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    rule = AUDIOMAE_SOUND
    sound = FrozenSound(Trunk(64, rule.rows * (rule.frames // rule.step_frames)), rule)
    samples = 0.1 * torch.randn(16_000)
    adapter = FrameAdapter(FrameAdapterConfig(published="mae", tokens=5, token_width=4, dim=8))
    tokens = torch.randn(2, 3, 5, 4)
    for module, given in ((video, pictures), (sound, samples), (adapter, tokens)):
        with torch.no_grad():
            plain = module(given)
            with fast_autocast(CPU):
                cast = module(given)
        assert cast.dtype == torch.float32
        assert torch.equal(cast, plain), type(module).__name__


def test_torch_reports_bfloat16_of_gpus(monkeypatch):
    calls = []
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda **given: calls.append(given) or False
    )
    assert not bfloat16_is_fast(torch.device("cuda"))
    assert calls == [{"including_emulation": False}]
