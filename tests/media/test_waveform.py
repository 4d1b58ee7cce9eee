"""Sound is placed on the video's clock and keeps its times when it is resampled."""

from __future__ import annotations

import av
import numpy as np
import pytest
import soxr
from support.media_files import Sound, impulses, make_sound, make_video

from foleyflow.errors import MediaError
from foleyflow.media.waveform import (
    fit_blocks,
    fit_length,
    read_sound_blocks,
    read_waveform,
    resample_blocks,
)


def peaks(samples, count):
    """The positions of the `count` loudest samples, at least 1000 samples apart, in order."""
    left = np.abs(samples).copy()
    found = []
    for _ in range(count):
        position = int(left.argmax())
        found.append(position)
        left[max(0, position - 1000) : position + 1000] = 0
    return np.array(sorted(found))


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "aac"])
@pytest.mark.parametrize("sound_start_s", [0.0, 0.5, 0.73])
@pytest.mark.parametrize("video_start_s", [0.0, 0.5])
def test_sound_is_placed_by_time_stamps(tmp_path, codec, sound_start_s, video_start_s):
    at = [4_800, 24_000, 70_000]
    sound = Sound(samples=impulses(96_000, at), codec=codec, start_s=sound_start_s)
    suffix = "mov" if codec != "flac" else "mkv"
    # By default mov rounds the start of a track to the millisecond.
    options = {"movie_timescale": "48000"} if suffix == "mov" else {}
    path = make_video(tmp_path / f"a.{suffix}", start_s=video_start_s, sound=sound, options=options)
    waveform = read_waveform(path)
    shift = round((sound_start_s - video_start_s) * 48_000)
    expected = [position + shift for position in at if position + shift >= 0]
    assert waveform.rate_hz == 48_000
    # Millisecond time stamps of mkv allow no better than 48 samples.
    tolerance = 48 if suffix == "mkv" else 4
    assert peaks(waveform.samples[0], len(expected)) == pytest.approx(expected, abs=tolerance)
    assert waveform.samples.shape[1] == pytest.approx(96_000 + shift, abs=1100)


def test_samples_of_pcm_are_exact(tmp_path):
    rng = np.random.default_rng(1)
    samples = rng.uniform(-0.9, 0.9, (2, 50_000)).astype(np.float32)
    path = make_sound(tmp_path / "a.wav", Sound(samples=samples, rate_hz=44_100, codec="pcm_s16le"))
    waveform = read_waveform(path)
    assert (waveform.rate_hz, waveform.samples.shape) == (44_100, (2, 50_000))
    assert np.abs(waveform.samples - samples).max() < 2**-15


@pytest.mark.parametrize(("start_s", "end_s"), [(0.25, 1.75), (2.5, 4.0), (0.0, 9.0), (6.0, 7.0)])
def test_range_equals_the_same_part_of_the_complete_sound(tmp_path, start_s, end_s):
    rng = np.random.default_rng(2)
    samples = rng.uniform(-0.5, 0.5, (1, 5 * 48_000)).astype(np.float32)
    path = make_video(
        tmp_path / "a.mov", n_frames=125, sound=Sound(samples=samples, codec="pcm_s16le")
    )
    part = read_waveform(path, start_s=start_s, end_s=end_s)
    complete = fit_length(read_waveform(path).samples, 9 * 48_000)
    expected = complete[:, round(start_s * 48_000) : round(end_s * 48_000)]
    assert part.samples.shape == (1, round((end_s - start_s) * 48_000))
    assert np.abs(part.samples - expected).max() == 0


def test_range_of_compressed_sound_equals_the_complete_sound(tmp_path):
    time_s = np.arange(5 * 48_000) / 48_000
    samples = (0.5 * np.sin(2 * np.pi * 440 * time_s))[None].astype(np.float32)
    path = make_video(tmp_path / "a.mp4", n_frames=125, sound=Sound(samples=samples))
    part = read_waveform(path, start_s=3.0, end_s=4.0)
    complete = read_waveform(path)
    assert np.abs(part.samples - complete.samples[:, 3 * 48_000 : 4 * 48_000]).max() < 1e-3


