"""Fixtures that several packages share: simulated clips, a model trained on them, and a video.

The model is trained for four steps, only to show that all parts fit together.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.machine_line import machine_line
from support.media_files import Sound, make_video
from support.torchvision_operators import declare_missing

CLIP_DURATION_S = 1.6

declare_missing()  # transformers and peft import torchvision too


@pytest.fixture(scope="session", autouse=True)
def without_configuration_files():
    """The defaults of options are those of the code, whatever the user has configured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOLEYFLOW_CONFIG", "")
        yield


def pytest_report_header() -> str:
    return machine_line()


@pytest.fixture(scope="session")
def simulated_data(tmp_path_factory) -> Path:
    """A data set of 6 training, 4 validation and 4 test clips of 1.2 s, from the simulation."""
    pytest.importorskip("mujoco", reason="simulated clips need the extra 'physics' (mujoco)")
    from support import bouncing_ball

    from foleyflow.simulation.dataset.simulate import simulate

    folder = tmp_path_factory.mktemp("simulated")
    for split, clips in (("train", 6), ("validation", 4), ("test", 4)):
        simulate(
            folder,
            clips=clips,
            seed=11,
            split=split,
            duration_s=1.2,
            workers=1,
            sample_scene=bouncing_ball.sample_scene,
        )
    return folder


@pytest.fixture
def fresh_data(simulated_data, tmp_path):
    """Copies the simulated data set, without its caches, to a folder with a given name."""

    def copy(name: str) -> Path:
        ignore = shutil.ignore_patterns(".*")
        return shutil.copytree(simulated_data, tmp_path / name, ignore=ignore)

    return copy


@pytest.fixture(scope="session")
def timm():
    """timm, even if the installed torchvision does not match torch."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm: pip install 'foleyflow[encoders]'")
    return importlib.import_module("timm")


@pytest.fixture(scope="session")
def smoke_runs(simulated_data, tmp_path_factory) -> Path:
    """Runs of codec, align and flow with their smoke recipes, trained on the command line."""
    from support.cli_model import run_cli, settings_flags

    runs = tmp_path_factory.mktemp("runs")
    codec, align = f"codec={runs / 'codec/model'}", f"align={runs / 'align/model'}"
    for task, settings in (("codec", ()), ("align", (codec,)), ("flow", (codec, align))):
        command = ["train", task, "--recipe", "smoke", "--device", "cpu"]
        command += ["--data", simulated_data, "--out", runs / task, *settings_flags(*settings)]
        outcome = run_cli(*command)
        assert outcome.status == 0, outcome.stderr
    return runs


@pytest.fixture(scope="session")
def smoke_model(smoke_runs, tmp_path_factory) -> Path:
    """A model folder with codec, align and flow, for `FoleyFlow.from_pretrained`."""
    from foleyflow.weights import merge_models

    model = tmp_path_factory.mktemp("smoke") / "model"
    merge_models([smoke_runs / task / "model" for task in ("codec", "align", "flow")], model)
    return model


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory) -> Path:
    """An mp4 of 1.6 s (40 frames, 96 x 64) with a falling square, and a click at 0.8 s."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    samples = np.zeros((1, round(CLIP_DURATION_S * 48_000)), np.float32)
    samples[0, 38_400:38_880] = 0.5 * np.hanning(480)

    def falling_square(index: int) -> np.ndarray:
        picture = np.full((64, 96, 3), 60, np.uint8)
        top = min(44, index * 2)
        picture[top : top + 16, 40:56] = (230, 190, 120)
        return picture

    return make_video(path, n_frames=40, painter=falling_square, sound=Sound(samples=samples))
