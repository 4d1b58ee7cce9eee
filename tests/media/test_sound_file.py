"""Sound files for delivery: exact samples, dither, Broadcast Wave, markers, RF64, FLAC."""

from __future__ import annotations

import io
import math
import wave
from datetime import datetime

import numpy as np
import pytest
import soundfile
import wavinfo

from foleyflow.errors import ConfigError, MediaError
from foleyflow.media import BroadcastInfo, LoudnessReport, read_waveform, sound_suffix, write_sound
from foleyflow.media.sound_file import integer_levels
from foleyflow.media.wave_file import WaveWriter
from foleyflow.signals import Marker

RATE_HZ = 48_000


def noise(channels=1, count=50_001, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (channels, count)).astype(np.float32)


def blocks_of(samples, length=7_001):
    return [samples[:, start : start + length] for start in range(0, samples.shape[1], length)]


def stored(path):
    """Integer samples as another library reads them, (channels, n), in the upper bits."""
    return soundfile.read(str(path), dtype="int32", always_2d=True)[0].T


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("format", "bits"), [("wav24", 24), ("bwf", 24), ("flac", 24)])
def test_24_bits_are_exact(tmp_path, format, bits, channels):
    samples = noise(channels)
    path = tmp_path / ("a" + sound_suffix(format))
    write_sound(path, blocks_of(samples), RATE_HZ, format=format)
    expected = np.clip(np.rint(samples.astype(np.float64) * 2**23), -(2**23), 2**23 - 1)
    np.testing.assert_array_equal(stored(path), expected.astype(np.int64) * 2**8)
    read = read_waveform(path)
    assert read.rate_hz == RATE_HZ and read.samples.shape == samples.shape
    details = soundfile.info(str(path))
    assert details.subtype == f"PCM_{bits}"


@pytest.mark.parametrize("format", ["wav16", "wav24", "bwf", "flac"])
def test_bytes_depend_on_the_sound_alone(tmp_path, format):
    samples, files = noise(2), []
    for number, length in enumerate((50_001, 1_000)):
        path = tmp_path / (f"{number}" + sound_suffix(format))
        write_sound(path, blocks_of(samples, length), RATE_HZ, format=format)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_16_bits_without_dither_round(tmp_path):
    samples = noise()
    path = write_sound(
        tmp_path / "a.wav", blocks_of(samples), RATE_HZ, format="wav16", dither=False
    )
    expected = np.clip(np.rint(samples.astype(np.float64) * 2**15), -(2**15), 2**15 - 1)
    np.testing.assert_array_equal(stored(path), expected.astype(np.int64) * 2**16)


def test_dither_makes_the_error_independent_of_the_sound():
    """With TPDF dither, mean and variance of the error are those of any level: 0 and 1/4 LSB²."""
    count = 200_000
    for fraction in (0.0, 0.25, 0.5, 0.9):
        level = np.full((1, count), (100 + fraction) / 2**15, np.float32)
        error = integer_levels(level, 16, noise=np.random.default_rng(1)) - (100 + fraction)
        assert error.mean() == pytest.approx(0.0, abs=5 * 0.5 / math.sqrt(count))
        assert error.var() == pytest.approx(0.25, rel=0.02)
    # Without it, a tone below half a step is silence; with it, the tone is still there
    tone = np.sin(np.arange(count) * 0.1) * 0.4 / 2**15
    quiet = tone[None].astype(np.float32)
    assert not integer_levels(quiet, 16).any()
    dithered = integer_levels(quiet, 16, noise=np.random.default_rng(1))[0]
    assert 2 * np.mean(dithered * np.sin(np.arange(count) * 0.1)) == pytest.approx(0.4, abs=0.02)


