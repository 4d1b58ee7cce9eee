"""The loudness report: signals of EBU Tech 3341 and 3342 with known values, and true peaks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from foleyflow.media import LoudnessReport, measure_report
from foleyflow.media.true_peak import TruePeakMeter

RATE_HZ = 48_000


def tones(*parts, hz=1000.0, channels=2):
    """A sine in parts of (level in dBFS, seconds)."""
    level = np.concatenate([np.full(round(s * RATE_HZ), 10 ** (db / 20)) for db, s in parts])
    sine = level * np.sin(2 * np.pi * hz * np.arange(len(level)) / RATE_HZ)
    return np.tile(sine.astype(np.float32), (channels, 1))


def report_of(samples, length=48_000):
    blocks = (samples[:, start : start + length] for start in range(0, samples.shape[1], length))
    return measure_report(blocks, RATE_HZ)


@pytest.mark.parametrize("level_db", [-23.0, -33.0])
def test_a_steady_tone_has_one_loudness(level_db):
    """EBU Tech 3341, signals 1 and 2."""
    report = report_of(tones((level_db, 20.0)))
    for value in (
        report.integrated_lufs,
        report.largest_momentary_lufs,
        report.largest_short_term_lufs,
    ):
        assert value == pytest.approx(level_db, abs=0.1)
    assert report.loudness_range_lu == pytest.approx(0.0, abs=0.1)
    assert report.true_peak_dbtp == pytest.approx(level_db, abs=0.2)


@pytest.mark.parametrize(
    ("levels_db", "range_lu"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range_of_steps(levels_db, range_lu):
    """EBU Tech 3342, signals 1 to 4."""
    report = report_of(tones(*((level_db, 20.0) for level_db in levels_db)))
    assert report.loudness_range_lu == pytest.approx(range_lu, abs=1.0)


def test_a_short_tone_fills_its_window_in_part():
    """0.2 s of a tone fill half a window of 0.4 s, and a fifteenth of one of 3 s."""
    report = report_of(tones((-120.0, 4.0), (-20.0, 0.2), (-120.0, 4.0)))
    assert report.largest_momentary_lufs == pytest.approx(-20 + 10 * math.log10(0.5), abs=0.15)
    assert report.largest_short_term_lufs == pytest.approx(-20 + 10 * math.log10(1 / 15), abs=0.15)


@pytest.mark.parametrize(("divisor", "phase_deg"), [(4, 0.0), (4, 45.0), (6, 60.0), (8, 67.5)])
def test_true_peak_between_samples(divisor, phase_deg):
    """EBU Tech 3341, signals 15 to 18: sines of half of full scale, -6 dBTP."""
    count = RATE_HZ
    angle = 2 * np.pi * np.arange(count) / divisor + np.deg2rad(phase_deg)
    fade = np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / 4_000)
    sine = (0.5 * np.sin(angle) * fade)[None].astype(np.float32)
    meter = TruePeakMeter(RATE_HZ, 1)
    for start in range(0, count, 7_001):
        meter.add(sine[:, start : start + 7_001])
    # Four times as many points are at most an eighth of a sample's angle away from the peak
    lowest = 0.5 * math.cos(np.pi / divisor / 4)
    assert lowest * 0.999 <= meter.peak() <= 0.5 * 1.001
    assert 20 * math.log10(meter.peak()) == pytest.approx(-6.02, abs=0.2)
    if (divisor, phase_deg) == (4, 45.0):
        assert np.abs(sine).max() == pytest.approx(0.5 / math.sqrt(2), rel=1e-3)
        assert meter.peak() == pytest.approx(0.5, rel=1e-3)


def test_true_peak_does_not_depend_on_the_blocks_and_ends_the_sound():
    samples = np.random.default_rng(0).uniform(-1, 1, (2, 20_000)).astype(np.float32)
    peaks = []
    for length in (20_000, 777):
        meter = TruePeakMeter(RATE_HZ, 2)
        for start in range(0, samples.shape[1], length):
            meter.add(samples[:, start : start + length])
        peaks.append(meter.peak())
        assert meter.peak() == peaks[-1]
        with pytest.raises(RuntimeError, match="after the end"):
            meter.add(samples)
    assert peaks[0] == pytest.approx(peaks[1], rel=1e-6)
    assert peaks[0] > 1.0


@pytest.mark.parametrize(
    "blocks", [[], [np.zeros((2, 0), np.float32)], [np.zeros((1, 9_000), np.float32)]]
)
def test_silence(blocks):
    report = measure_report(blocks, RATE_HZ)
    assert report.integrated_lufs == report.true_peak_dbtp == -math.inf
    assert report.loudness_range_lu == 0.0
    assert json.loads(json.dumps(report.to_json())) == {
        "integrated_lufs": None,
        "loudness_range_lu": 0.0,
        "largest_momentary_lufs": None,
        "largest_short_term_lufs": None,
        "true_peak_dbtp": None,
    }


def test_json_has_two_decimals_and_gain_adds():
    report = LoudnessReport(
        integrated_lufs=-23.004,
        loudness_range_lu=5.0,
        largest_momentary_lufs=-20.0,
        largest_short_term_lufs=-21.0,
        true_peak_dbtp=-3.0,
    )
    assert report.to_json()["integrated_lufs"] == -23.0
    assert report.scaled(2.0).true_peak_dbtp == -1.0
    assert report.scaled(2.0).loudness_range_lu == 5.0
