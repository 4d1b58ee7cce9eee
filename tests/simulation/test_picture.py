"""Camera, renderer and frames: exact times, correct shapes, effects of each processing step."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from io import BytesIO

import mujoco
import numpy as np
import pytest
from support import bouncing_ball

from foleyflow.errors import ConfigError, DataError
from foleyflow.simulation.materials import MATERIALS
from foleyflow.simulation.picture import frame_exposure, h264, render, stage, textures
from foleyflow.simulation.picture.camera import Shot, sample_shot, sample_wobble

NEUTRAL = frame_exposure.ImageStyle(
    supersampling=1.0,
    blur_px=0.0,
    sharpen=0.0,
    brightness=0.5,
    exposure_pull=0.0,
    colour=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    gamma=1.0,
    contrast=0.0,
    black=0.0,
    vignette=0.0,
    noise=0.0,
    flicker=0.0,
    flicker_hz=1.0,
    bars=0.0,
    fade_s=0.0,
)
SIDE_VIEW = Shot(
    motion="tripod",
    aspect=1.0,
    fovy_deg=40.0,
    distance_m=1.6,
    target_m=(0.0, 0.0, 0.25),
    azimuth_deg=90.0,
    elevation_deg=-4.0,
    roll_deg=0.0,
    wobble=None,
    pan_deg=(0.0, 0.0),
    zoom=1.0,
    duration_s=2.0,
)


def _exposure(rate=Fraction(30), duration_s=2.0, samples=1, shutter_s=0.0):
    exposure = frame_exposure.sample_exposure(
        np.random.default_rng(0), duration_s=duration_s, rate=rate, samples=samples
    )
    return replace(exposure, shutter_s=shutter_s)


def _record(render_, exposure, style=NEUTRAL, duration_s=2.0, size=32):
    rng = np.random.default_rng(0)
    return frame_exposure.record_frames(
        render_, exposure, style, rng, duration_s=duration_s, width=size, height=size
    )


def _ball(shot, shadows=False, seed=3):
    """Return the renderer of a decorated bouncing ball, and a function that renders a time."""
    rng = np.random.default_rng(seed)
    scene = bouncing_ball.sample_scene(rng, 2.0)
    stage.decorate_scene(scene, shot, rng, picture_px=96, shadows=shadows)
    model = scene.spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    motion = scene.compute_motion(model)
    renderer = render.SceneRenderer(model, width=96, height=96, aspect=shot.aspect, shadows=shadows)

    def render_(time_s, shift_px, pixels):
        motion.pose(data, time_s)
        renderer.render_(data, shot.at(time_s), pixels, shift_px=shift_px)

    return renderer, render_


def _ball_pictures(times_s, shot=SIDE_VIEW, **settings):
    """Return renders of the ball at these times, (T, 96, 96, 3), bottom row first."""
    pictures, pixels = [], np.zeros((96, 96, 3), np.uint8)
    renderer, render_ = _ball(shot, **settings)
    with renderer:
        for time_s in times_s:
            render_(time_s, (0.0, 0.0), pixels)
            pictures.append(pixels.copy())
    return np.array(pictures)


def _still(source):
    """Return a render function that copies one picture."""

    def render_(time_s, shift_px, pixels):
        pixels[:] = source

    return render_


# ---------------------------------------------------------------------------------------- time


@pytest.mark.parametrize(
    "rate", [Fraction(15), Fraction(43, 2), Fraction(24000, 1001), Fraction(30000, 1001)]
)
def test_frames_show_the_time_of_their_time_stamp(rate):
    exposure = _exposure(rate)

    def render_(time_s, shift_px, pixels):
        pixels[:] = round(100.0 * time_s) + 20

    frames = _record(render_, exposure)
    packed = h264.encode(
        frames.pixels,
        exposure.ticks,
        exposure.rate,
        compression=h264.Compression(crf=1, b_frames=3),
    )
    back = h264.decode(BytesIO(packed))
    np.testing.assert_allclose(back.times_s, np.arange(len(back)) / float(rate), atol=1e-5)
    shown_s = (back.pixels.mean(axis=(1, 2, 3)) - 20.0) / 100.0
    np.testing.assert_allclose(shown_s, back.times_s, atol=0.015)
    assert abs((shown_s - back.times_s).mean()) < 0.01  # one grey level is 0.01 s


def test_motion_blur_is_centred_on_the_time_stamp():
    exposure = _exposure(samples=4, shutter_s=1 / 30)
    rendered_s = []

    def render_(time_s, shift_px, pixels):
        rendered_s.append(time_s)

    _record(render_, exposure)
    times_s = np.array(rendered_s).reshape(-1, 4)[1:-1]
    np.testing.assert_allclose(times_s.mean(axis=1), exposure.times_s[1:-1], atol=1e-9)
    np.testing.assert_allclose(np.ptp(times_s, axis=1), 0.75 / 30, atol=1e-9)


def test_the_ball_is_low_at_the_times_of_its_contacts():
    exposure = _exposure(Fraction(60))
    renderer, render_ = _ball(SIDE_VIEW)
    with renderer:
        frames = _record(render_, exposure, size=96)
    light = frames.pixels.astype(float).mean(axis=3)
    change = np.abs(light - np.median(light, axis=0))
    rows = np.arange(96)[None, :, None]
    lowest = np.where(change > 25.0, rows, 0).max(axis=(1, 2))
    true_m = np.array([bouncing_ball.height_m(time_s) for time_s in frames.times_s])
    assert np.corrcoef(lowest, -true_m)[0, 1] > 0.97
    # The correlation is highest without a lag.
    lags_s = np.arange(-0.05, 0.0501, 0.005)
    fits = [
        np.corrcoef(lowest, [-bouncing_ball.height_m(t + lag) for t in frames.times_s])[0, 1]
        for lag in lags_s
    ]
    assert abs(lags_s[int(np.argmax(fits))]) <= 0.0051
    for contact_s in bouncing_ball.contact_times_s(2.0):
        near = int(np.abs(frames.times_s - contact_s).argmin())
        assert lowest[near] >= lowest.max() - 2


@pytest.mark.parametrize(("stored", "captured"), [(25, 30), (Fraction(43, 2), 30), (30, 24)])
def test_a_converted_rate_shows_captured_frames_that_are_at_most_half_a_frame_away(
    stored, captured
):
    stored, captured = Fraction(stored), Fraction(captured)
    times_s = np.arange(200) / float(stored)
    shown_s = frame_exposure._nearest_captured(times_s, stored, captured)
    positions = shown_s * float(captured)
    np.testing.assert_allclose(positions, positions.round(), atol=1e-6)
    # A frame is stored at the time stamp that is nearest to it, or repeated from before
    longest_s = 0.5 / float(stored) + 1.0 / float(captured)
    assert np.abs(shown_s - times_s).max() <= longest_s
    steps = np.diff(positions.round().astype(int))
    expected = {math.floor(captured / stored), math.ceil(captured / stored)}
    assert set(steps.tolist()) == expected  # motion jumps, or stands still
    assert steps.mean() == pytest.approx(float(captured / stored), abs=0.02)


def test_some_exposures_are_of_converted_videos():
    jumps = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        exposure = frame_exposure.sample_exposure(rng, duration_s=4.0)
        assert (np.diff(exposure.ticks) > 0).all()
        steps = np.diff(exposure.shown_s)
        jumps += bool(steps.max() > 1.3 * np.median(steps) or steps.min() < 0.3 * np.median(steps))
    assert 10 <= jumps <= 40


def test_time_stamps_of_faulty_clocks_increase_and_stay_inside_the_clip():
    kinds = set()
    for seed in range(200):
        exposure = frame_exposure.sample_exposure(np.random.default_rng(seed), duration_s=4.0)
        assert exposure.ticks[0] == 0
        assert (np.diff(exposure.ticks) > 0).all()
        assert exposure.times_s[-1] < 4.0
        late_s = exposure.times_s - exposure.shown_s
        assert (np.abs(late_s) < 2.0 / float(exposure.rate)).all()
        even = np.abs(np.diff(exposure.times_s) * float(exposure.rate) - 1.0).max() < 0.01
        kinds.add((even, bool(late_s.any()), bool((late_s < 0).any())))
        assert exposure.shutter_s <= 1.0 / min(24.0, float(exposure.rate)) + 1e-3
    # Steady, jittered or dropped, repeated, converted (some of these never show a later time)
    assert kinds == {
        (True, False, False),
        (False, False, False),
        (True, True, False),
        (True, True, True),
    }


# -------------------------------------------------------------------------------------- pictures


def test_a_squashed_picture_is_narrower_by_its_aspect():
    widths = []
    for aspect in (1.0, 16 / 9):
        shot = replace(SIDE_VIEW, aspect=aspect, target_m=(0.0, 0.0, 0.4))
        low, high = _ball_pictures((0.25, 0.5), shot).astype(int)
        moved = np.abs(low - high).max(axis=2)[30:] > 20
        widths.append(np.ptp(np.nonzero(moved)[1]) + 1)
    assert widths[0] / widths[1] == pytest.approx(16 / 9, rel=0.12)


def test_renders_do_not_depend_on_earlier_renders():
    first = _ball_pictures((0.6,), shadows=True)[-1]
    later = _ball_pictures((0.3, 0.9, 0.6), shadows=True)[-1]
    np.testing.assert_array_equal(first, later)
    assert first.std() > 5.0


def test_shadows_darken_the_picture():
    shot = replace(SIDE_VIEW, elevation_deg=-50.0)
    bright, dark = (_ball_pictures((0.5,), shot, shadows=shadows) for shadows in (False, True))
    assert dark.mean() < bright.mean() - 0.5


def test_one_process_renders_many_models():
    for seed in range(40):
        assert _ball_pictures((0.25,), seed=seed).std() > 2.0


def test_a_neutral_style_only_reverses_the_rows():
    source = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    frames = _record(_still(source), _exposure(duration_s=0.2), duration_s=0.2)
    np.testing.assert_array_equal(frames.pixels[2], source[::-1])


def test_automatic_exposure_reaches_the_brightness_of_the_style():
    source = np.random.default_rng(1).integers(0, 60, (32, 32, 3), dtype=np.uint8)
    style = replace(NEUTRAL, brightness=0.4, exposure_pull=1.0, contrast=0.5, gamma=1.2)
    frames = _record(_still(source), _exposure(duration_s=0.2), style, duration_s=0.2)
    assert frames.pixels.mean() / 255 == pytest.approx(0.4, abs=0.04)


@pytest.mark.parametrize(
    "change",
    [
        {"blur_px": 1.0},
        {"sharpen": 0.8},
        {"gamma": 1.3},
        {"contrast": 0.8},
        {"black": 0.1},
        {"vignette": 0.5},
        {"noise": 5.0},
        {"flicker": 0.1},
        {"bars": 0.1},
        {"bars": -0.1},
        {"fade_s": 0.5},
        {"colour": ((1.2, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.8))},
        {"supersampling": 1.25},
    ],
)
def test_every_field_of_a_style_changes_the_frames(change):
    def render_(time_s, shift_px, pixels):
        height, width = pixels.shape[:2]
        pattern = np.add.outer(np.arange(height) * 5 // height, np.arange(width) * 7 // width) % 2
        pixels[:] = 60 + 100 * pattern[..., None]

    exposure = _exposure(duration_s=0.3)
    plain = _record(render_, exposure, duration_s=0.3).pixels.astype(int)
    other = _record(render_, exposure, replace(NEUTRAL, **change), duration_s=0.3).pixels
    assert np.abs(plain - other).max() > 3
    assert other.shape == plain.shape


def test_styles_vary_over_wide_ranges():
    styles = [
        frame_exposure.sample_image_style(np.random.default_rng(seed), samples=1)
        for seed in range(300)
    ]
    assert np.std([style.gamma for style in styles]) > 0.1
    assert {style.supersampling for style in styles} == {1.0, 1.25}
    assert 0.005 < np.mean([style.bars != 0.0 for style in styles]) < 0.08
    clean = frame_exposure.sample_image_style(np.random.default_rng(0), samples=3, clean=True)
    assert (clean.bars, clean.fade_s, clean.flicker, clean.blur_px) == (0.0, 0.0, 0.0, 0.0)


# ---------------------------------------------------------------------------------------- camera


def test_camera_looks_at_its_target():
    rng = np.random.default_rng(0)
    scene = bouncing_ball.sample_scene(rng, 4.0)
    for seed in range(40):
        shot = replace(sample_shot(scene, np.random.default_rng(seed)), wobble=None, pan_deg=(0, 0))
        pose = shot.at(1.7)
        np.testing.assert_allclose(pose.rotation.T @ pose.rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose.rotation) == pytest.approx(1.0)
        seen = pose.rotation.T @ (np.array(shot.target_m) - pose.position_m)
        np.testing.assert_allclose(seen, [0.0, 0.0, -shot.distance_m], atol=1e-9)
        assert pose.rotation[2, 1] > 0  # the picture is upright


def test_camera_frames_the_action():
    scene = bouncing_ball.sample_scene(np.random.default_rng(0), 4.0)
    inside = 0
    for seed in range(200):
        shot = sample_shot(scene, np.random.default_rng(seed))
        pose = shot.at(0.0)
        seen = pose.rotation.T @ (np.array(scene.focus_m) - pose.position_m)
        tall = np.tan(np.radians(pose.fovy_deg / 2)) * -seen[2]
        inside += abs(seen[1]) < tall and abs(seen[0]) < tall * shot.aspect
    assert inside >= 195


def test_all_kinds_of_camera_motion_occur():
    scene = bouncing_ball.sample_scene(np.random.default_rng(0), 4.0)
    shots = [sample_shot(scene, np.random.default_rng(seed)) for seed in range(300)]
    for shot in shots:
        first, last = shot.at(0.0), shot.at(4.0)
        still = np.allclose(first.rotation, last.rotation) and first.fovy_deg == last.fovy_deg
        assert still == (shot.motion == "tripod")
    for motion, probability in (("tripod", 0.5), ("hand", 0.4)):
        fraction = np.mean([shot.motion == motion for shot in shots])
        assert fraction == pytest.approx(probability, abs=0.1)


def test_wobble_has_the_given_amplitude_and_frequencies():
    wobble = sample_wobble(np.random.default_rng(4), (1.0, 0.2), low_hz=0.5, high_hz=6.0)
    track = np.array([wobble(time_s) for time_s in np.arange(0, 100, 0.02)])
    np.testing.assert_allclose(track.std(axis=0), [1.0, 0.2], rtol=0.1)
    power = np.abs(np.fft.rfft(track[:, 0])) ** 2
    frequency_hz = np.fft.rfftfreq(len(track), 0.02)
    assert power[(frequency_hz > 0.45) & (frequency_hz < 6.1)].sum() > 0.99 * power[1:].sum()


# ----------------------------------------------------------------------------- surfaces and stage


@pytest.mark.parametrize("look", sorted(textures.LOOKS))
def test_textures_vary_and_are_the_same_for_one_seed(look):
    pictures = [
        textures.surface_texture(look, np.random.default_rng(seed), size=64) for seed in range(6)
    ]
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert np.std([picture.mean() for picture in pictures]) > 3.0
    again = textures.surface_texture(look, np.random.default_rng(2), size=64)
    np.testing.assert_array_equal(pictures[2], again)


def test_every_material_has_a_look():
    assert {material.texture for material in MATERIALS.values()} <= set(textures.LOOKS)


@pytest.mark.parametrize("kind", sorted(textures.PATTERNS))
def test_patterns_cover_zero_to_one(kind):
    pattern = textures.pattern(kind, 1, 64)
    assert pattern.shape == (64, 64)
    assert (pattern.min(), pattern.max()) == (0.0, 1.0)


def test_sky_boxes_have_six_sides():
    for seed in range(8):
        faces = textures.skybox(np.random.default_rng(seed), size=32)
        assert faces.shape == (6, 32, 32, 3)


def test_an_unknown_look_is_rejected():
    rng = np.random.default_rng(0)
    scene = bouncing_ball.sample_scene(rng, 1.0)
    scene = replace(scene, looks={**scene.looks, "floor": "marzipan"})
    with pytest.raises(DataError, match="unknown look 'marzipan'"):
        stage.decorate_scene(scene, SIDE_VIEW, rng)


def test_an_unknown_renderer_is_rejected(monkeypatch):
    monkeypatch.setattr(render, "_contexts", [])
    monkeypatch.setenv("MUJOCO_GL", "crayons")
    with pytest.raises(ConfigError, match="MUJOCO_GL='crayons'"):
        render.open_gl()


# ------------------------------------------------------------------------------------ compression


def test_encoding_is_deterministic_and_keeps_time_stamps():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 48, 48, 3), dtype=np.uint8)
    ticks = np.cumsum(rng.integers(2000, 5000, 20)) - 2000
    ticks -= ticks[0]
    strong = h264.Compression(crf=30, b_frames=3, first_size=(32, 32), first_crf=36)
    first = h264.encode(frames, ticks, Fraction(25), compression=strong)
    assert first == h264.encode(frames, ticks, Fraction(25), compression=strong)
    back = h264.decode(BytesIO(first))
    np.testing.assert_array_equal(np.round(back.times_s * h264.TICKS_PER_S), ticks)
    fine = h264.decode(
        BytesIO(h264.encode(frames, ticks, Fraction(25), compression=h264.Compression(crf=4)))
    )
    errors = [np.abs(f.pixels.astype(int) - frames).mean() for f in (back, fine)]
    assert errors[1] < errors[0]
