"""Windows over a stream of frames: complete, in order, the same however the frames come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError
from foleyflow.event_peaks import event_track
from foleyflow.flow.path import PATHS
from foleyflow.flow.samplers import SAMPLERS
from foleyflow.flow.transformer import Condition, FlowConfig, FlowTransformer
from foleyflow.inference import latent_generation
from foleyflow.inference.latent_generation import (
    EVENT_THRESHOLD,
    FeatureStream,
    Stopwatch,
    WindowPlan,
    _Events,
    generate_latents,
    sample,
)
from foleyflow.parallel.precision import PRECISION_VARIABLE

SIZE = 16
PLAN = WindowPlan(length=12, context=3, ahead=2)


@pytest.fixture(scope="module")
def aligner():
    torch.manual_seed(0)
    encoder = MotionEncoder(MotionEncoderConfig(size=SIZE, widths=(4, 4, 8), dim=16))
    config = AlignmentConfig(
        width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1, materials=2
    )
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


def stream(aligner, flow, frames, *, duration_s, on_window=lambda done_s: None, **settings):
    settings = {"seed": 0, "steps": 1, "guidance": 1.0, "material": 0, "plan": PLAN, **settings}
    watch = settings.pop("watch", Stopwatch({}))
    return generate_latents(
        aligner,
        flow,
        iter(frames),
        duration_s=duration_s,
        watch=watch,
        on_window=on_window,
        **settings,
    )


def generate(aligner, flow, frames, **settings):
    return list(stream(aligner, flow, frames, **settings))


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
    assert cuts == [(0, 40, 35), (32, 40, 35), (64, 36, 36)]
    assert list(WindowPlan().cut(40)) == [(0, 40, 40)]


def test_half_of_a_short_window_is_new():
    assert WindowPlan.of_length(40) == WindowPlan()
    for length in range(1, 64):
        plan = WindowPlan.of_length(length)
        assert plan.length == length and 2 * plan.hop >= length
        assert plan.context <= 3 and plan.ahead <= 5


# ---------------------------------------------------------------------------------- features


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_a_stream_of_features_is_that_of_the_whole_clip(aligner, monkeypatch, precision, tolerance):
    monkeypatch.setenv(PRECISION_VARIABLE, precision)
    frames = film(np.arange(90) / 30.0)
    half = aligner.encoder.config.window // 2
    padded = [frames[0][1]] * half + [p for _, p in frames] + [frames[-1][1]] * half
    pixels = torch.from_numpy(np.stack(padded)).permute(0, 3, 1, 2)[None]
    at_once = aligner.watch(pixels, torch.tensor([[t for t, _ in frames]]))[0]
    stream = FeatureStream(aligner, iter(frames), Stopwatch({}))
    for start_s, end_s in ((0.0, 0.96), (0.8, 1.76), (1.6, 2.56), (2.4, 3.0)):
        values, times_s = stream.between(start_s, end_s)
        inside = [n for n, (t, _) in enumerate(frames) if start_s - 1e-6 <= t < end_s - 1e-6]
        assert values.dtype == torch.float32
        torch.testing.assert_close(values[0], at_once[inside], atol=tolerance, rtol=1e-4)
        wanted = torch.tensor([frames[n][0] - start_s for n in inside])
        torch.testing.assert_close(times_s[0], wanted.clamp_min(0), atol=1e-6, rtol=0)
        # What is behind is forgotten.
        assert len(stream._features) <= len(inside) + latent_generation.FRAMES_AT_ONCE


def test_no_more_frames_are_taken_than_needed(aligner):
    taken = []

    def frames():
        for number, pair in enumerate(film(np.arange(400) / 25.0)):
            taken.append(number)
            yield pair

    FeatureStream(aligner, frames(), Stopwatch({})).between(0.0, 0.96)
    half = aligner.encoder.config.window // 2
    assert len(taken) <= 24 + half + latent_generation.FRAMES_AT_ONCE


def test_a_frame_stays_until_the_next(aligner):
    frames = film([0.0, 0.04, 5.0, 5.04])
    stream = FeatureStream(aligner, iter(frames), Stopwatch({}))
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
    stream = FeatureStream(aligner, iter(film([36_000.1234, 36_000.1634])), Stopwatch({}))
    _, times_s = stream.between(36_000.0, 36_001.0)
    assert times_s[0].tolist() == pytest.approx([0.1234, 0.1634], abs=1e-5)


# ---------------------------------------------------------------------------------- events


def over_windows(times_s: np.ndarray, *, segments: int, plan: WindowPlan = PLAN):
    """(settled events, tracks by window) where each window's probability shows the events."""
    events, settled, tracks = _Events(50.0), [], []
    known_s = 0.0
    for start, length, kept in plan.cut(segments):
        start_s = start * 0.08
        probability = event_track(times_s - start_s, length * 4, 50.0)
        tracks.append(events.track(probability, start_s=start_s, known_s=known_s))
        known_s = (start + kept) * 0.08
        settled += events.settle(known_s)
    return settled, tracks


