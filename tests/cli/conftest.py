"""A small untrained model and a short clip for the tests of the command line."""

from pathlib import Path

import pytest
from support.cli_model import make_model
from support.media_files import make_video


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", n_frames=10)
