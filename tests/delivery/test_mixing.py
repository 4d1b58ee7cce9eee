"""Mixing reaches the target loudness and peak, keeps stereo, and ducks only around cues."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.media_files import SHARED_CLIPS, Sound, make_video, video_packet_bytes

from foleyflow.delivery import Ducking, mix_sounds
from foleyflow.errors import ConfigError, MediaError
from foleyflow.media import loudness_lufs, measure_report, mux, probe, read_waveform
from foleyflow.signals import Waveform

RATE_HZ = 48_000
COUNT = 4 * RATE_HZ


def noise(channels=1, level=0.05, count=COUNT, seed=0):
    return np.random.default_rng(seed).normal(0, level, (channels, count)).astype(np.float32)


def hits(count=COUNT, level=0.5):
    """Decaying noise without the highest frequencies, which lossy codecs remove."""
    samples = np.zeros((1, count), np.float32)
    for number, start in enumerate(range(12_000, count - 12_000, 36_000)):
        ring = np.random.default_rng(number).normal(0, level, 12_000)
        ring = np.convolve(ring, np.hanning(7)[1:-1] / 3, mode="same")
        samples[0, start : start + 12_000] += ring * np.exp(-np.arange(12_000) / 1_500)
    return samples


def source(samples, length=10_007):
    """A sound that can be read in blocks several times."""
    return lambda: (
        samples[:, start : start + length] for start in range(0, samples.shape[1], length)
    )


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Videos whose sound is mono noise, or different noise left and right."""
    folder = tmp_path_factory.mktemp("films")
    return {
        channels: make_video(
            folder / f"{channels}.mkv",
            n_frames=100,
            sound=Sound(samples=noise(channels, seed=1), codec="flac"),
        )
        for channels in (1, 2)
    }


def mixed(video, samples, **settings):
    settings = {"mode": "mix", "target_lufs": -23.0, "rate_hz": RATE_HZ} | settings
    result = mix_sounds(source(samples), video, sample_count=samples.shape[1], **settings)
    return result, np.concatenate(list(result.blocks()), axis=1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("mode", ["replace", "mix", "duck"])
@pytest.mark.parametrize("target_lufs", [-23.0, -16.0])
def test_loudness_and_peak_reach_their_targets(films, mode, channels, target_lufs):
    result, samples = mixed(
        films[channels], hits(), mode=mode, target_lufs=target_lufs, stretches=[(1.0, 1.2)]
    )
    assert samples.shape == (1 if mode == "replace" else channels, COUNT)
    assert result.channels == len(samples) and result.sample_count == COUNT
    report = measure_report([samples], RATE_HZ)
    assert report.integrated_lufs == pytest.approx(target_lufs, abs=0.11)
    assert report.true_peak_dbtp <= -0.999
    assert report.to_json() == pytest.approx(result.report.to_json(), abs=0.011)
    assert result.warnings == ()


def test_a_mix_is_the_sum_with_its_gains(films):
    ours, theirs = hits(), read_waveform(films[2], rate_hz=RATE_HZ).samples
    result, samples = mixed(films[2], ours, relative_level_lu=3.0)
    assert result.limited_db == 0.0
    factor, other = (
        10 ** (gain_db / 20) for gain_db in (result.generated_gain_db, result.original_gain_db)
    )
    np.testing.assert_allclose(samples, factor * ours + other * theirs, atol=1e-6)
    # In the channels of the mix, the generated sound is 3 LU louder than the original
    levels = [
        loudness_lufs(Waveform(samples=np.float32(x), rate_hz=RATE_HZ))
        for x in (factor * np.tile(ours, (2, 1)), other * theirs)
    ]
    assert levels[0] - levels[1] == pytest.approx(3.0, abs=0.01)


def test_without_targets_the_levels_are_kept(films):
    ours, theirs = hits(level=0.1), read_waveform(films[1], rate_hz=RATE_HZ).samples
    result, samples = mixed(films[1], ours, relative_level_lu=None, target_lufs=None)
    np.testing.assert_allclose(samples, ours + theirs, atol=1e-6)
    assert result.generated_gain_db == result.original_gain_db == 0.0
    # Only a peak above the ceiling has an effect
    loud, samples = mixed(films[1], 10 * ours, relative_level_lu=None, target_lufs=None)
    assert measure_report([samples], RATE_HZ).true_peak_dbtp == pytest.approx(-1.0, abs=1e-3)
    assert loud.generated_gain_db == loud.original_gain_db < 0


def test_ducking_lowers_the_original_only_around_cues(films):
    """The generated sound is silent, so the result is the original times the documented curve."""
    ducking = Ducking(depth_db=20.0, attack_s=0.1, release_s=0.2)
    theirs = read_waveform(films[2], rate_hz=RATE_HZ).samples
    result, samples = mixed(
        films[2],
        np.zeros((1, COUNT), np.float32),
        mode="duck",
        target_lufs=None,
        stretches=[(1.0, 1.5), (3.0, 3.1)],
        ducking=ducking,
    )
    curve_db = ducking.gain_db(np.arange(COUNT) / RATE_HZ, [(1.0, 1.5), (3.0, 3.1)])
    np.testing.assert_allclose(samples, theirs * 10 ** (curve_db / 20), atol=1e-6)
    np.testing.assert_array_equal(samples[:, curve_db == 0], theirs[:, curve_db == 0])
    assert result.warnings == ("the generated sound is silent; the levels of both sounds are kept",)


def test_the_original_is_resampled_and_fitted(tmp_path):
    tone = np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)[None].astype(np.float32) / 4
    video = make_video(tmp_path / "a.mkv", sound=Sound(samples=tone, rate_hz=16_000, codec="flac"))
    silence = np.zeros((1, 3 * RATE_HZ), np.float32)
    _, samples = mixed(video, silence, target_lufs=None)
    assert samples.shape == (1, 3 * RATE_HZ)
    expected = np.sin(2 * np.pi * 440 * np.arange(2 * RATE_HZ) / RATE_HZ) / 4
    inner = slice(2_000, 2 * RATE_HZ - 2_000)
    np.testing.assert_allclose(samples[0, inner], expected[inner], atol=1e-3)
    assert np.abs(samples[0, 2 * RATE_HZ + 100 :]).max() < 1e-3