def test_each_event_is_found_once_whatever_window_it_is_in():
    random = np.random.default_rng(0)
    for _ in range(20):
        times_s = np.cumsum(random.uniform(0.08, 0.4, 12))
        settled, _ = over_windows(times_s[times_s < 3.9], segments=50)
        np.testing.assert_allclose(settled, times_s[times_s < 3.9], atol=0.0151)


def test_what_is_settled_is_shown_to_the_next_window_and_not_doubled():
    events = _Events(50.0)
    first = event_track(np.array([0.51, 0.75]), 48, 50.0)
    np.testing.assert_array_equal(events.track(first, start_s=0.0, known_s=0.0) == 1.0, first == 1)
    assert events.settle(0.8) == pytest.approx((0.51, 0.75), abs=0.011)
    # The next window sees the same hit a frame later, and nothing of the first one any more.
    later = events.track(event_track(np.array([0.81 - 0.4]), 48, 50.0), start_s=0.4, known_s=0.8)
    assert events.settle(1.2) == pytest.approx((0.81,), abs=0.011)
    shown = event_track(np.array([0.11, 0.35, 0.41]), 48, 50.0)
    np.testing.assert_array_equal(later == 1.0, shown == 1.0)
    events = _Events(50.0)
    events.track(first, start_s=0.0, known_s=0.0)
    events.settle(0.76)
    events.track(event_track(np.array([0.77 - 0.4]), 48, 50.0), start_s=0.4, known_s=0.76)
    assert events.settle(1.2) == ()  # 20 ms after a hit that is in the sound already


def test_uncertain_peaks_are_no_events():
    events = _Events(50.0)
    unsure = 0.99 * EVENT_THRESHOLD * event_track(np.array([0.5]), 48, 50.0)
    assert events.track(unsure, start_s=0.0, known_s=0.0).max() == 0.0
    assert events.settle(9.0) == ()


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
    assert latents.shape == (1, count, 48)
    assert bool(torch.isfinite(latents).all())
    for piece in pieces:
        assert piece.material.sum() == pytest.approx(1.0, abs=1e-4)
    assert done == sorted(done) and done[-1] == pytest.approx(duration_s)
    assert len(done) == len(pieces)
    assert watch.seconds.keys() == {"decode", "encode", "align", "flow"}


@pytest.mark.parametrize("times_s", [[0.0], [0.0, 0.04, 4.8], np.r_[0:1:0.04, 4:5:0.04]])
def test_few_frames_and_long_gaps_are_no_trouble(aligner, flow, times_s):
    latents = whole(generate(aligner, flow, film(times_s), duration_s=5.0))
    assert latents.shape == (1, 252, 48)
    assert bool(torch.isfinite(latents).all())


def test_how_many_frames_come_at_once_changes_nothing(aligner, flow, monkeypatch):
    frames = film(np.arange(0, 3, 1 / 30))
    plain = whole(generate(aligner, flow, frames, duration_s=3.0))
    for count in (1, 7, 500):
        monkeypatch.setattr(latent_generation, "FRAMES_AT_ONCE", count)
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
    noises = [latent_generation._noise(0, window, 8, 32) for window in range(3)]
    assert not torch.equal(noises[0], noises[1])
    assert torch.equal(noises[1], latent_generation._noise(0, 1, 8, 32))
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
    half = aligner.encoder.config.window // 2
    assert min(t for t, _ in frames if t >= PLAN.hop * 0.08) > 0.3 + half / 25
    other = generate(aligner, flow, changed, duration_s=1.6)
    assert not torch.allclose(other[0].latents, plain[0].latents, atol=1e-4)
    assert not torch.allclose(other[1].latents, plain[1].latents, atol=1e-4)