def test_gap_is_filled_with_silence(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("pcm_s16le", rate=48_000)
        stream.codec_context.layout = "mono"
        for start in (0, 96_000):
            piece = np.full((1, 48_000), 0.5, np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, start
            for packet in stream.encode(frame):
                packet.pts = packet.dts = start
                sink.mux(packet)
    samples = read_waveform(path).samples[0]
    assert len(samples) == 3 * 48_000
    assert np.abs(samples[:48_000] - 0.5).max() < 1e-4
    assert np.abs(samples[48_000:96_000]).max() == 0
    assert np.abs(samples[96_000:] - 0.5).max() < 1e-4


def test_more_than_two_channels_are_mixed_down(tmp_path):
    sound = Sound(samples=np.full((6, 4_800), 0.1, np.float32), codec="pcm_s16le")
    path = make_sound(tmp_path / "a.wav", sound)
    assert read_waveform(path).samples.shape == (2, 4_800)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_resampling_in_blocks_equals_one_call(tmp_path, rate_hz):
    rng = np.random.default_rng(4)
    samples = np.cumsum(rng.normal(0, 0.01, (1, 3 * 32_000)), axis=1).astype(np.float32)
    samples *= 0.5 / np.abs(samples).max()
    path = make_sound(tmp_path / "a.wav", Sound(samples=samples, rate_hz=32_000, codec="pcm_s16le"))
    waveform = read_waveform(path, rate_hz=rate_hz)
    expected = soxr.resample(read_waveform(path).samples[0], 32_000, rate_hz, quality="HQ")
    assert waveform.rate_hz == rate_hz
    assert waveform.samples.shape == (1, 3 * rate_hz)
    assert np.abs(waveform.samples[0] - expected).max() < 1e-4


def test_blocks_are_short_and_concatenate_to_the_complete_sound(tmp_path):
    samples = impulses(10 * 48_000, [1000, 400_000])
    path = make_sound(tmp_path / "a.flac", Sound(samples=samples, codec="flac"))
    blocks = [block.samples for block in read_sound_blocks(path, rate_hz=24_000)]
    assert max(block.shape[1] for block in blocks) <= 24_000
    complete = read_waveform(path, rate_hz=24_000).samples
    assert np.array_equal(np.concatenate(blocks, axis=1), complete)


def test_file_without_sound_is_refused(tmp_path):
    with pytest.raises(MediaError, match="no sound in it"):
        read_waveform(make_video(tmp_path / "a.mp4", n_frames=3))


def test_range_must_not_end_before_it_starts(tmp_path):
    path = make_sound(tmp_path / "a.wav", Sound(samples=impulses(100, [1]), codec="pcm_s16le"))
    with pytest.raises(ValueError, match="expected an end after the start"):
        read_waveform(path, start_s=2.0, end_s=1.0)


def test_fit_length_cuts_and_fills():
    samples = np.arange(12, dtype=np.float32).reshape(2, 6)
    assert np.array_equal(fit_length(samples, 4), samples[:, :4])
    assert np.array_equal(fit_length(samples, 8), np.pad(samples, ((0, 0), (0, 2))))
    assert fit_length(samples, 6) is samples


@pytest.mark.parametrize("sample_count", [0, 3, 10, 11, 100_000])
def test_fit_blocks_agrees_with_fit_length(sample_count):
    samples = np.arange(20, dtype=np.float32).reshape(2, 10)
    pieces = fit_blocks(iter([samples[:, :4], samples[:, 4:4], samples[:, 4:]]), sample_count)
    assert np.array_equal(np.concatenate(list(pieces), axis=1), fit_length(samples, sample_count))


def test_resample_blocks_has_no_seams():
    rng = np.random.default_rng(5)
    samples = rng.normal(0, 0.1, (2, 30_000)).astype(np.float32)
    pieces = [samples[:, :7], samples[:, 7:20_011], samples[:, 20_011:]]
    streamed = np.concatenate(list(resample_blocks(pieces, 48_000, 44_100)), axis=1)
    expected = soxr.resample(samples.T, 48_000, 44_100, quality="HQ").T
    assert streamed.shape == expected.shape
    assert np.abs(streamed - expected).max() < 1e-5


def test_a_transport_stream_that_ends_in_zeros_is_read(tmp_path):
    sound = Sound(samples=impulses(48_000, [12_000, 30_000]))
    path = make_video(tmp_path / "clip.ts", n_frames=25, sound=sound)
    expected = read_waveform(path).samples
    with path.open("ab") as file:
        file.write(bytes(70_000))
    assert np.array_equal(read_waveform(path).samples, expected)
