"""VAMA's network: masked audio and padding have no influence, and times are in seconds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foleyflow.alignment.losses import reconstruction_losses
from foleyflow.alignment.masking import sample_visible_mask
from foleyflow.alignment.model import (
    LONGEST_GAP_S,
    Alignment,
    AlignmentConfig,
    frame_gaps,
    interpolate_in_time,
)
from foleyflow.alignment.targets import MelPatches, SegmentLogMel
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError

CONFIG = AlignmentConfig(width=16, heads=4, video_layers=1, audio_layers=1, decoder_layers=2)
SEGMENTS = 10
SAMPLES = round(CONFIG.segment_s * 48_000)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    encoder = MotionEncoder(MotionEncoderConfig(size=32, widths=(4, 4, 8), dim=16))
    return Alignment(CONFIG, encoder=encoder).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def patches():
    return MelPatches(CONFIG, SegmentLogMel(CONFIG, rate_hz=48_000))


def features(batch: int, count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, count, CONFIG.width, generator=torch.Generator().manual_seed(seed))


def times(batch: int, count: int, rate_hz: float = 25.0) -> torch.Tensor:
    return (torch.arange(count) / rate_hz).expand(batch, -1)


def sampled_mask(batch: int, ratio: float, longest: int, generator: torch.Generator):
    return sample_visible_mask(
        batch,
        SEGMENTS,
        frames_per_segment=CONFIG.mel_frames_per_segment,
        ratio=ratio,
        longest_block=longest,
        generator=generator,
    )


def decode(model, mel=None, visible=None, seed=0) -> dict[str, torch.Tensor]:
    return vars(
        model.reconstruct(
            features(2, 20, seed), times(2, 20), mel=mel, visible=visible, segments=SEGMENTS
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_masked_audio_has_no_influence(model, patches, seed):
    random = torch.Generator().manual_seed(seed)
    visible = sampled_mask(2, 0.7, 3, random)
    sound = torch.randn(2, SEGMENTS * SAMPLES, generator=random)
    other = torch.randn(2, SEGMENTS * SAMPLES, generator=random)
    same = visible.repeat_interleave(SAMPLES, dim=1)
    one = decode(model, patches(sound), visible)
    masked_changed = decode(model, patches(torch.where(same, sound, other)), visible)
    visible_changed = decode(model, patches(torch.where(same, other, sound)), visible)
    for name, value in one.items():
        assert torch.equal(value, masked_changed[name]), name
        assert not torch.allclose(value, visible_changed[name], atol=1e-4), name


def test_a_fully_masked_sample_ignores_the_audio(model, patches):
    sound = torch.randn(2, SEGMENTS * SAMPLES)
    visible = torch.zeros(2, SEGMENTS, dtype=torch.bool)
    visible[1, :4] = True
    partly = decode(model, patches(sound), visible)
    silent = decode(model)
    for name, value in partly.items():
        torch.testing.assert_close(value[0], silent[name][0], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(value[1], silent[name][1], atol=1e-3)


def test_the_video_changes_the_reconstruction(model):
    one, other = (decode(model, seed=seed)["states"] for seed in (1, 2))
    assert not torch.allclose(one, other, atol=1e-3)


def test_padding_has_no_influence(model, patches):
    count, padded = 14, 20
    present = (torch.arange(padded) < count).expand(2, -1)
    padded_features = features(2, padded) * present[..., None]
    stamps = times(2, padded, rate_hz=17.5).clone()
    stamps[:, count:] = stamps[:, count - 1 : count] + 0.04 * torch.arange(1, 1 + padded - count)
    visible = sampled_mask(2, 0.5, 2, torch.Generator().manual_seed(0))
    mel = patches(torch.randn(2, SEGMENTS * SAMPLES))
    got = model.add_temporal_context(padded_features, stamps, present)
    wanted = model.add_temporal_context(padded_features[:, :count], stamps[:, :count])
    torch.testing.assert_close(got[:, :count], wanted, atol=1e-5, rtol=1e-4)
    kwargs = {"mel": mel, "visible": visible, "segments": SEGMENTS}
    # Features of padding have no influence either
    got[:, count:] = 100.0
    with_padding = model.reconstruct(got, stamps, present=present, **kwargs)
    without = model.reconstruct(wanted, stamps[:, :count], **kwargs)
    for name, value in vars(without).items():
        torch.testing.assert_close(getattr(with_padding, name), value, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        model.classify_material(got, present), model.classify_material(wanted)
    )


def test_segments_without_video_in_their_window_ignore_padding(model):
    # One frame at the start and padding everywhere else: late segments have only padding within the
    # window of the local heads.
    present = torch.tensor([[True] + [False] * 19])
    video = features(1, 20)
    other = torch.where(present[..., None], video, 50.0)
    one, two = (
        model.reconstruct(v, times(1, 20), segments=SEGMENTS, present=present)
        for v in (video, other)
    )
    torch.testing.assert_close(one.states, two.states)
    torch.testing.assert_close(one.onsets, two.onsets)


def test_video_features_depend_on_time_differences_only(model):
    video, stamps = features(2, 20), times(2, 20)
    torch.testing.assert_close(
        model.add_temporal_context(video, stamps + 5.0),
        model.add_temporal_context(video, stamps),
        atol=2e-3,
        rtol=0,
    )


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("segments", [1, 10])
def test_shapes_and_ranges_of_the_flow_condition(model, count, segments):
    condition = model.flow_condition(features(2, count), times(2, count), segments=segments)
    frames = segments * CONFIG.latents_per_segment
    assert condition.video.shape == (2, frames, CONFIG.width)
    assert condition.states.shape == (2, segments, CONFIG.width)
    assert condition.onsets.shape == (2, frames)
    for value in (condition.video, condition.states, condition.onsets):
        assert bool(torch.isfinite(value).all())
    assert 0 <= float(condition.onsets.min()) and float(condition.onsets.max()) <= 1


def test_features_of_padded_frames_are_zero(model):
    pixels = torch.randint(0, 256, (1, 5 + 4, 3, 32, 32), dtype=torch.uint8)
    present = torch.tensor([[True, True, True, False, False]])
    encoded = model.encode_video(pixels, present=present)
    assert encoded.shape == (1, 5, CONFIG.width)
    assert torch.equal(encoded[:, 3:], torch.zeros(1, 2, CONFIG.width))
    assert bool(encoded[:, :3].abs().sum() > 0)


def test_heads_of_odd_width_are_refused():
    with pytest.raises(ConfigError, match="width=20, heads=4: expected an even number of heads"):
        AlignmentConfig(width=20, heads=4)
    with pytest.raises(ConfigError, match="width=18, heads=3: expected an even number of heads"):
        AlignmentConfig(width=18, heads=3)


def test_segments_of_one_frame_are_refused():
    with pytest.raises(ConfigError, match="mel_frames_per_segment=1: expected at least 2"):
        AlignmentConfig(mel_frames_per_segment=1)


# ---------------------------------------------------------------------------------- time


def test_gaps_between_frames():
    stamps = torch.tensor([[0.0, 0.1, 0.3, 5.0]])
    wanted = torch.tensor([[[0.1, 0.1], [0.1, 0.2], [0.2, 1.0], [1.0, 1.0]]])
    torch.testing.assert_close(frame_gaps(stamps), wanted)


def test_a_single_frame_has_the_longest_gaps():
    wanted = torch.full((2, 1, 2), LONGEST_GAP_S)
    assert torch.equal(frame_gaps(torch.tensor([[0.0], [3.0]])), wanted)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_gaps_to_padding_are_ignored(count):
    stamps = torch.tensor([[0.0, 0.1, 0.3, 0.34]])
    present = torch.arange(4)[None] < count
    got = frame_gaps(stamps, present)[:, :count]
    torch.testing.assert_close(got, frame_gaps(stamps[:, :count]))


def test_interpolation_is_linear_and_constant_beyond_the_ends():
    stamps = torch.tensor([[0.0, 0.1, 0.35, 1.0], [0.2, 0.3, 0.4, 0.5]])
    slopes = torch.tensor([1.0, -2.0])
    values = 3.0 + stamps[..., None] * slopes
    wanted_s = torch.tensor([-1.0, 0.0, 0.05, 0.1, 0.2, 0.34, 0.5, 0.99, 1.0, 7.0])
    got = interpolate_in_time(values, stamps, wanted_s)
    assert got.shape == (2, 10, 2)
    for row, (first, last) in enumerate([(0.0, 1.0), (0.2, 0.5)]):
        straight = 3.0 + wanted_s.clamp(first, last)[:, None] * slopes
        torch.testing.assert_close(got[row], straight)


def test_interpolation_of_one_frame_is_that_frame():
    value = torch.randn(2, 1, 3)
    got = interpolate_in_time(value, torch.zeros(2, 1), torch.tensor([0.0, 4.0]))
    assert torch.equal(got, value.expand(-1, 2, -1))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_interpolation_stops_at_the_last_frame_that_is_present(count):
    stamps = torch.tensor([[0.0, 0.1, 0.35, 1.0, 1.04]])
    values = torch.randn(1, 5, 3)
    wanted_s = torch.linspace(-0.1, 1.2, 30)
    got = interpolate_in_time(values, stamps, wanted_s, present=torch.arange(5)[None] < count)
    torch.testing.assert_close(
        got, interpolate_in_time(values[:, :count], stamps[:, :count], wanted_s)
    )


# ---------------------------------------------------------------------------------- collapse


def test_the_literal_objective_collapses_and_frozen_targets_do_not(patches):
    """Paper eq. 4 with features of the encoder that is being trained as targets."""
    random = torch.Generator().manual_seed(0)
    pool, batch = 96, 8
    level = torch.rand(pool, SEGMENTS, 1, generator=random).expand(-1, -1, SAMPLES).flatten(1)
    mel = patches(level * torch.randn(pool, SEGMENTS * SAMPLES, generator=random))
    frozen = {
        "latents": torch.randn(pool, 4 * SEGMENTS, CONFIG.latent_channels, generator=random),
        "mel": patches.targets(mel),
    }

    def trained(literal: bool, steps: int) -> tuple[float, float]:
        """The last loss, and the deviation of the audio features relative to the start."""
        torch.manual_seed(0)
        random = torch.Generator().manual_seed(0)
        model = Alignment(CONFIG, encoder=nn.Identity())
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)

        with torch.no_grad():
            before = float(model.encode_audio(mel).std((0, 1)).mean())
        for step in range(steps):
            rows = torch.randint(pool, (batch,), generator=random)
            visible = sampled_mask(batch, 0.8, 2, random)
            video = features(batch, 20, seed=step)
            out = model.reconstruct(
                video, times(batch, 20), mel=mel[rows], visible=visible, segments=SEGMENTS
            )
            if literal:
                loss = (
                    (out.states - model.encode_audio(mel[rows])).square().mean(-1)[~visible].mean()
                )
            else:
                wanted = {name: value[rows] for name, value in frozen.items()}
                parts = reconstruction_losses(out, masked=~visible, **wanted)
                loss = parts["latent"] + parts["mel"] + parts["energy"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            after = float(model.encode_audio(mel).std((0, 1)).mean())
        return float(loss.detach()), after / before

    literal_loss, literal_spread = trained(True, 150)
    frozen_loss, frozen_spread = trained(False, 50)
    assert literal_loss < 0.05 and literal_spread < 0.7, (literal_loss, literal_spread)
    assert frozen_loss > 0.5 and frozen_spread > 5.0, (frozen_loss, frozen_spread)