def test_peaks_that_cannot_be_lowered_are_reported(films):
    click = np.zeros((1, COUNT), np.float32)
    click[0, ::24_000] = 0.5
    result, samples = mixed(films[1], click, mode="replace", target_lufs=-10.0)
    (warning,) = result.warnings
    assert "instead of -10.0 LUFS" in warning and "20 dB" in warning
    assert measure_report([samples], RATE_HZ).true_peak_dbtp <= -0.999
    assert result.limited_db == pytest.approx(20.0) and result.report.integrated_lufs < -10.5


def test_silence_stays_silent(tmp_path):
    video = make_video(tmp_path / "a.mp4")
    result, samples = mixed(video, np.zeros((1, 5_000), np.float32), mode="replace")
    assert not samples.any() and result.report.integrated_lufs == -math.inf
    assert result.warnings == ("the sound is silent; its loudness is not changed",)
    with pytest.raises(MediaError, match="no sound in it") as raised:
        mixed(video, hits())
    assert raised.value.hint == "use the mode replace"
    with pytest.raises(ConfigError, match="no mode of mixing 'blend'"):
        mixed(video, hits(), mode="blend")


def test_memory_does_not_grow_with_the_length(films):
    """Blocks are read one after the other, and blocks of the mix are small."""
    ahead, most, largest, total = 0, 0, 0, 0

    def generated():
        nonlocal ahead
        ahead = 0
        for block in source(hits(20 * RATE_HZ))():
            ahead += block.shape[1]
            yield block

    result = mix_sounds(
        generated,
        films[1],
        mode="mix",
        rate_hz=RATE_HZ,
        sample_count=20 * RATE_HZ,
        target_lufs=-14.0,
        relative_level_lu=12.0,
    )
    assert result.limited_db > 1.0
    for block in result.blocks():
        total += block.shape[1]
        most = max(most, ahead - total)
        largest = max(largest, block.shape[1])
    assert total == 20 * RATE_HZ
    assert largest < RATE_HZ and most < 2 * RATE_HZ


def test_real_clips_reach_the_target_and_keep_the_picture(tmp_path):
    clips = sorted(SHARED_CLIPS.glob("*.mp4"))[::40]
    if not clips:
        pytest.skip("the real clips in ../shared/clips are missing")
    for clip in clips:
        info = probe(clip)
        ours = hits(round(info.duration_s * RATE_HZ))
        result, _ = mixed(clip, ours, mode="duck", target_lufs=-20.0, stretches=[(0.2, 0.5)])
        assert result.report.integrated_lufs == pytest.approx(-20.0, abs=0.5), clip.name
        output = tmp_path / clip.with_suffix(".mov").name
        mux(clip, output, result.blocks(), rate_hz=RATE_HZ, n_samples=ours.shape[1])
        assert video_packet_bytes(output) == video_packet_bytes(clip)
        written = loudness_lufs(read_waveform(output))
        assert written == pytest.approx(-20.0, abs=0.5)
