"""Features of the frames of a video, streamed window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.films import film

from foleyflow.inference import feature_stream
from foleyflow.inference.feature_stream import FeatureStream
from foleyflow.parallel.precision import PRECISION_VARIABLE
from foleyflow.system.stopwatch import Stopwatch


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_streamed_features_equal_those_of_the_full_clip(aligner, monkeypatch, precision, tolerance):
    monkeypatch.setenv(PRECISION_VARIABLE, precision)
    frames = film(np.arange(90) / 30.0)
    half = aligner.encoder.config.window // 2
    padded = [frames[0][1]] * half + [p for _, p in frames] + [frames[-1][1]] * half
    pixels = torch.from_numpy(np.stack(padded)).permute(0, 3, 1, 2)[None]
    full = aligner.encode_video(pixels)[0]
    stream = FeatureStream(aligner, iter(frames), Stopwatch())
    for start_s, end_s in ((0.0, 0.96), (0.8, 1.76), (1.6, 2.56), (2.4, 3.0)):
        values, times_s = stream.between(start_s, end_s)
        inside = [n for n, (t, _) in enumerate(frames) if start_s - 1e-6 <= t < end_s - 1e-6]
        assert values.dtype == torch.float32
        torch.testing.assert_close(values[0], full[inside], atol=tolerance, rtol=1e-4)
        expected = torch.tensor([frames[n][0] - start_s for n in inside])
        torch.testing.assert_close(times_s[0], expected.clamp_min(0), atol=1e-6, rtol=0)
        # Features before the window are dropped.
        assert len(stream._features) <= len(inside) + feature_stream.FRAMES_PER_BATCH


def test_no_more_frames_are_read_than_needed(aligner):
    taken = []

    def frames():
        for number, pair in enumerate(film(np.arange(400) / 25.0)):
            taken.append(number)
            yield pair

    FeatureStream(aligner, frames(), Stopwatch()).between(0.0, 0.96)
    half = aligner.encoder.config.window // 2
    assert len(taken) <= 24 + half + feature_stream.FRAMES_PER_BATCH


def test_a_frame_counts_until_the_next_one(aligner):
    frames = film([0.0, 0.04, 5.0, 5.04])
    stream = FeatureStream(aligner, iter(frames), Stopwatch())
    first, _ = stream.between(0.0, 1.0)
    assert first.shape[1] == 2
    for start_s in (1.0, 2.0, 3.5):
        held, times_s = stream.between(start_s, start_s + 1.0)
        assert torch.equal(held[0], first[0, 1:])
        assert times_s.tolist() == [[0.0]]
    later, times_s = stream.between(4.5, 5.5)
    assert later.shape[1] == 2
    assert times_s[0].tolist() == pytest.approx([0.5, 0.54], abs=1e-6)


def test_times_keep_millisecond_precision_after_hours(aligner):
    stream = FeatureStream(aligner, iter(film([36_000.1234, 36_000.1634])), Stopwatch())
    _, times_s = stream.between(36_000.0, 36_001.0)
    assert times_s[0].tolist() == pytest.approx([0.1234, 0.1634], abs=1e-5)
