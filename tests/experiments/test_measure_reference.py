"""Isolated hits, their similarity to recorded ones, and `foleyflow measure reference`."""

from __future__ import annotations

import numpy as np
import pytest
from support.cli_model import run_cli

from foleyflow.data.clips import SimulatedClips
from foleyflow.experiments.measure_reference import _WindowTrial
from foleyflow.experiments.reference_hits import (
    SoundedHit,
    isolated_hits,
    references_of,
    spectral_distances_db,
    strongest_partial_hz,
)
from foleyflow.inference.pipeline import FoleyFlow

RATE_HZ = 48_000


def hit(frequency_hz: float, *, time_s: float = 0.0, level: float = 0.5) -> SoundedHit:
    t = np.arange(RATE_HZ) / RATE_HZ - time_s
    sound = level * np.exp(-np.maximum(t, 0) / 0.05) * np.sin(2 * np.pi * frequency_hz * t)
    return SoundedHit(sound=np.where(t >= 0, sound, 0.0).astype(np.float32), time_s=time_s)


def test_distances_ignore_level_and_place():
    made = [hit(400), hit(3_000)]
    recorded = [hit(400, time_s=0.3, level=0.05), hit(3_000, time_s=0.5)]
    distances_db = spectral_distances_db(made, recorded, RATE_HZ)
    assert np.diagonal(distances_db).max() < 0.5
    assert distances_db[~np.eye(2, dtype=bool)].min() > 5.0


@pytest.mark.parametrize("frequency_hz", [80.0, 1_000.0, 9_000.0])
def test_the_strongest_partial_is_found(frequency_hz):
    assert strongest_partial_hz(hit(frequency_hz), RATE_HZ) == pytest.approx(frequency_hz, abs=4.0)


def test_each_hit_is_the_reference_of_another_one(simulated_data):
    hits = isolated_hits(SimulatedClips(simulated_data, "test"), 4)
    references = references_of(hits, 0)
    assert {each.clip for each in references} == {each.clip for each in hits}
    assert all(one.clip != other.clip for one, other in zip(hits, references, strict=True))


def test_known_pieces_are_kept(simulated_data, smoke_model):
    source = SimulatedClips(simulated_data, "test")
    first, second, *_ = isolated_hits(source, 4)
    trial = _WindowTrial(FoleyFlow.from_pretrained(smoke_model), steps=1, guidance=None, seed=0)
    piece = trial.piece(second, 16, exact=False)
    alone = trial._decode(piece.latents[None])
    made = trial.generate(0, first, first.cues, before=piece)
    start = slice(0, 8 * 960)  # further on, the codec sees what follows
    assert np.corrcoef(made.sound[start], alone[start])[0, 1] > 0.99
    assert made.time_s - first.time_s == pytest.approx((16 - trial._first_frame(first)) / 50)


def test_the_command_compares_ways_to_generate(simulated_data, smoke_model, judge, tmp_path):
    outcome = run_cli(
        "measure", "reference", simulated_data, "--model", smoke_model, "--judge", judge,
        "--clips", "4", "--out", tmp_path / "report.json", "--json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.stderr
    report = outcome.answer
    assert report["hits"] >= 2
    assert {"no reference", "codec", "material"} <= report["windows"].keys()
    assert {"no reference", "reference", "reference and material"} <= report["videos"].keys()
    # A smoke codec may keep so little that nothing is nearer to the truth: both are 1 then
    assert report["windows"]["codec"]["ratio"] <= report["windows"]["no reference"]["ratio"]
    for figures in (*report["windows"].values(), *report["videos"].values()):
        assert 0 <= figures["material"] <= 1 and 0 <= figures["rank"] <= 1
