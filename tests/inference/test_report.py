"""The report is plotted for any length, with frames, sounds and cues at their times."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from foleyflow.cues.cue import Cue
from foleyflow.errors import MediaError
from foleyflow.inference.report import (
    COLUMN_COUNT,
    CUES_PX,
    HEIGHT_PX,
    LEFT,
    RIGHT,
    TITLE_PX,
    WIDTH_PX,
    plot_report,
)
from foleyflow.inference.report_cues import COLOURS, OTHER_COLOUR
from foleyflow.inference.report_spectrogram import band_power, relative_db
from foleyflow.signals import Waveform

RATE_HZ = 48000
BLUE = COLOURS["metal"]
ROLL = Cue(time_s=0.0, kind="roll", end_s=0.5, level_curve_db=(-40.0, -6.0, -60.0))


def tone(duration_s, frequency_hz=1000.0, rate_hz=RATE_HZ):
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    sound = 0.5 * np.sin(2 * np.pi * frequency_hz * t)
    return Waveform(samples=sound[None].astype(np.float32), rate_hz=rate_hz)


def pictures(duration_s, count=8, size=(36, 64), shade=200):
    frame = np.full((*size, 3), shade, np.uint8)
    return [((k + 0.5) / count * duration_s, frame) for k in range(count)]


def column_px(time_s, duration_s):
    return round(WIDTH_PX * (LEFT + (RIGHT - LEFT) * time_s / duration_s))


def colour_columns(image, colour):
    """Pixel columns that contain a colour."""
    near = np.abs(image[..., :3] - np.array(colour)).max(axis=2) < 0.02
    return np.flatnonzero(near.any(axis=0))


@pytest.mark.parametrize("duration_s", [0.0, 0.001, 0.04, 2.0, 75.0])
@pytest.mark.parametrize("with_reference", [False, True])
def test_any_length_gives_a_complete_picture(tmp_path, duration_s, with_reference):
    path = tmp_path / "report.png"
    plot_report(
        path,
        pictures=pictures(duration_s),
        generated=tone(duration_s),
        cues=[Cue(time_s=duration_s / 2, level_db=0.0), ROLL],
        reference=tone(duration_s + 1, rate_hz=22050) if with_reference else None,
        title="clip.mp4",
    )
    assert imread(path).shape[:2] == (HEIGHT_PX, WIDTH_PX)
    assert [p.name for p in tmp_path.iterdir()] == ["report.png"]


def test_frames_are_plotted_at_their_times(tmp_path):
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 255
    path = tmp_path / "report.png"
    plot_report(path, pictures=[(3.0, red)], generated=tone(4.0), cues=[])
    columns = colour_columns(imread(path), (1.0, 0.0, 0.0))
    assert columns.mean() == pytest.approx(column_px(3.0, 4.0), abs=3)


def test_a_burst_is_plotted_at_its_time(tmp_path):
    samples = np.zeros((1, 4 * RATE_HZ), np.float32)
    samples[0, RATE_HZ : RATE_HZ + 4800] = 0.5 * np.sin(np.arange(4800))
    path = tmp_path / "report.png"
    plot_report(path, pictures=[], generated=Waveform(samples=samples, rate_hz=RATE_HZ), cues=[])
    image = imread(path)
    rows = slice(170, 330)  # inside the waveform's axes
    accent = np.abs(image[rows, :, :3] - np.array([0xE4, 0x57, 0x2E]) / 255).max(axis=2) < 0.02
    tall = np.flatnonzero(accent.sum(axis=0) > 60)
    assert tall.min() == pytest.approx(column_px(1.0, 4.0), abs=3)
    assert tall.max() == pytest.approx(column_px(1.1, 4.0), abs=3)


def test_only_cues_within_the_clip_are_plotted(tmp_path):
    images = []
    for name, times_s in (("none", []), ("inside", [1.0]), ("outside", [-1.0, 9.0])):
        path = tmp_path / f"{name}.png"
        cues = [Cue(time_s=time_s, level_db=-6.0) for time_s in times_s]
        plot_report(path, pictures=[], generated=tone(2.0), cues=cues)
        images.append(imread(path)[80:])
    assert not np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])


def plotted(tmp_path, *cues):
    """The part of the report with the cues, between legend and waveform."""
    path = tmp_path / "cues.png"
    plot_report(path, pictures=[], generated=tone(4.0), cues=cues)
    return imread(path)[TITLE_PX - 8 : TITLE_PX + CUES_PX]


def rows_of(image, colour):
    near = np.abs(image[..., :3] - np.array(to_rgb(colour))).max(axis=2) < 0.02
    return np.flatnonzero(near.any(axis=1))


@pytest.mark.parametrize(("material", "colour"), [*COLOURS.items(), ("cheese", OTHER_COLOUR)])
def test_hits_have_the_colour_of_their_material(tmp_path, material, colour):
    image = plotted(tmp_path, Cue(time_s=1.0, level_db=-6.0, material=material))
    columns = colour_columns(image, to_rgb(colour))
    assert columns.mean() == pytest.approx(column_px(1.0, 4.0), abs=2)
    assert np.ptp(columns) < 16


def test_louder_hits_are_higher(tmp_path):
    heights = [
        np.ptp(
            rows_of(plotted(tmp_path, Cue(time_s=1.0, level_db=level_db, material="metal")), BLUE)
        )
        for level_db in (-50.0, -30.0, -10.0, 0.0)
    ]
    # From 0 at -60 dB to the full height
    full = CUES_PX / 1.12
    assert np.diff(heights) == pytest.approx(np.array([20, 20, 10]) / 60 * full, abs=3)


def test_friction_covers_its_time_and_follows_its_level(tmp_path):
    curve = (-50.0, -10.0)
    roll = Cue(time_s=1.0, kind="roll", end_s=3.0, level_curve_db=curve, material="metal")
    image = plotted(tmp_path, roll)
    columns = colour_columns(image, to_rgb(BLUE))
    assert columns.min() == pytest.approx(column_px(1.0, 4.0), abs=3)
    assert columns.max() == pytest.approx(column_px(3.0, 4.0), abs=6)
    start, end = (
        rows_of(image[:, column_px(time_s, 4.0)][:, None], BLUE).min() for time_s in (1.2, 2.8)
    )
    # 32 dB of the 60 dB of the scale
    assert start - end == pytest.approx(32 / 60 * CUES_PX / 1.12, abs=4)


def test_disabled_cues_are_faint(tmp_path):
    enabled = Cue(time_s=1.0, level_db=0.0, material="metal")
    full, faint, none = (
        plotted(tmp_path, *cues)[..., :3]
        for cues in ([enabled], [dataclasses.replace(enabled, enabled=False)], [])
    )
    assert len(rows_of(full, BLUE)) > 40 and len(rows_of(faint, BLUE)) == 0
    assert 0.05 < np.abs(faint - none).sum() / np.abs(full - none).sum() < 0.5


def test_thousands_of_cues_are_plotted(tmp_path):
    rng = np.random.default_rng(0)
    names = [*COLOURS, None, "something with $ and \u9332 and a very long name"]
    cues = [
        Cue(time_s=float(t), level_db=float(rng.uniform(-60, 12)), material=names[k % len(names)])
        for k, t in enumerate(np.linspace(0, 4, 5000))
    ]
    assert len(rows_of(plotted(tmp_path, *cues), BLUE)) > 40


def spectrogram_db(sound):
    power = band_power(sound, most_columns=COLUMN_COUNT)
    return relative_db(power, float(power.max()))


@pytest.mark.parametrize("frequency_hz", [200.0, 1000.0, 6000.0])
def test_a_tone_is_in_its_band_of_the_spectrogram(frequency_hz):
    level_db = spectrogram_db(tone(1.0, frequency_hz))
    band = level_db.mean(axis=1).argmax()
    expected = len(level_db) * np.log(frequency_hz / 50) / np.log(20000 / 50)
    assert band == pytest.approx(expected, abs=6)
    assert level_db.max() == pytest.approx(0.0)


def test_long_sound_keeps_a_click_in_fewer_columns():
    samples = np.zeros((1, 120 * RATE_HZ), np.float32)
    samples[0, 90 * RATE_HZ] = 1.0
    level_db = spectrogram_db(Waveform(samples=samples, rate_hz=RATE_HZ))
    assert level_db.shape[1] <= COLUMN_COUNT + 1
    at = level_db.max(axis=0).argmax() / level_db.shape[1]
    assert at == pytest.approx(90 / 120, abs=2 / COLUMN_COUNT)


def test_a_missing_folder_is_a_media_error_and_leaves_nothing(tmp_path):
    with pytest.raises(MediaError, match="can't be written"):
        plot_report(tmp_path / "no" / "r.png", pictures=[], generated=tone(0.1), cues=[])
    assert not list(tmp_path.iterdir())


def test_any_file_name_can_be_a_title(tmp_path):
    path = tmp_path / "report.png"
    plot_report(path, pictures=[], generated=tone(0.1), cues=[], title="$5^ 録音 _{ \\x.mp4")
    assert path.exists()


def test_an_existing_picture_is_replaced(tmp_path):
    path = tmp_path / "report.png"
    path.write_bytes(b"old")
    plot_report(path, pictures=pictures(1.0), generated=tone(1.0), cues=[])
    assert imread(path).shape[0] == HEIGHT_PX
