"""The reel on the command line: a playable clip for every system, and a page that plays all."""

from __future__ import annotations

import json
import re

import pytest
from support.cli_model import run_cli

from foleyflow.evaluation.metrics.spectral import log_spectral_distance
from foleyflow.media import probe
from foleyflow.media.waveform import read_waveform

SYSTEMS = ["true", *(f"gdcf {n}" for n in (1, 2, 4, 8, 25)), "dcf 1", "dcf 25", "heun"]


@pytest.fixture(scope="module")
def reel(simulated_data, smoke_runs, smoke_model, tmp_path_factory):
    """One clip by a model, and by a flow whose codec and aligner are those of its training."""
    out = tmp_path_factory.mktemp("reel") / "out"
    baseline = f"heun={smoke_runs / 'flow/model'}:heun:2"
    arguments = ("reel", out, "--data", simulated_data, "--model", smoke_model, "--clips", "1")
    outcome = run_cli(*arguments, "--baseline", baseline, "--json")
    assert outcome.status == 0, outcome.stderr
    return out, arguments, outcome


def test_every_system_has_a_video_with_its_sound(reel, simulated_data):
    out, _, outcome = reel
    assert outcome.answer["systems"] == SYSTEMS
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    files = {path.stem: path for path in folder.iterdir()}
    assert sorted(files) == sorted(name.replace(" ", "-") for name in SYSTEMS)
    split, clip = folder.name.split("-", 1)
    source = simulated_data / split / "00000" / clip
    true = read_waveform(source.with_suffix(".flac"))
    for path in files.values():
        info = probe(path)
        # The last frame of a clip, of at least 15 frames per second, may last beyond its sound
        assert info.duration_s == pytest.approx(true.duration_s, abs=0.07)
        assert read_waveform(path).duration_s == pytest.approx(true.duration_s, abs=0.07)
    kept = read_waveform(files["true"]).mono()[: len(true.mono())]
    made = read_waveform(files["gdcf-1"]).mono()[: len(true.mono())]
    assert log_spectral_distance(true.mono()[: len(kept)], kept) < log_spectral_distance(
        true.mono()[: len(made)], made
    )


def test_the_page_plays_each_file_and_loads_nothing_else(reel):
    out, _, _ = reel
    page = (out / "index.html").read_text(encoding="utf-8")
    played = re.findall(r'<video [^>]*src="([^"]+)"', page)
    assert len(played) == len(SYSTEMS)
    assert all((out / address).is_file() for address in played)
    assert page.count("data:image/png;base64,") == len(SYSTEMS)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert not [a for a in addresses if a not in played and not a.startswith("data:image/png")]
    for name in SYSTEMS:
        assert f"<figcaption>{name}</figcaption>" in page


def test_a_reel_is_not_overwritten(reel):
    _, arguments, _ = reel
    outcome = run_cli(*arguments)
    assert outcome.status == 2
    assert "holds a reel already" in outcome.stderr


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("x", "expected NAME=FOLDER:SOLVER:STEPS"),
        ("x={flow}:euler", "expected NAME=FOLDER:SOLVER:STEPS"),
        ("x={flow}:euler:0", "expected NAME=FOLDER:SOLVER:STEPS"),
        ("x={flow}:dpm:4", "solver 'dpm', expected one of map, euler, midpoint, heun"),
        ("true={flow}:euler:4", "expected different names"),
        ("dcf 1={flow}:euler:4", "expected different names"),
        ("x=nowhere:euler:4", "nowhere"),
    ],
)
def test_a_wrong_baseline_is_refused(
    baseline, message, simulated_data, smoke_runs, smoke_model, tmp_path
):
    given = baseline.format(flow=smoke_runs / "flow/model")
    arguments = ("--data", simulated_data, "--model", smoke_model, "--baseline", given)
    outcome = run_cli("reel", tmp_path / "out", *arguments)
    assert outcome.status == 2
    assert message in outcome.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_aligner_is_reported_with_its_former_path(smoke_runs, simulated_data, tmp_path):
    flow = tmp_path / "model"
    flow.mkdir()
    for path in (smoke_runs / "flow/model").iterdir():
        (flow / path.name).write_bytes(path.read_bytes())
    config = json.loads((flow / "config.json").read_text())
    gone = str(tmp_path / "gone")
    config["components"]["flow"]["provenance"]["settings"]["align"] = gone
    (flow / "config.json").write_text(json.dumps(config))
    outcome = run_cli("reel", tmp_path / "out", "--data", simulated_data, "--model", flow)
    assert outcome.status == 2
    assert f"no align in it, nor in {gone}" in outcome.stderr
