"""Scene families: contacts match the log, falls match the closed form, motion is smooth."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco")

from foleyflow.simulation.materials import MATERIAL_NAMES, MATERIALS, Material  # noqa: E402
from foleyflow.simulation.motion import held_tool  # noqa: E402
from foleyflow.simulation.motion.drops import add_free_body, add_solid  # noqa: E402
from foleyflow.simulation.motion.families import FAMILIES, sample_scene  # noqa: E402
from foleyflow.simulation.motion.kinematic_world import KinematicWorld  # noqa: E402
from foleyflow.simulation.motion.prop_catalogue import add_prop  # noqa: E402
from foleyflow.simulation.motion.rigid_bodies import (  # noqa: E402
    GRAVITY_MPS2,
    Release,
    extract_events,
    set_simulation_options,
    simulate,
)
from foleyflow.simulation.motion.rotations import (  # noqa: E402
    NO_ROTATION,
    Z_AXIS,
    align_axes,
    align_z,
    axis_angle,
    compose,
    conjugate,
    multiply,
    rotate,
    rotation_about,
    transform,
    unit,
)
from foleyflow.simulation.motion.striking_motion import StrokeStyle, sample_strokes  # noqa: E402
from foleyflow.simulation.motion.trajectories import (  # noqa: E402
    FramePath,
    Lift,
    Stroke,
    plan_swings,
)
from foleyflow.simulation.picture.camera import sample_shot  # noqa: E402
from foleyflow.simulation.picture.stage import decorate_scene  # noqa: E402
from foleyflow.simulation.sound.modes import modes_of  # noqa: E402

KINEMATIC = ("strikes", "drums", "knocks")
LOOKS = {*MATERIAL_NAMES, "skin", "cloth", "ground", "wall", "leaf"}


def build(family: str, seed: int, duration_s: float = 4.0):
    """Return a scene of a family, its compiled model, a fresh state and its motion."""
    scene = FAMILIES[family].sample(np.random.default_rng(seed), duration_s)
    model = scene.spec.compile()
    return scene, model, mujoco.MjData(model), scene.compute_motion(model)


def geoms_of(model, body_name: str) -> list[int]:
    return [g for g in range(model.ngeom) if model.body(model.geom_bodyid[g]).name == body_name]


def gap_m(model, data, first: list[int], second: list[int]) -> float:
    """Return the smallest signed distance between two sets of geoms, as MuJoCo computes it."""
    return min(
        mujoco.mj_geomDistance(model, data, a, b, 2.0, np.zeros(6)) for a in first for b in second
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_builds_and_poses(family):
    for seed in range(20):
        scene, model, data, motion = build(family, seed)
        log = motion.log
        assert set(scene.looks) == {model.geom(g).name for g in range(model.ngeom)}
        assert set(scene.looks.values()) <= LOOKS
        assert model.ngeom <= 75
        assert 0.1 <= scene.extent_m <= 2.0
        assert all(0.0 <= hit.time_s < 4.0 for hit in log.impacts)
        assert all(a.time_s <= b.time_s for a, b in pairwise(log.impacts))
        for hit in log.impacts:
            assert hit.impulse_ns > 0 and hit.speed_mps > 0
            assert {hit.body, hit.other} <= set(log.bodies)
            assert max(abs(v) for v in hit.position) <= 1.0 + 1e-9
        for friction in log.frictions:
            assert {friction.body, friction.other} <= set(log.bodies)
            assert np.all(np.diff(friction.times_s) > 0)
            assert friction.times_s[0] >= 0 and friction.times_s[-1] < 4.0
            assert friction.speed_mps.shape == friction.force_n.shape == friction.times_s.shape
            assert np.isfinite(friction.speed_mps).all() and np.isfinite(friction.force_n).all()
        for body in log.bodies.values():
            assert body.material in MATERIAL_NAMES and min(body.size_m) > 0 and body.damping > 0
        for time_s in (3.9, 0.0, 1.37):
            motion.pose(data, time_s)
            assert np.isfinite(data.geom_xpos).all()


@pytest.mark.parametrize("family", KINEMATIC)
def test_tip_touches_exactly_at_the_logged_times(family):
    checked = 0
    for seed in range(12):
        _, model, data, motion = build(family, seed)
        for hit in motion.log.impacts:
            striker, struck = geoms_of(model, hit.other), geoms_of(model, hit.body)
            motion.pose(data, hit.time_s)
            assert abs(gap_m(model, data, striker, struck)) < 1e-3
            motion.pose(data, hit.time_s - 0.003)
            assert gap_m(model, data, striker, struck) > 0
            checked += 1
    assert checked > 40


@pytest.mark.parametrize("family", KINEMATIC)
def test_closing_speed_of_round_tips(family, monkeypatch):
    """If the tip is a sphere, the gap closes at the logged speed before the contact.

    This holds for planned motion; test_held_tool.py has the speeds of tools that follow a hand.
    """
    monkeypatch.setattr(held_tool, "HELD_FRACTION", 0.0)
    step_s, checked = 2e-4, 0
    for seed in range(16):
        _, model, data, motion = build(family, seed)
        for hit in motion.log.impacts:
            tip = geoms_of(model, hit.other)[:1]
            if model.geom_type[tip[0]] != mujoco.mjtGeom.mjGEOM_SPHERE:
                continue
            struck = geoms_of(model, hit.body)
            gaps = []
            for before in (2, 1):
                motion.pose(data, hit.time_s - before * step_s)
                gaps.append(gap_m(model, data, tip, struck))
            speed = (gaps[0] - gaps[1]) / step_s
            assert speed == pytest.approx(hit.speed_mps, rel=0.05)
            checked += 1
    assert checked > 10


def test_tip_leaves_after_a_bounce():
    left, checked = 0, 0
    for seed in range(12):
        _, model, data, motion = build("drums", seed)
        for hit in motion.log.impacts:
            motion.pose(data, hit.time_s + 0.02)
            left += gap_m(model, data, geoms_of(model, hit.other), geoms_of(model, hit.body)) > 0
            checked += 1
    assert left > 0.85 * checked


def test_still_scenes_have_an_empty_log_and_no_contact():
    for seed in range(25):
        _, model, data, motion = build("still", seed)
        assert not motion.log.impacts and not motion.log.frictions
        names = [model.body(model.geom_bodyid[g]).name for g in range(model.ngeom)]
        things = [g for g in range(model.ngeom) if names[g] == "thing0"]
        tools = [g for g in range(model.ngeom) if names[g].startswith("arm")]
        tips = [g for g in tools if names[g].endswith("_tool")][:1]
        if "carried" in names or not tips:
            continue
        for time_s in np.arange(0.0, 4.0, 0.05):
            motion.pose(data, float(time_s))
            assert gap_m(model, data, tips, things) > 0.005


def test_misses_stop_short():
    rng = np.random.default_rng(3)
    strokes = [Stroke(hit_s=0.5 + k, speed_mps=3.0, outcome="miss", miss_m=0.05) for k in range(4)]
    lift, swings = plan_swings(rng, strokes, start_s=-1.0, end_s=5.0, hover_m=0.15)
    lifts = np.array([lift.at(float(t)) for t in np.arange(-1.0, 5.0, 0.001)])
    assert [lift.at(stroke.hit_s) for stroke in strokes] == pytest.approx([0.05] * 4)
    assert lifts.min() > 0.0099  # never closer than 1 cm between the strokes
    assert np.abs(np.diff(lifts, 2)).max() / 0.001 < 0.4  # no jump in speed (m/s)
    assert all(not swing.touches for swing in swings)


def test_landings_are_gentle_and_silent():
    """The tip comes to rest on the surface without a jump in speed and without an impact."""
    rng = np.random.default_rng(4)
    strokes = [
        Stroke(
            hit_s=0.8 + k, speed_mps=3.0, outcome=outcome, miss_m=0.1, landing_s=0.4, dwell_s=0.3
        )
        for k, outcome in enumerate(("touch", "scrape", "touch", "scrape"))
    ]
    assert all(stroke.is_silent for stroke in strokes)
    lift, swings = plan_swings(rng, strokes, start_s=-1.0, end_s=5.0, hover_m=0.15)
    assert all(not swing.touches for swing in swings)
    lifts = np.array([lift.at(float(t)) for t in np.arange(-1.0, 5.0, 0.001)])
    assert lifts.min() > -1e-9
    assert np.abs(np.diff(lifts, 2)).max() / 0.001 < 0.4  # m/s
    for stroke, swing in zip(strokes, swings, strict=True):
        assert swing.end_s >= stroke.hit_s + 0.1
        for time_s in np.linspace(stroke.hit_s, swing.end_s, 5):
            assert lift.at(float(time_s)) == pytest.approx(0.0, abs=1e-9)


def test_motion_between_hits_is_smooth_and_touches_nothing():
    """About half of the plans have low turning points between hits, without a jump in speed."""
    turns, low = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        strokes = [Stroke(hit_s=0.5 + 1.2 * k, speed_mps=2.0) for k in range(5)]
        lift, swings = plan_swings(rng, strokes, start_s=-1.0, end_s=6.5, hover_m=0.1)
        times = np.arange(-1.0, 6.5, 0.001)
        lifts = np.array([lift.at(float(t)) for t in times])
        touches = [time_s for swing in swings for time_s, _ in swing.touches]
        assert touches == [stroke.hit_s for stroke in strokes]
        away = np.min([np.abs(times[1:-1] - t) for t in touches], 0) > 0.03
        assert lifts[1:-1][away].min() > 0.0
        assert np.abs(np.diff(lifts, 2))[away].max() / 0.001 < 0.4  # m/s
        lowest = (lifts[1:-1] < lifts[:-2] - 1e-9) & (lifts[1:-1] <= lifts[2:])
        turns.append(int((lowest & away).sum()))
        low.append(bool((lowest & away & (lifts[1:-1] < 0.06)).any()))
    assert np.mean(np.array(turns) > 3) > 0.2 and min(turns) <= 2  # some plans are calm
    assert 0.3 < np.mean(low) < 0.8  # the hover is 0.1 m high


def test_settling_strokes_come_to_rest_without_a_second_impact():
    rng = np.random.default_rng(6)
    strokes = [Stroke(hit_s=0.5 + 1.2 * k, speed_mps=2.0, outcome="settle") for k in range(4)]
    lift, swings = plan_swings(rng, strokes, start_s=-1.0, end_s=6.0, hover_m=0.1)
    for stroke, swing in zip(strokes, swings, strict=True):
        assert [time_s for time_s, _ in swing.touches] == [stroke.hit_s]
        assert swing.end_s > stroke.hit_s + 0.1
        assert lift.at(swing.end_s) == pytest.approx(0.0, abs=1e-9)
        before, after = (lift.at(swing.end_s + k * 1e-3) for k in (-1, 1))
        assert max(before, after) < 0.4e-3  # m/s times a millisecond: at rest or leaving gently
        bounce = [lift.at(float(t)) for t in np.linspace(stroke.hit_s, swing.end_s, 200)]
        assert 0.005 < max(bounce) < 0.15


def test_soft_strokes_are_slower_and_take_longer():
    rhythm = [(0.5 + 0.5 * k, 1.0) for k in range(60)]
    usual, soft = (
        sample_strokes(np.random.default_rng(0), rhythm, StrokeStyle(soft_fraction=fraction))
        for fraction in (0.0, 1.0)
    )
    usual_mps, soft_mps = (np.median([s.speed_mps for s in each]) for each in (usual, soft))
    assert soft_mps < 0.6 * usual_mps
    assert np.median([s.down_s for s in soft]) > 1.2 * np.median([s.down_s for s in usual])


def test_lift_breaks_only_at_touches():
    """The lift is C1 except at logged contacts: there it is 0 and closes at the logged speed."""
    rng = np.random.default_rng(1)
    outcomes = ("bounce", "rest", "double", "bounce", "scrape", "bounce")
    strokes = [
        Stroke(hit_s=0.3 + 0.7 * k, speed_mps=2.5, outcome=outcome, dwell_s=0.15)
        for k, outcome in enumerate(outcomes)
    ]
    lift, swings = plan_swings(rng, strokes, start_s=-1.0, end_s=5.0, hover_m=0.1)
    touches = [touch for swing in swings for touch in swing.touches]
    assert len(touches) > len(strokes)
    for time_s, speed in touches:
        assert lift.at(time_s) == pytest.approx(0.0, abs=1e-9)
        rate = (lift.at(time_s - 1e-5) - lift.at(time_s - 2e-5)) / -1e-5
        assert rate == pytest.approx(speed, rel=0.01)
    times = np.arange(-1.0, 5.0, 0.001)
    lifts = np.array([lift.at(float(t)) for t in times])
    assert lifts.min() > -1e-9
    jumps = times[1:-1][np.abs(np.diff(lifts, 2)) / 0.001 > 0.6]
    far = [t for t in jumps if min(abs(t - touch) for touch, _ in touches) > 0.0025]
    assert far == []


def test_fast_strokes_keep_their_order_and_positive_height():
    rng = np.random.default_rng(0)
    strokes = [Stroke(hit_s=0.16 * k, speed_mps=4.0) for k in range(20)]
    lift, swings = plan_swings(rng, strokes, start_s=-1.0, end_s=4.0, hover_m=0.1)
    assert all(swing.height_m >= 0.012 for swing in swings)
    assert all(a.end_s < b.top_s for a, b in pairwise(swings))
    assert lift.at(1.6) == pytest.approx(0.0, abs=1e-9)


def test_frame_path_rests_at_stops_and_interpolates_between_them():
    path = FramePath()
    path.stop(0.0, 1.0, ((0.0, 0.0, 0.0), NO_ROTATION))
    path.stop(2.0, 3.0, ((1.0, 0.0, 0.0), axis_angle(Z_AXIS, 1.0)), hop_m=0.2)
    assert path.at(0.5)[0] == (0.0, 0.0, 0.0) and path.at(-9.0) == path.at(0.0)
    middle, turn = path.at(1.5)
    assert middle == pytest.approx((0.5, 0.0, 0.2))
    assert turn == pytest.approx(axis_angle(Z_AXIS, 0.5))
    assert path.at(2.5)[0] == pytest.approx((1.0, 0.0, 0.0)) and path.at(9.0) == path.at(3.0)


def test_lift_reaches_its_end_points():
    lift = Lift(0.0, 0.3)
    lift.reach(1.0, 0.1, -0.5)
    lift.strike(1.2, 2.0)
    assert lift.at(0.0) == pytest.approx(0.3) and lift.at(1.0) == pytest.approx(0.1)
    assert lift.at(1.2) == pytest.approx(0.0) and lift.rate_mps == pytest.approx(-1.0)


def test_rotations_agree_with_mujoco():
    rng = np.random.default_rng(5)
    for _ in range(20):
        p, q = (tuple(v / np.linalg.norm(v)) for v in rng.normal(size=(2, 4)))
        v = tuple(rng.normal(size=3))
        product, turned = np.zeros(4), np.zeros(3)
        mujoco.mju_mulQuat(product, np.array(p), np.array(q))
        mujoco.mju_rotVecQuat(turned, np.array(v), np.array(p))
        assert multiply(p, q) == pytest.approx(tuple(product))
        assert rotate(p, v) == pytest.approx(tuple(turned))
        assert rotate(conjugate(p), rotate(p, v)) == pytest.approx(v)
        assert rotate(align_z(unit(v)), Z_AXIS) == pytest.approx(unit(v))
        axes = align_axes(tuple(rng.normal(size=3)), v)
        assert rotate(axes, Z_AXIS) == pytest.approx(unit(v))
        assert transform(rotation_about(v, p), v) == pytest.approx(v)
        both = compose((v, p), (v, q))
        assert transform(both, v) == pytest.approx(transform((v, p), transform((v, q), v)))


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_gives_the_same_scene(family):
    first = build(family, 7, 2.0)
    second = build(family, 7, 2.0)
    assert first[3].log.impacts == second[3].log.impacts
    assert len(first[3].log.frictions) == len(second[3].log.frictions)
    for time_s in (1.9, 0.2, 1.0):
        first[3].pose(first[2], time_s)
        second[3].pose(second[2], time_s)
        np.testing.assert_array_equal(first[2].geom_xpos, second[2].geom_xpos)
        np.testing.assert_array_equal(first[2].geom_xmat, second[2].geom_xmat)


@pytest.mark.parametrize("family", FAMILIES)
def test_pose_does_not_depend_on_the_order_of_times(family):
    _, model, data, motion = build(family, 11, 2.0)
    motion.pose(data, 0.7)
    expected = data.geom_xpos.copy()
    motion.pose(data, 1.9)
    motion.pose(data, 0.7)
    np.testing.assert_array_equal(data.geom_xpos, expected)
    fresh = mujoco.MjData(model)
    motion.pose(fresh, 0.7)
    np.testing.assert_array_equal(fresh.geom_xpos, expected)


def fall(material: str, height_m: float, radius_m: float = 0.04):
    """Drop a sphere from rest onto the floor; return the model, recording and contact events."""
    world = KinematicWorld("drop", 2.0, np.random.default_rng(0))
    set_simulation_options(world.spec)
    pose = ((0.0, 0.0, -0.05), NO_ROTATION)
    add_solid(world, "ground", material=material, half_m=(2.0, 2.0, 0.05), pose=pose)
    add_free_body(world, "ball", material=material, shape="sphere", radius_m=radius_m)
    model = world.spec.compile()
    release = Release(name="ball", time_s=0.1, position=(0.0, 0.0, height_m + radius_m))
    recording = simulate(model, [release], start_s=0.0, end_s=2.0)
    return model, recording, extract_events(model, recording)


@pytest.mark.parametrize("height_m", [0.2, 0.7, 1.3])
def test_fall_matches_the_closed_form(height_m):
    model, _, events = fall("wood", height_m)
    first, _ = events.impacts[0]
    assert first.time_s - 0.1 == pytest.approx(math.sqrt(2 * height_m / GRAVITY_MPS2), abs=0.002)
    speed = math.sqrt(2 * GRAVITY_MPS2 * height_m)
    assert first.speed_mps == pytest.approx(speed, rel=0.02)
    mass = float(model.body("ball").mass[0])
    assert mass * speed < first.impulse_ns < 2.05 * mass * speed
    assert (first.body, first.other) == ("ball", "ground")


def test_rebounds_follow_the_order_of_contact_damping():
    rebounds = {}
    for material in ("rubber", "metal", "wood", "cardboard"):
        _, _, events = fall(material, 0.6)
        speeds = [hit.speed_mps for hit, _ in events.impacts]
        rebounds[material] = speeds[1] / speeds[0] if len(speeds) > 1 else 0.0
    order = sorted(rebounds, key=lambda name: MATERIALS[name].contact_damping)
    assert [rebounds[name] for name in order] == sorted(rebounds.values(), reverse=True)
    assert 0.6 < rebounds["rubber"] < 0.9 and rebounds["cardboard"] < 0.35


def test_a_resting_body_makes_no_sound():
    _, recording, events = fall("wood", 0.3)
    resting_from_s = events.impacts[-1][0].time_s
    assert resting_from_s < 1.5
    contacts = recording.contacts[("ground", "ball")]
    assert recording.times_s[contacts.steps[-1]] >= resting_from_s
    assert events.frictions == []


def test_event_rate_and_silent_clips_are_in_range():
    events, silent = [], 0
    for seed in range(80):
        scene = sample_scene(np.random.default_rng(seed), 4.0)
        log = scene.compute_motion(scene.spec.compile()).log
        silent += not log.impacts and not log.frictions
        if log.impacts:
            events.append(len(log.impacts) / 4.0)
    assert 0.04 <= silent / 80 <= 0.2
    assert 1.2 <= np.mean(events) <= 3.6  # with the faint touches of plants


def test_family_fractions_sum_to_one():
    assert sum(family.fraction for family in FAMILIES.values()) == pytest.approx(1.0)


def test_a_material_is_added_by_one_record(monkeypatch):
    ice = Material(
        **(vars(MATERIALS["glass"]) | {"name": "ice", "props": {"bottle": 50}, "texture": "glass"})
    )
    monkeypatch.setitem(MATERIALS, "ice", ice)
    world = KinematicWorld("strike", 2.0, np.random.default_rng(0))
    for index in range(20):
        add_prop(
            world, f"bottle{index}", position=(0.5 * index, 0.0, 0.0), max_size_m=0.3, kind="bottle"
        )
    materials = [body.material for body in world.bodies.values()]
    assert 2 <= materials.count("ice") <= 14
    scene = world.build_scene(focus_m=(0.0, 0.0, 0.2), extent_m=0.4)
    assert "ice" in scene.looks.values()
    shot = sample_shot(scene, np.random.default_rng(1), aspect=None)
    decorate_scene(scene, shot, np.random.default_rng(2))
    assert scene.spec.compile().nmat >= 20
    body = next(body for body in world.bodies.values() if body.material == "ice")
    assert modes_of(body).frequencies_hz.size
