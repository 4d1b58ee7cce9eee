"""The networks of the judges that are trained on simulated clips: closed forms and invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.small_judges import randomised

from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError
from foleyflow.evaluation.metrics.semantics import kl_divergence
from foleyflow.judges.networks.log_mel import JudgeLogMel, normalise_to_peak
from foleyflow.judges.networks.sync import Sync, SyncConfig, diagonal_means, sync_probability
from foleyflow.judges.networks.tagger import Tagger, TaggerConfig, joint_logits

CLASSES = {"materials": ("wood", "metal", "nothing"), "kinds": ("drop", "roll")}


def sounds(seconds=1.0, count=2, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-0.5, 0.5, (count, round(48000 * seconds)))).float()


def small_sync():
    encoder = MotionEncoderConfig(size=16, widths=(4, 4, 8), dim=8, changes=2, reach=1)
    config = SyncConfig(window_s=0.64, hop_s=0.16, longest_lag_s=0.4, width=8, heads=2)
    return randomised(Sync(config, encoder=MotionEncoder(encoder)))


def test_levels_have_a_hundred_frames_per_second_and_a_peak_of_one():
    levels = JudgeLogMel()(sounds(1.005))
    assert levels.shape == (2, 100, 64)
    assert normalise_to_peak(levels).amax((1, 2)).tolist() == [1.0, 1.0]
    assert float(normalise_to_peak(levels).min()) >= -1.0


def test_levels_depend_on_gain_only_near_silence():
    front_end = JudgeLogMel()
    loud, soft = (normalise_to_peak(front_end(gain * sounds())) for gain in (1.0, 0.05))
    torch.testing.assert_close(loud, soft, atol=2e-3, rtol=0)
    silence = normalise_to_peak(front_end(torch.zeros(1, 48000)))
    assert float(silence.max()) < -0.9
    # The lowest peak is that of a tone of -70 dBFS
    time_s = torch.arange(48000) / 48000
    tone = (10 ** (-70 / 20) * torch.sin(2 * torch.pi * 1000 * time_s))[None]
    assert float(front_end(tone).max()) == pytest.approx(-2.3, abs=0.7)


def test_tagger_accepts_any_length():
    tagger = randomised(Tagger(TaggerConfig(**CLASSES, widths=(4, 4, 8, 8), embedding=6)))
    for frames in (10, 100, 320):
        materials, kinds, embeddings = tagger(torch.randn(2, frames, 64))
        assert materials.shape == (2, 3) and kinds.shape == (2, 2)
        assert embeddings.shape == (2, -(-frames // 16), 6)
    assert tagger.frame_rate_hz == 6.25


def test_tagger_is_small():
    tagger = Tagger(TaggerConfig(**CLASSES))
    assert sum(p.numel() for p in tagger.parameters()) < 600_000  # 1.2 MB in half precision


def test_divergence_of_joint_logits_is_the_sum_of_both_divergences():
    rng = np.random.default_rng(0)
    true, generated = (
        [torch.from_numpy(rng.normal(size=(4, count))) for count in (5, 3)] for _ in range(2)
    )
    joint = kl_divergence(joint_logits(*true), joint_logits(*generated))
    separate = [kl_divergence(p, q) for p, q in zip(true, generated, strict=True)]
    np.testing.assert_allclose(joint, separate[0] + separate[1], rtol=1e-9)


def test_tagger_without_a_class_for_silence_is_refused():
    with pytest.raises(ConfigError, match="expected 'nothing' among the materials"):
        TaggerConfig(materials=("wood",), kinds=("drop",))


@pytest.mark.parametrize("lags", [0, 3, 7])
def test_diagonal_means_are_mean_products_at_each_lag(lags):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 8)), rng.normal(size=(2, 8))
    products = torch.from_numpy(first[:, None, :, None] * second[:, None, None, :])
    means = diagonal_means(products, lags)
    assert means.shape == (2, 1, 2 * lags + 1)
    for lag in range(-lags, lags + 1):
        pairs = [first[:, t] * second[:, t + lag] for t in range(8) if 0 <= t + lag < 8]
        np.testing.assert_allclose(means[:, 0, lags + lag], np.mean(pairs, 0), rtol=1e-9)


def test_diagonal_means_peak_at_the_lag_of_a_late_sound():
    track, late = torch.eye(32)[[10, 14]]
    means = diagonal_means((track[:, None] * late)[None, None], 8)
    assert int(means[0, 0].argmax()) == 8 + 4


def test_video_features_are_interpolated_at_the_times_of_the_frames():
    sync = small_sync()
    sync.video_temporal = torch.nn.Identity()
    pixels = torch.randint(0, 255, (1, 5 + 4, 3, 16, 16), dtype=torch.uint8)
    times_s = torch.tensor([[0.01, 0.05, 0.11, 0.29, 0.55]])  # the first is at a grid centre
    with torch.no_grad():
        features = sync.video_input(sync.encoder(pixels))[0]
        on_grid = sync.encode_video(pixels, times_s, 32)[0]
    torch.testing.assert_close(on_grid[0], features[0])
    torch.testing.assert_close(on_grid[2], features[1])
    torch.testing.assert_close(on_grid[14], features[3])
    torch.testing.assert_close(on_grid[31], features[4])  # after the last frame
    # 0.03 s is half way between the first two frames, 0.07 s a third between the next two.
    torch.testing.assert_close(on_grid[1], (features[0] + features[1]) / 2)
    torch.testing.assert_close(on_grid[3], features[1] * 2 / 3 + features[2] / 3)


def test_frames_of_another_size_are_resized():
    sync = small_sync()
    flat = torch.full((1, 9, 3, 40, 40), 77, dtype=torch.uint8)
    times_s = torch.arange(5)[None] * 0.04
    with torch.no_grad():
        resized = sync.encode_video(flat, times_s, 10)
        cut = sync.encode_video(flat[..., :16, :16], times_s, 10)
    torch.testing.assert_close(resized, cut)


def test_features_of_sound_and_video_have_one_grid():
    sync = small_sync()
    with torch.no_grad():
        sound = sync.encode_audio(torch.randn(2, 64, 64))
        assert sound.shape == (2, 32, 8)
        assert sync.compare(sound, sound).shape == (2, 3)


def test_invalid_sync_settings_are_refused():
    with pytest.raises(ConfigError, match=r"longest_lag_s=3.0 \(below window_s=2.56"):
        SyncConfig(longest_lag_s=3.0)
    with pytest.raises(ConfigError, match=r"grid_rate_hz=30 \(a divisor of 100"):
        SyncConfig(grid_rate_hz=30)


def test_sync_probability_assumes_as_many_pairs_in_sync_as_not():
    assert sync_probability(torch.zeros(1, 3)).item() == pytest.approx(0.5)
    # Bayes' rule: likelihoods of the three classes, one pair in sync for each one that is not
    likelihoods = torch.tensor([[0.3, 0.1, 0.5]])
    expected = 0.3 * 0.5 / (0.3 * 0.5 + (0.1 + 0.5) * 0.25)
    assert sync_probability(likelihoods.log() + 2.0).item() == pytest.approx(expected)
