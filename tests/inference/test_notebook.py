"""What notebooks show of a result, and the example notebook."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from matplotlib.image import imread

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import MissingExtra
from foleyflow.inference import notebook
from foleyflow.inference.pipeline import FoleyFlow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def model():
    return FoleyFlow.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def result(model, clip_file):
    return model.generate(clip_file, material="glass", sensitivity=0.9)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def data_of(self, tag):
        (source,) = [attributes["src"] for name, attributes in self.tags if name == tag]
        head, _, data = source.partition(",")
        return head, base64.b64decode(data)


def decoded(data, tmp_path):
    path = tmp_path / "sound.flac"
    path.write_bytes(data)
    with av.open(str(path)) as source:
        frames = [frame.to_ndarray()[0] for frame in source.decode(audio=0)]
        return np.concatenate(frames) / 2.0**31


def test_a_result_shows_its_sound_picture_and_cues(result, tmp_path):
    page = Page(result._repr_html_())
    head, sound = page.data_of("audio")
    assert head == "data:audio/flac;base64"
    np.testing.assert_allclose(decoded(sound, tmp_path), result.waveform, atol=2.0**-22)
    head, picture = page.data_of("img")
    assert head == "data:image/png;base64" and picture.startswith(b"\x89PNG")
    assert len(result.cues) > 0 and page.text.count("glass") == len(result.cues)
    assert f"{len(result.cues)} cue" in page.text


def test_the_page_refers_to_no_other_host(result):
    for text in (result._repr_html_(), notebook.result_html(result, with_pictures=True)):
        without_data = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
        assert not re.search(r"https?:|//|<script|<link|url\(", without_data)


def test_pictures_are_those_of_the_video(result):
    plain, full = result._repr_html_(), notebook.result_html(result, with_pictures=True)
    orange = []  # pixels of the square of the video
    for text in (plain, full):
        picture = imread(io.BytesIO(Page(text).data_of("img")[1]))[..., :3]
        near = np.abs(picture - np.array([230, 190, 120]) / 255).max(axis=-1) < 0.08
        orange.append(int(near.sum()))
    assert orange[1] > orange[0] + 2000
    assert Page(plain).data_of("audio") == Page(full).data_of("audio")


def test_frames_in_memory_have_no_pictures(model):
    frames = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    result = model.generate(frames=frames, rate_hz=10, stereo=True)
    full = notebook.result_html(result, with_pictures=True)
    assert full == result._repr_html_()


def test_the_size_is_bounded(model):
    """A minute of noise has a player of half a minute, and a table of some cues."""
    frames = np.zeros((300, 32, 32, 3), np.uint8)
    cues = CueSheet(cues=tuple(Cue(time_s=n / 4, material="metal") for n in range(200)))
    result = model.generate(frames=frames, rate_hz=5, cues=cues)
    text = result._repr_html_()
    assert len(text) < 12e6
    page = Page(text)
    assert "first 30 s of 60.0 s" in page.text and "and 150 more" in page.text
    assert page.text.count("metal") == notebook.LISTED_CUES


def test_names_and_warnings_are_escaped(model, clip_file, tmp_path):
    path = shutil.copy(clip_file, tmp_path / "<b>&amp;.mp4")
    result = model.generate(path)
    result.warnings.append("<script>alert(1)</script>")
    text = result._repr_html_()
    assert "&lt;script&gt;" in text and "<script" not in text and "<b>" not in text


def test_a_report_is_displayed(result, monkeypatch):
    display = pytest.importorskip("IPython.display", reason="pip install 'foleyflow[notebook]'")
    shown = []
    monkeypatch.setattr(display, "display", shown.append)
    result.display_report()
    assert [each.data for each in shown] == [notebook.result_html(result, with_pictures=True)]


def test_without_ipython_the_extra_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(MissingExtra, match="IPython") as caught:
        result.display_report()
    assert "foleyflow[notebook]" in str(caught.value.hint)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_outputs_are_stripped(path):
    content = json.loads(path.read_text("utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
        assert cell["metadata"] == {}
        assert len(cell["source"]) > 0
        assert all(len(line.rstrip("\n")) <= 100 for line in cell["source"])
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    assert path.stat().st_size < 20_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_runs(path, tmp_path, monkeypatch):
    reason = "needs nbclient and ipykernel: pip install 'foleyflow[dev]'"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    nbformat = pytest.importorskip("nbformat", reason=reason)
    root = str(EXAMPLES.parent)  # the kernel runs in another folder
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    content = nbformat.read(path, as_version=4)
    nbformat.validate(content)
    client = nbclient.NotebookClient(
        content, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [
        output["data"]["text/html"]
        for cell in content.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert len(shown) == 4
    for text in shown:
        assert Page("".join(text)).data_of("audio")[1].startswith(b"fLaC")
    assert (tmp_path / "drums.foley.mp4").exists() and (tmp_path / "frames.wav").exists()