def test_broadcast_wave_reads_back(tmp_path):
    report = LoudnessReport(
        integrated_lufs=-23.01,
        loudness_range_lu=7.25,
        largest_momentary_lufs=-14.5,
        largest_short_term_lufs=-18.126,
        true_peak_dbtp=-1.0,
    )
    info = BroadcastInfo(
        description="Tür, 3 hits",
        originator_reference="clip-7",
        recorded_at=datetime(2026, 2, 3, 4, 5, 6),
        time_reference_samples=36_000 * RATE_HZ + 17,
        loudness=report,
    )
    path = write_sound(tmp_path / "a.wav", [noise(2)], RATE_HZ, format="bwf", broadcast=info)
    found = wavinfo.WavInfoReader(str(path))
    bext = found.bext
    assert (bext.description, bext.originator) == ("Tur, 3 hits", "foleyflow")
    assert bext.originator_ref == "clip-7"
    assert (bext.originator_date, bext.originator_time) == ("2026-02-03", "04:05:06")
    assert bext.time_reference == 1_728_000_017
    assert bext.version == 2
    assert bext.coding_history == "A=PCM,F=48000,W=24,M=stereo,T=foleyflow\r\n"
    assert bext.loudness_value == -23.01 and bext.loudness_range == 7.25
    assert bext.max_true_peak == -1.0 and bext.max_momentary_loudness == -14.5
    assert bext.max_shortterm_loudness == -18.13
    assert found.fmt.bits_per_sample == 24 and found.data.frame_count == 50_001


def test_broadcast_defaults_are_reproducible(tmp_path):
    path = write_sound(tmp_path / "a.bwf", [noise()], RATE_HZ, format="bwf")
    bext = wavinfo.WavInfoReader(str(path)).bext
    assert (bext.originator_date, bext.originator_time) == ("1970-01-01", "00:00:00")
    assert bext.time_reference == 0
    assert bext.loudness_value == 327.67  # not measured
    with pytest.raises(ValueError, match="time_reference_samples: got -1"):
        BroadcastInfo(time_reference_samples=-1)


def test_markers_read_back(tmp_path):
    markers = [
        Marker(time_s=0.5, end_s=0.75, name="scrape, wood"),
        Marker(time_s=0.25, name="hit, Küche"),
    ]
    path = write_sound(tmp_path / "a.wav", [noise()], RATE_HZ, format="bwf", markers=markers)
    found = wavinfo.WavInfoReader(str(path), info_encoding="utf-8").cues
    cues = [(cue.name, cue.sample_offset) for cue in found.cues]
    assert cues == [(1, 12_000), (2, 24_000)]
    assert [found.label_and_note(number)[0] for number in (1, 2)] == ["hit, Küche", "scrape, wood"]
    assert [found.range(number) for number in (1, 2)] == [None, 12_000]
    # Other readers skip the chunks
    with wave.open(str(path)) as file:
        assert file.getnframes() == 50_001


@pytest.mark.parametrize("count", [500, 501])
def test_large_files_become_rf64(tmp_path, count):
    """The limit of 4 GiB is lowered to 1,000 bytes; chunks after odd data stay aligned."""
    levels = integer_levels(noise(count=count), 24)
    files = {}
    for limit in (1_000, 10_000):
        file = io.BytesIO()
        writer = WaveWriter(
            file, channels=1, rate_hz=RATE_HZ, bits=24, chunks=(), largest_riff_bytes=limit
        )
        writer.write(levels)
        writer.finish([(b"note", b"odd")])
        files[limit] = file.getvalue()
    assert files[10_000][:4] == b"RIFF" and files[1_000][:4] == b"RF64"
    assert len(files[1_000]) == len(files[10_000])
    for limit, data in files.items():
        (path := tmp_path / f"{limit}.wav").write_bytes(data)
        np.testing.assert_array_equal(stored(path), levels * 2**8)
        assert wavinfo.WavInfoReader(str(path)).data.frame_count == count
    assert soundfile.info(str(tmp_path / "1000.wav")).format == "RF64"


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    sound = [noise()]
    with pytest.raises(ConfigError, match="no sound format 'mp3'"):
        write_sound(tmp_path / "a.mp3", sound, RATE_HZ, format="mp3")
    with pytest.raises(ConfigError, match="no broadcast description"):
        write_sound(tmp_path / "a.wav", sound, RATE_HZ, broadcast=BroadcastInfo())
    with pytest.raises(ConfigError, match="no markers"):
        write_sound(
            tmp_path / "a.flac", sound, RATE_HZ, format="flac", markers=[Marker(time_s=0.0)]
        )
    with pytest.raises(MediaError, match="suffix does not fit the format flac"):
        write_sound(tmp_path / "a.wav", sound, RATE_HZ, format="flac")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_sound_is_a_valid_file(tmp_path):
    for format in ("wav16", "wav24", "bwf"):
        path = tmp_path / f"{format}.wav"
        write_sound(path, [], RATE_HZ, format=format)
        assert soundfile.info(str(path)).frames == 0