@pytest.mark.parametrize(("windows", "label"), [(24, 2), (2, 1)])
def test_a_guessed_material_is_one_for_the_clip(aligner, flow, monkeypatch, windows, label):
    # Windows think so of wood and metal: the first two of wood, all together of metal.
    believed = [(0.6, 0.4), (0.4, 0.5), (0.1, 0.9), (0.9, 0.1), (0.1, 0.9)]
    seen = []

    def guide(*arguments, **settings):
        materials = torch.zeros(1, aligner.config.materials)
        materials[0, :2] = torch.tensor(believed[len(seen)])
        seen.append(materials)
        return replace(original(*arguments, **settings), materials=materials)

    frames = film(np.arange(0, 3.0, 1 / 25))
    asked = {"duration_s": 3.0, "material": 0}
    plain = whole(generate(aligner, flow, frames, **asked))
    told = [whole(generate(aligner, flow, frames, **asked | {"material": m})) for m in (1, 2)]
    original = aligner.guide
    monkeypatch.setattr(aligner, "guide", guide)
    monkeypatch.setattr(latent_generation, "GUESS_WINDOWS", windows)
    pieces = generate(aligner, flow, frames, **asked, guess_material=True)
    assert len(pieces) == len(seen) == 5
    assert torch.equal(whole(pieces), told[label - 1])
    assert not torch.allclose(told[0], told[1]) and not torch.allclose(told[0], plain)
    wanted = torch.cat(seen).numpy()
    np.testing.assert_allclose([piece.material for piece in pieces], wanted)
    assert latent_generation.material_of_clip(list(wanted)).argmax() + 1 == label


@pytest.mark.parametrize(
    ("probable", "chosen"),
    [
        ((0.2, 0.5, 0.3), "stone"),  # glass must be likelier than not
        ((0.2, 0.55, 0.25), "glass"),
        ((0.2, 0.35, 0.45), "stone"),
        ((0.45, 0.35, 0.2), "wood"),
    ],
)
def test_a_material_that_rings_is_chosen_only_where_it_is_likelier_than_not(probable, chosen):
    names = ("wood", "glass", "stone")
    index = latent_generation.choose_material(np.array(probable, np.float32), names)
    assert names[index] == chosen
    assert (
        latent_generation.choose_material(np.array([0.3, 0.7], np.float32), ("metal", "glass")) == 1
    )
    assert (
        latent_generation.choose_material(np.array([0.5, 0.5], np.float32), ("metal", "glass")) == 0
    )


def test_progress_moves_while_the_material_is_guessed(aligner, flow):
    done = []
    frames = film(np.arange(0, 3.0, 1 / 25))
    asked = {"duration_s": 3.0, "on_window": done.append, "guess_material": True}
    first = next(stream(aligner, flow, frames, **asked))
    assert len(done) == 5 and done[-1] == pytest.approx(3.0)
    assert first.latents.shape[1] == 4 * (PLAN.length - PLAN.ahead)


def partly_known() -> Condition:
    torch.manual_seed(0)
    known = (torch.arange(40) < 13)[None]
    return Condition(
        video=torch.randn(1, 40, 16),
        states=torch.randn(1, 10, 16),
        events=torch.rand(1, 40),
        material=torch.zeros(1, dtype=torch.int64),
        context=torch.randn(1, 40, 48) * known[..., None],
        known=known,
    )


@pytest.mark.parametrize("solver", ["map", *SAMPLERS])
@pytest.mark.parametrize("steps", [1, 4])
def test_known_latents_are_given_back_unchanged(flow, steps, solver):
    condition, noise = partly_known(), torch.randn(1, 40, 48)
    made = sample(flow, condition, noise, steps=steps, guidance=1.0, solver=solver)
    assert torch.equal(made[:, :13], condition.context[:, :13])
    assert float(made[:, 13:].abs().min()) > 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("solver", ["map", *SAMPLERS])
def test_known_latents_are_shown_on_the_path_at_every_step(flow, solver, path):
    condition, noise = partly_known(), torch.randn(1, 40, 48)
    seen = []
    hook = flow.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((args[0], float(kwargs["tau"]))), with_kwargs=True
    )
    sample(flow, condition, noise, steps=3, guidance=1.0, solver=solver, path=path)
    hook.remove()
    assert len(seen) >= 3
    for x, tau in seen:
        c = PATHS[path](torch.tensor(tau))
        wanted = (c.alpha * condition.context + c.sigma * noise)[:, :13]
        torch.testing.assert_close(x[:, :13], wanted)


def test_solvers_differ_and_agree_in_the_end(flow):
    condition, noise = partly_known(), torch.randn(1, 40, 48)

    def made(solver, steps):
        return sample(flow, condition, noise, steps=steps, guidance=2.0, solver=solver)

    fine = made("heun", 64)
    coarse = {solver: float((made(solver, 4) - fine).norm()) for solver in SAMPLERS}
    assert len(set(coarse.values())) == len(SAMPLERS)
    for solver in SAMPLERS:
        assert float((made(solver, 32) - fine).norm()) < 0.5 * coarse[solver]
    # The map jumps to r = 0; a solver only ever asks for the velocity at tau.
    assert not torch.allclose(made("map", 4), made("euler", 4), atol=1e-3)


def test_an_unknown_solver_is_refused(flow):
    with pytest.raises(ConfigError, match="'rk45': expected one of map, euler, midpoint"):
        sample(flow, partly_known(), torch.randn(1, 40, 48), steps=1, guidance=1.0, solver="rk45")
