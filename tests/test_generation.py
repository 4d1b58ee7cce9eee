"""Windows over a stream of frames: complete, in order, the same however the frames come."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foleyflow import generation
from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.encoders.motion import MotionEncoder, MotionEncoderConfig
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer
from foleyflow.generation import Stopwatch, WindowPlan, _FeatureStream, generate_latents, sample

SIZE = 16
PLAN = WindowPlan(length=12, context=3, ahead=2)


@pytest.fixture(scope="module")
def aligner():
    torch.manual_seed(0)
    encoder = MotionEncoder(MotionEncoderConfig(size=SIZE, widths=(4, 4, 8, 8), dim=16))
    config = AlignmentConfig(width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1)
    return Alignment(config, encoder=encoder).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(1)
    config = FlowConfig(
        width=16, layers=1, heads=2, guide_width=16, material_names=("wood", "metal")
    )
    network = FlowTransformer(config).eval().requires_grad_(False)
    for value in network.parameters():
        if float(value.abs().max()) == 0:
            value.normal_(std=0.2)
    network.latent_mean.normal_()
    network.latent_deviation.uniform_(0.5, 2.0)
    return network


def film(times_s, seed: int = 0) -> list[tuple[float, np.ndarray]]:
    random = np.random.default_rng(seed)
    return [(float(t), random.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)) for t in times_s]


def generate(aligner, flow, frames, *, duration_s, on_window=lambda done_s: None, **settings):
    settings = {"seed": 0, "steps": 1, "guidance": 1.0, "material": 0, "plan": PLAN, **settings}
    watch = settings.pop("watch", Stopwatch({}))
    return list(
        generate_latents(
            aligner,
            flow,
            iter(frames),
            duration_s=duration_s,
            watch=watch,
            on_window=on_window,
            **settings,
        )
    )


def whole(pieces) -> torch.Tensor:
    return torch.cat([piece.latents for piece in pieces], 1)


# ---------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize("plan", [WindowPlan(), PLAN, WindowPlan(length=7, context=1, ahead=0)])
def test_windows_cover_everything_exactly_once(plan):
    for segments in range(1, 200):
        covered, kept_before = 0, None
        for start, length, kept in plan.cut(segments):
            assert 0 < kept <= length <= plan.length
            assert start + length <= segments
            if kept_before is not None:
                # It begins with what the window before made, as long as the context.
                assert start + plan.context == covered
            assert start + kept > covered
            covered = kept_before = start + kept
        assert covered == segments


def test_all_but_the_last_window_leave_their_end_to_the_next():
    cuts = list(WindowPlan().cut(100))
    assert cuts == [(0, 40, 35), (25, 40, 35), (50, 40, 35), (75, 25, 25)]
    assert list(WindowPlan().cut(40)) == [(0, 40, 40)]


# ---------------------------------------------------------------------------------- features


def test_a_stream_of_features_is_that_of_the_whole_clip(aligner):
    frames = film(np.arange(90) / 30.0)
    padded = [frames[0][1]] * 2 + [p for _, p in frames] + [frames[-1][1]] * 2
    pixels = torch.from_numpy(np.stack(padded)).permute(0, 3, 1, 2)[None]
    at_once = aligner.watch(pixels, torch.tensor([[t for t, _ in frames]]))[0]
    stream = _FeatureStream(aligner, iter(frames), Stopwatch({}))
    for start_s, end_s in ((0.0, 0.96), (0.8, 1.76), (1.6, 2.56), (2.4, 3.0)):
        values, times_s = stream.between(start_s, end_s)
        inside = [n for n, (t, _) in enumerate(frames) if start_s - 1e-6 <= t < end_s - 1e-6]
        torch.testing.assert_close(values[0], at_once[inside], atol=1e-5, rtol=1e-4)
        wanted = torch.tensor([frames[n][0] - start_s for n in inside])
        torch.testing.assert_close(times_s[0], wanted.clamp_min(0), atol=1e-6, rtol=0)
        # What is behind is forgotten.
        assert len(stream._features) <= len(inside) + generation.FRAMES_AT_ONCE


def test_no_more_frames_are_taken_than_needed(aligner):
    taken = []

    def frames():
        for number, pair in enumerate(film(np.arange(400) / 25.0)):
            taken.append(number)
            yield pair

    _FeatureStream(aligner, frames(), Stopwatch({})).between(0.0, 0.96)
    assert len(taken) <= 24 + 2 + generation.FRAMES_AT_ONCE


def test_a_frame_stays_until_the_next(aligner):
    frames = film([0.0, 0.04, 5.0, 5.04])
    stream = _FeatureStream(aligner, iter(frames), Stopwatch({}))
    first, _ = stream.between(0.0, 1.0)
    assert first.shape[1] == 2
    for start_s in (1.0, 2.0, 3.5):
        held, times_s = stream.between(start_s, start_s + 1.0)
        assert torch.equal(held[0], first[0, 1:])
        assert times_s.tolist() == [[0.0]]
    later, times_s = stream.between(4.5, 5.5)
    assert later.shape[1] == 2
    assert times_s[0].tolist() == pytest.approx([0.5, 0.54], abs=1e-6)


def test_times_keep_their_milliseconds_after_hours(aligner):
    stream = _FeatureStream(aligner, iter(film([36_000.1234, 36_000.1634])), Stopwatch({}))
    _, times_s = stream.between(36_000.0, 36_001.0)
    assert times_s[0].tolist() == pytest.approx([0.1234, 0.1634], abs=1e-5)


# ---------------------------------------------------------------------------------- latents


@pytest.mark.parametrize("duration_s", [0.01, 0.5, 0.96, 1.0, 3.21])
def test_the_pieces_cover_the_clip(aligner, flow, duration_s):
    done = []
    frames = film(np.arange(0, duration_s, 1 / 25))
    watch = Stopwatch({})
    pieces = generate(
        aligner, flow, frames, duration_s=duration_s, on_window=done.append, watch=watch
    )
    count = 4 * int(np.ceil(duration_s / 0.08 - 1e-6))
    latents = whole(pieces)
    assert latents.shape == (1, count, 32)
    assert bool(torch.isfinite(latents).all())
    assert sum(len(piece.onsets) for piece in pieces) == count
    for piece in pieces:
        assert piece.latents.shape[1] == len(piece.onsets)
        assert piece.material.sum() == pytest.approx(1.0, abs=1e-4)
    assert done == sorted(done) and done[-1] == pytest.approx(duration_s)
    assert len(done) == len(pieces)
    assert watch.seconds.keys() == {"decode", "encode", "align", "flow"}


@pytest.mark.parametrize("times_s", [[0.0], [0.0, 0.04, 4.8], np.r_[0:1:0.04, 4:5:0.04]])
def test_few_frames_and_long_gaps_are_no_trouble(aligner, flow, times_s):
    latents = whole(generate(aligner, flow, film(times_s), duration_s=5.0))
    assert latents.shape == (1, 252, 32)
    assert bool(torch.isfinite(latents).all())


def test_how_many_frames_come_at_once_changes_nothing(aligner, flow, monkeypatch):
    frames = film(np.arange(0, 3, 1 / 30))
    plain = whole(generate(aligner, flow, frames, duration_s=3.0))
    for count in (1, 7, 500):
        monkeypatch.setattr(generation, "FRAMES_AT_ONCE", count)
        same = whole(generate(aligner, flow, frames, duration_s=3.0))
        torch.testing.assert_close(same, plain, atol=1e-4, rtol=1e-4)


def test_the_seed_decides(aligner, flow):
    frames = film(np.arange(0, 2, 1 / 25))
    one, same, other = (
        whole(generate(aligner, flow, frames, duration_s=2.0, seed=s)) for s in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)


def test_each_window_has_noise_of_its_own(aligner, flow):
    noises = [generation._noise(0, window, 8, 32) for window in range(3)]
    assert not torch.equal(noises[0], noises[1])
    assert torch.equal(noises[1], generation._noise(0, 1, 8, 32))
    assert float(torch.cat(noises).std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("change", [{"steps": 3}, {"guidance": 3.0}, {"material": 2}])
def test_every_setting_changes_the_result(aligner, flow, change):
    frames = film(np.arange(0, 1, 1 / 25))
    plain = whole(generate(aligner, flow, frames, duration_s=1.0))
    assert not torch.allclose(
        whole(generate(aligner, flow, frames, duration_s=1.0, **change)), plain
    )


def test_the_pictures_change_the_result(aligner, flow):
    one, other = (
        whole(generate(aligner, flow, film(np.arange(0, 1, 0.04), seed), duration_s=1.0))
        for seed in (1, 2)
    )
    assert not torch.allclose(one, other, atol=1e-3)


def test_a_window_goes_on_from_what_the_one_before_made(aligner, flow):
    """The second window's latents depend on the first one's, through their common context."""
    frames = film(np.arange(0, 1.6, 1 / 25))
    plain = generate(aligner, flow, frames, duration_s=1.6)
    assert len(plain) > 1
    assert plain[0].latents.shape[1] == (PLAN.length - PLAN.ahead) * 4
    # Another first picture changes the first window, and so the second, which never sees it.
    changed = [(t, p if t >= 0.3 else 255 - p) for t, p in frames]
    assert min(t for t, _ in frames if t >= PLAN.hop * 0.08) > 0.3 + 2 / 25
    other = generate(aligner, flow, changed, duration_s=1.6)
    assert not torch.allclose(other[0].latents, plain[0].latents, atol=1e-4)
    assert not torch.allclose(other[1].latents, plain[1].latents, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 4])
def test_known_latents_are_given_back_unchanged(flow, steps):
    torch.manual_seed(0)
    known = (torch.arange(40) < 13)[None]
    context = torch.randn(1, 40, 32) * known[..., None]
    condition = Condition(
        video=torch.randn(1, 40, 16),
        states=torch.randn(1, 10, 16),
        onsets=torch.rand(1, 40),
        material=torch.zeros(1, dtype=torch.int64),
        context=context,
        known=known,
    )
    made = sample(flow, condition, torch.randn(1, 40, 32), steps=steps, guidance=1.0)
    assert torch.equal(made[:, :13], context[:, :13])
    assert float(made[:, 13:].abs().min()) > 0
