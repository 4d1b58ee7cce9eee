"""Latents of a clip, generated window by window from its analysis and cues."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.films import PLAN, analyse_film, film

from foleyflow.cues.arrays import arrays_of, hits
from foleyflow.cues.cue import Cue
from foleyflow.cues.tracks import TrackLayout, condition_tracks
from foleyflow.inference import feature_stream
from foleyflow.inference.reference_sound import ReferenceSound
from foleyflow.inference.rendering import (
    Sampling,
    SeededFrames,
    _noise,
    generate_latents,
    regenerate_latents,
)
from foleyflow.inference.windows import WindowPlan

NAMES = ("wood", "metal")
TWO_HITS = hits(np.array([0.3, 0.7]))


@pytest.fixture(scope="module")
def two_seconds(aligner):
    return analyse_film(aligner, film(np.arange(0, 2, 1 / 25)), duration_s=2.0)


def pieces(
    flow, analysis, cues=TWO_HITS, *, plan=PLAN, seeded=(), **settings
) -> list[torch.Tensor]:
    sampling = Sampling(**{"seed": 0, "steps": 1, "guidance": 1.0, **settings})
    return list(
        generate_latents(flow, analysis.windows, cues, plan=plan, sampling=sampling, seeded=seeded)
    )


def latents(flow, analysis, cues=TWO_HITS, **settings) -> torch.Tensor:
    return torch.cat(pieces(flow, analysis, cues, **settings), 1)


def material(name: str):
    return arrays_of([Cue(time_s=0.3, material=name), Cue(time_s=0.7, material=name)], NAMES)


@pytest.mark.parametrize("duration_s", [0.01, 0.5, 0.96, 1.0, 3.21])
def test_windows_cover_the_clip(aligner, any_flow, duration_s):
    done = []
    frames = film(np.arange(0, duration_s, 1 / 25))
    analysis = analyse_film(aligner, frames, duration_s=duration_s, on_window=done.append)
    found = latents(any_flow, analysis, hits(np.array([0.0])))
    segments = int(np.ceil(duration_s / 0.08 - 1e-6))
    assert found.shape == (1, 4 * segments, 48)
    assert bool(torch.isfinite(found).all())
    assert done == sorted(done) and done[-1] == segments
    assert len(done) == len(analysis.windows)


@pytest.mark.parametrize("times_s", [[0.0], [0.0, 0.04, 4.8], np.r_[0:1:0.04, 4:5:0.04]])
def test_few_frames_and_long_gaps_work(aligner, flow, times_s):
    found = latents(flow, analyse_film(aligner, film(times_s), duration_s=5.0))
    assert found.shape == (1, 252, 48)
    assert bool(torch.isfinite(found).all())


def test_the_batch_size_of_the_encoder_does_not_change_the_latents(aligner, flow, monkeypatch):
    frames = film(np.arange(0, 3, 1 / 30))
    plain = latents(flow, analyse_film(aligner, frames, duration_s=3.0))
    for count in (1, 7, 500):
        monkeypatch.setattr(feature_stream, "FRAMES_PER_BATCH", count)
        same = latents(flow, analyse_film(aligner, frames, duration_s=3.0))
        # Features are stored in half precision, so a difference in the last bit may grow
        torch.testing.assert_close(same, plain, atol=1e-2, rtol=1e-2)


def test_latents_depend_on_the_seed(any_flow, two_seconds):
    one, same, other = (latents(any_flow, two_seconds, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)


def test_each_window_has_different_noise():
    noises = [_noise((0, window), 8, 32) for window in range(3)]
    assert not torch.equal(noises[0], noises[1])
    assert torch.equal(noises[1], _noise((0, 1), 8, 32))
    assert float(torch.cat(noises).std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("change", [{"steps": 3}, {"guidance": 3.0}])
def test_settings_change_the_latents(any_flow, two_seconds, change):
    plain = latents(any_flow, two_seconds)
    assert not torch.allclose(latents(any_flow, two_seconds, **change), plain)


def test_times_and_materials_of_cues_change_the_latents(cue_flow, two_seconds):
    plain = latents(cue_flow, two_seconds)
    later = latents(cue_flow, two_seconds, hits(np.array([0.3, 0.8])))
    assert not torch.allclose(later, plain, atol=1e-4)
    wood, metal = (latents(cue_flow, two_seconds, material(name)) for name in NAMES)
    assert not torch.allclose(wood, metal, atol=1e-4) and not torch.allclose(wood, plain, atol=1e-4)


@pytest.mark.parametrize(
    "fields", [{"level_db": -30.0}, {"striker": "metal"}, {"pitch_hz": 400.0}, {"decay_s": 2.0}]
)
def test_the_other_fields_of_cues_change_the_latents(cue_flow, two_seconds, fields):
    plain, changed = (arrays_of([Cue(time_s=0.3, **each)], NAMES) for each in ({}, fields))
    before, after = (latents(cue_flow, two_seconds, cues) for cues in (plain, changed))
    assert not torch.allclose(before, after, atol=1e-5)


def test_cues_change_nothing_in_networks_without_cue_tracks(flow, two_seconds):
    cues = hits(np.array([0.4]), materials=np.array([1]))
    assert torch.equal(latents(flow, two_seconds, cues), latents(flow, two_seconds))


def test_friction_changes_the_latents(cue_flow, two_seconds):
    none = arrays_of([], NAMES)
    curve = (-40.0, -5.0, -20.0)
    roll = arrays_of([Cue(time_s=0.2, kind="roll", end_s=1.5, level_curve_db=curve)], NAMES)
    before, after = (latents(cue_flow, two_seconds, cues) for cues in (none, roll))
    assert not torch.allclose(before, after, atol=1e-5)


def test_the_frames_change_the_latents(aligner, any_flow):
    one, other = (
        latents(any_flow, analyse_film(aligner, film(np.arange(0, 1, 0.04), seed), duration_s=1.0))
        for seed in (1, 2)
    )
    assert not torch.allclose(one, other, atol=1e-3)


def test_a_window_depends_on_the_previous_one_through_its_context(aligner, flow):
    frames = film(np.arange(0, 1.6, 1 / 25))
    plain = pieces(flow, analyse_film(aligner, frames, duration_s=1.6))
    assert len(plain) > 1
    assert plain[0].shape[1] == (PLAN.length - PLAN.ahead) * 4
    # Other first frames change the first window, and the second one, which does not contain them.
    changed = [(t, p if t >= 0.3 else 255 - p) for t, p in frames]
    half = aligner.encoder.config.window // 2
    assert min(t for t, _ in frames if t >= PLAN.hop * 0.08) > 0.3 + half / 25
    other = pieces(flow, analyse_film(aligner, changed, duration_s=1.6))
    assert not torch.allclose(other[0], plain[0], atol=1e-4)
    assert not torch.allclose(other[1], plain[1], atol=1e-4)


def test_a_seed_of_its_own_changes_the_latents_of_its_frames_first(aligner, any_flow):
    """One window with two stretches: each has its noise wherever it is."""
    plan = WindowPlan(length=40, context=3, ahead=5)
    clip = analyse_film(aligner, film(np.arange(0, 2, 1 / 25)), duration_s=2.0, plan=plan)
    stretch = SeededFrames(first=10, last=30, seed=7)
    plain, seeded, again, other = (
        latents(any_flow, clip, plan=plan, seeded=each, seed=seed)
        for each, seed in (
            ((), 0),
            ((stretch,), 0),
            ((stretch,), 0),
            ((SeededFrames(first=10, last=30, seed=8),), 0),
        )
    )
    assert torch.equal(seeded, again)
    change = (seeded - plain).abs().mean((0, 2))
    assert float(change[10:30].mean()) > 3 * float(change[40:].mean())
    assert not torch.allclose(seeded, other, atol=0.1)


@pytest.mark.parametrize("first", [0, 10, 37, 42])
@pytest.mark.parametrize("count", [1, 8, 58])
def test_a_regenerated_stretch_fits_its_surroundings(aligner, any_flow, first, count):
    """All its windows are used once, and what surrounds it changes it."""
    clip = analyse_film(aligner, film(np.arange(0, 2, 1 / 25)), duration_s=2.0)
    complete = latents(any_flow, clip)
    last = min(first + count, complete.shape[1])

    def again(before: float = 0.0, behind: float = 0.0):
        surroundings = complete.clone()
        surroundings[:, :first] += before
        surroundings[:, last:] += behind

        def read(begin: int, end: int) -> torch.Tensor:
            assert 0 <= begin < end <= complete.shape[1]
            return surroundings[:, begin:end]

        return regenerate_latents(
            any_flow,
            clip.windows,
            TWO_HITS,
            read,
            first=first,
            last=last,
            plan=PLAN,
            sampling=Sampling(seed=0, steps=1, guidance=1.0),
        )

    found = again()
    assert found.shape == (1, last - first, 48)
    assert torch.equal(found, again()) and bool(torch.isfinite(found).all())
    assert float(found.abs().mean((0, 2)).min()) > 0
    if first > 0:
        assert not torch.equal(again(before=1.0), found)
    if last < complete.shape[1]:
        assert not torch.equal(again(behind=1.0), found)


def test_a_reference_sounds_in_every_window_instead_of_the_video(aligner, cue_flow, two_seconds):
    frames = film(np.arange(0, 2, 1 / 25), seed=1)
    other = analyse_film(aligner, frames, duration_s=2.0)
    plain = [latents(cue_flow, each) for each in (two_seconds, other)]
    assert not torch.equal(*plain)

    def reference(seed: int) -> ReferenceSound:
        generator = torch.Generator().manual_seed(seed)
        layout = TrackLayout(materials=len(NAMES))
        tracks = condition_tracks(hits(np.array([0.04])), 8, rate_hz=50.0, layout=layout)
        known = torch.randn(1, 8, cue_flow.config.channels, generator=generator)
        return ReferenceSound(latents=known, tracks=tracks)

    made = [pieces(cue_flow, each, reference=reference(0)) for each in (two_seconds, other)]
    assert len(made[0]) > 1
    assert all(torch.equal(one, two) for one, two in zip(*made, strict=True))
    assert torch.cat(made[0], 1).shape == plain[0].shape
    changed = pieces(cue_flow, two_seconds, reference=reference(1))
    assert not any(torch.equal(one, two) for one, two in zip(made[0], changed, strict=True))
