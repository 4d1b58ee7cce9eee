"""Pictures of true and generated spectrograms."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from support.cli_model import check_refusal, run_cli

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.data.clip_types import ClipLabels
from foleyflow.data.clips import SimulatedClips
from foleyflow.experiments.cue_pictures import clip_report
from foleyflow.experiments.cue_plots import (
    BOTTOM_PX,
    NAME_PX,
    PANELS,
    PICTURE_WIDTH_PX,
    SCALE_DB,
    SPECTRUM_PX,
    STEMS_PX,
    TOP_PX,
    JudgedSound,
    PicturedClip,
    plot_clips,
)
from foleyflow.experiments.hit_peaks import peaks_of_hits
from foleyflow.inference.report_cues import COLOURS
from foleyflow.signals import Waveform

RATE_HZ = 48_000
DURATION_S = 4.0


def judged(samples, verdict="wood"):
    sound = Waveform(samples=np.asarray(samples, np.float32)[None], rate_hz=RATE_HZ)
    return JudgedSound(sound=sound, verdict=verdict)


def tone(level, frequency_hz=1000.0):
    t = np.arange(round(DURATION_S * RATE_HZ)) / RATE_HZ
    return level * np.sin(2 * np.pi * frequency_hz * t)


def pictured(true, generated, cues=(), verdict="wood"):
    labels = ClipLabels(
        name="test/clip_000000",
        kind="strike",
        duration_s=DURATION_S,
        material="wood",
        striker_material="wood",
        events=(),
        frictions=(),
    )
    return PicturedClip(
        labels=labels,
        cues=CueSheet(cues=tuple(cues), duration_s=DURATION_S),
        true=judged(true),
        generated=judged(generated, verdict),
    )


def pixels_of(path):
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image.convert("RGB")).astype(int)


def column_px(panel, time_s):
    left, width = PANELS[panel]
    return round(PICTURE_WIDTH_PX * (left + width * time_s / DURATION_S))


def test_both_sounds_of_a_clip_have_the_same_scale(tmp_path):
    path = tmp_path / "picture.png"
    plot_clips(path, [pictured(tone(0.4), tone(0.04))], title="wood")
    top_px = TOP_PX + NAME_PX + STEMS_PX
    pixels = pixels_of(path)[top_px : top_px + SPECTRUM_PX]
    for panel, level_db in ((0, 0.0), (1, -20.0)):
        column = pixels[:, column_px(panel, 2.0)]
        brightest = column[column.sum(axis=1).argmax()]
        expected = 255 * np.array(colormaps["magma"](1 + level_db / SCALE_DB)[:3])
        np.testing.assert_allclose(brightest, expected, atol=8)


def test_cues_are_above_both_spectrograms_at_their_times(tmp_path):
    path = tmp_path / "picture.png"
    cues = [Cue(time_s=time_s, level_db=-10.0, material="metal") for time_s in (0.5, 3.0)]
    plot_clips(path, [pictured(tone(0.4), tone(0.4), cues)], title="wood")
    first_px = TOP_PX + NAME_PX
    strip = pixels_of(path)[first_px + 25 : first_px + STEMS_PX - 5]
    blue = [int(COLOURS["metal"][start : start + 2], 16) for start in (1, 3, 5)]
    columns = np.flatnonzero((np.abs(strip - blue).max(axis=2) < 30).any(axis=0))
    for panel in (0, 1):
        for cue in cues:
            assert np.abs(columns - column_px(panel, cue.time_s)).min() <= 2


def test_a_wrong_verdict_changes_the_picture(tmp_path):
    pictures = []
    for verdict in ("wood", "glass"):
        path = tmp_path / f"{verdict}.png"
        plot_clips(path, [pictured(tone(0.4), tone(0.4), verdict=verdict)], title="wood")
        pictures.append(pixels_of(path))
    rows = np.flatnonzero((pictures[0] != pictures[1]).any(axis=(1, 2)))
    assert rows.min() > TOP_PX + NAME_PX + STEMS_PX + SPECTRUM_PX


def test_a_picture_of_noise_stays_small(tmp_path):
    path = tmp_path / "noise.png"
    noise = 0.1 * np.random.default_rng(0).standard_normal((4, round(DURATION_S * RATE_HZ)))
    plot_clips(path, [pictured(*noise[:2]), pictured(*noise[2:])], title="wood")
    assert path.stat().st_size < 250_000
    height_px = TOP_PX + 2 * (NAME_PX + STEMS_PX + SPECTRUM_PX + BOTTOM_PX)
    assert pixels_of(path).shape == (height_px, PICTURE_WIDTH_PX, 3)


def test_levels_are_on_the_scale_of_cues():
    generated = np.zeros(round(DURATION_S * RATE_HZ))
    generated[RATE_HZ], generated[2 * RATE_HZ] = 0.45, 0.225
    hits = [Cue(time_s=time_s, level_db=-3.0, material="wood") for time_s in (1.0, 2.0, 3.0)]
    found = clip_report(pictured(tone(0.45), generated, hits, verdict="glass"))
    assert found["generated"] == {"judge": "glass", "peak_db": 0.0}
    assert [hit["generated_db"] for hit in found["hits"]] == [0.0, -6.0, -60.0]
    assert [hit["true_db"] for hit in found["hits"]] == [0.0, 0.0, 0.0]
    assert [hit["cue_db"] for hit in found["hits"]] == [-3.0, -3.0, -3.0]


def test_peaks_of_hits_end_before_the_next_hit():
    sound = np.zeros(RATE_HZ, np.float32)
    sound[round(0.50 * RATE_HZ)], sound[round(0.53 * RATE_HZ)] = 0.1, 0.8
    times_s = np.array([0.1, 0.5, 0.53, 1.5])
    peaks = peaks_of_hits(sound, times_s, RATE_HZ)
    np.testing.assert_allclose(peaks, [0.0, 0.1, 0.8, np.nan], rtol=1e-6)


def test_the_command_writes_a_picture_per_material(smoke_model, simulated_data, judge, tmp_path):
    out = tmp_path / "new" / "pictures"
    command = ("measure", "spectrograms", simulated_data, "--model", smoke_model, "-o", out)
    outcome = run_cli(*command, "--judge", judge, "--per-material", "1", "--json")
    assert outcome.status == 0, outcome.stderr
    report = json.loads((out / "spectrograms.json").read_text())
    source = SimulatedClips(simulated_data, "test")
    materials = {source.labels(index).material for index in range(len(source))}
    files = {"spectrograms.json", *(f"spectrograms_{name}.png" for name in materials)}
    assert {path.name for path in out.iterdir()} == files
    assert outcome.answer["recognised"] == report["recognised"]
    assert set(report["recognised"]) == materials
    for clip in report["clips"]:
        labels = next(
            labels
            for labels in map(source.labels, range(len(source)))
            if labels.name == clip["clip"]
        )
        times_s = [hit["time_s"] for hit in clip["hits"]]
        np.testing.assert_allclose(times_s, labels.event_times_s, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--material", "wod"), "material 'wod': expected one of wood"),
        (("--material", "membrane"), "no clip of 'test' is of membrane"),
        (("--split", "tests"), "no split 'tests'"),
        (("-o", "{file}"), "expected a folder"),
    ],
)
def test_bad_settings_are_refused_and_write_nothing(simulated_data, tmp_path, arguments, message):
    file, out = tmp_path / "file", tmp_path / "pictures"
    file.touch()
    given = [argument.format(file=file) for argument in arguments]
    folder = () if "-o" in given else ("-o", out)
    outcome = run_cli("measure", "spectrograms", simulated_data, *folder, *given)
    assert message in check_refusal(outcome)
    assert not out.exists()
