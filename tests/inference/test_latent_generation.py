"""Latents of a clip, generated window by window from a stream of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foleyflow.inference import latent_generation, material_choice
from foleyflow.inference.latent_generation import (
    ClipFindings,
    FeatureStream,
    LatentChunk,
    generate_latents,
)
from foleyflow.inference.material_choice import GUESS_WINDOWS, material_of_clip
from foleyflow.inference.windows import WindowPlan
from foleyflow.parallel.precision import PRECISION_VARIABLE
from foleyflow.system.stopwatch import Stopwatch

SIZE = 16
PLAN = WindowPlan(length=12, context=3, ahead=2)


def film(times_s, seed: int = 0) -> list[tuple[float, np.ndarray]]:
    random = np.random.default_rng(seed)
    return [(float(t), random.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)) for t in times_s]


def stream(aligner, flow, frames, **settings):
    settings = {"seed": 0, "steps": 1, "guidance": 1.0, "material": 0, "plan": PLAN, **settings}
    return generate_latents(aligner, flow, iter(frames), **settings)


def generate(aligner, flow, frames, **settings):
    return list(stream(aligner, flow, frames, **settings))


def joined(chunks) -> torch.Tensor:
    return torch.cat([chunk.latents for chunk in chunks], 1)


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
        assert len(stream._features) <= len(inside) + latent_generation.FRAMES_PER_BATCH


def test_no_more_frames_are_read_than_needed(aligner):
    taken = []

    def frames():
        for number, pair in enumerate(film(np.arange(400) / 25.0)):
            taken.append(number)
            yield pair

    FeatureStream(aligner, frames(), Stopwatch()).between(0.0, 0.96)
    half = aligner.encoder.config.window // 2
    assert len(taken) <= 24 + half + latent_generation.FRAMES_PER_BATCH


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


@pytest.mark.parametrize("duration_s", [0.01, 0.5, 0.96, 1.0, 3.21])
def test_chunks_cover_the_clip(aligner, flow, duration_s):
    done = []
    frames = film(np.arange(0, duration_s, 1 / 25))
    stopwatch = Stopwatch()
    chunks = generate(
        aligner, flow, frames, duration_s=duration_s, on_window=done.append, stopwatch=stopwatch
    )
    count = 4 * int(np.ceil(duration_s / 0.08 - 1e-6))
    latents = joined(chunks)
    assert latents.shape == (1, count, 48)
    assert bool(torch.isfinite(latents).all())
    for chunk in chunks:
        assert chunk.material.sum() == pytest.approx(1.0, abs=1e-4)
    assert done == sorted(done) and done[-1] == pytest.approx(duration_s)
    assert len(done) == len(chunks)
    assert stopwatch.seconds.keys() == {"decode", "encode", "align", "flow"}


@pytest.mark.parametrize("times_s", [[0.0], [0.0, 0.04, 4.8], np.r_[0:1:0.04, 4:5:0.04]])
def test_few_frames_and_long_gaps_work(aligner, flow, times_s):
    latents = joined(generate(aligner, flow, film(times_s), duration_s=5.0))
    assert latents.shape == (1, 252, 48)
    assert bool(torch.isfinite(latents).all())


def test_the_batch_size_of_the_encoder_does_not_change_the_latents(aligner, flow, monkeypatch):
    frames = film(np.arange(0, 3, 1 / 30))
    plain = joined(generate(aligner, flow, frames, duration_s=3.0))
    for count in (1, 7, 500):
        monkeypatch.setattr(latent_generation, "FRAMES_PER_BATCH", count)
        same = joined(generate(aligner, flow, frames, duration_s=3.0))
        torch.testing.assert_close(same, plain, atol=1e-4, rtol=1e-4)


def test_latents_depend_on_the_seed(aligner, flow):
    frames = film(np.arange(0, 2, 1 / 25))
    one, same, other = (
        joined(generate(aligner, flow, frames, duration_s=2.0, seed=s)) for s in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)


def test_each_window_has_different_noise(aligner, flow):
    noises = [latent_generation._noise(0, window, 8, 32) for window in range(3)]
    assert not torch.equal(noises[0], noises[1])
    assert torch.equal(noises[1], latent_generation._noise(0, 1, 8, 32))
    assert float(torch.cat(noises).std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("change", [{"steps": 3}, {"guidance": 3.0}, {"material": 2}])
def test_every_setting_changes_the_latents(aligner, flow, change):
    frames = film(np.arange(0, 1, 1 / 25))
    plain = joined(generate(aligner, flow, frames, duration_s=1.0))
    assert not torch.allclose(
        joined(generate(aligner, flow, frames, duration_s=1.0, **change)), plain
    )


def test_the_frames_change_the_latents(aligner, flow):
    one, other = (
        joined(generate(aligner, flow, film(np.arange(0, 1, 0.04), seed), duration_s=1.0))
        for seed in (1, 2)
    )
    assert not torch.allclose(one, other, atol=1e-3)


def test_a_window_depends_on_the_previous_one_through_its_context(aligner, flow):
    frames = film(np.arange(0, 1.6, 1 / 25))
    plain = generate(aligner, flow, frames, duration_s=1.6)
    assert len(plain) > 1
    assert plain[0].latents.shape[1] == (PLAN.length - PLAN.ahead) * 4
    # Other first frames change the first window, and the second one, which does not contain them.
    changed = [(t, p if t >= 0.3 else 255 - p) for t, p in frames]
    half = aligner.encoder.config.window // 2
    assert min(t for t, _ in frames if t >= PLAN.hop * 0.08) > 0.3 + half / 25
    other = generate(aligner, flow, changed, duration_s=1.6)
    assert not torch.allclose(other[0].latents, plain[0].latents, atol=1e-4)
    assert not torch.allclose(other[1].latents, plain[1].latents, atol=1e-4)


@pytest.mark.parametrize(("windows", "label"), [(24, 2), (2, 1)])
def test_the_guessed_material_is_the_same_in_all_windows(
    aligner, flow, monkeypatch, windows, label
):
    # Probabilities of wood and metal: the first two windows favour wood, all together metal.
    probabilities = [(0.6, 0.4), (0.4, 0.5), (0.1, 0.9), (0.9, 0.1), (0.1, 0.9)]
    returned = []

    def guide(*arguments, **options):
        materials = torch.zeros(1, aligner.config.materials)
        materials[0, :2] = torch.tensor(probabilities[len(returned)])
        returned.append(materials)
        return replace(original(*arguments, **options), materials=materials)

    frames = film(np.arange(0, 3.0, 1 / 25))
    settings = {"duration_s": 3.0, "material": 0}
    plain = joined(generate(aligner, flow, frames, **settings))
    given = [joined(generate(aligner, flow, frames, **settings | {"material": m})) for m in (1, 2)]
    original = aligner.flow_condition
    monkeypatch.setattr(aligner, "flow_condition", guide)
    for module in (latent_generation, material_choice):
        monkeypatch.setattr(module, "GUESS_WINDOWS", windows)
    chunks = generate(aligner, flow, frames, **settings, guess_material=True)
    assert len(chunks) == len(returned) == 5
    assert torch.equal(joined(chunks), given[label - 1])
    assert not torch.allclose(given[0], given[1]) and not torch.allclose(given[0], plain)
    expected = torch.cat(returned).numpy()
    np.testing.assert_allclose([chunk.material for chunk in chunks], expected)
    assert material_of_clip(list(expected)).argmax() + 1 == label


def test_progress_is_reported_while_the_material_is_guessed(aligner, flow):
    done = []
    frames = film(np.arange(0, 3.0, 1 / 25))
    settings = {"duration_s": 3.0, "on_window": done.append, "guess_material": True}
    first = next(stream(aligner, flow, frames, **settings))
    assert len(done) == 5 and done[-1] == pytest.approx(3.0)
    assert first.latents.shape[1] == 4 * (PLAN.length - PLAN.ahead)


def test_findings_do_not_keep_latents():
    probabilities = np.array([0.25, 0.75], np.float32)
    findings = ClipFindings()
    chunks = (
        LatentChunk(latents=torch.zeros(1, 8, 4), events_s=(k + 0.5,), material=probabilities)
        for k in range(GUESS_WINDOWS + 5)
    )
    assert [latents.shape[1] for latents in findings.collect(chunks)] == [8] * (GUESS_WINDOWS + 5)
    assert findings.events_s == [k + 0.5 for k in range(GUESS_WINDOWS + 5)]
    assert len(findings.materials) == GUESS_WINDOWS
    assert set(vars(findings)) == {"events_s", "materials"}
