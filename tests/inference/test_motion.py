"""Pans of cues from motion in the picture, whose place is known."""

from __future__ import annotations

import numpy as np
import pytest
from support.media_files import make_video

from foleyflow import Cue, CueSheet
from foleyflow.inference.motion import ColumnMotion, with_pans
from foleyflow.media import read_frames

RATE_HZ = 25
WIDTH, HEIGHT = 192, 108


def ball_painter(place: float, *, hit_s: float = 1.0, side: int = 14):
    """A light square that falls onto a point and jumps up again; `place` is -1..1."""
    left = round((place + 1) / 2 * WIDTH - side / 2)

    def paint(index: int) -> np.ndarray:
        picture = np.full((HEIGHT, WIDTH, 3), 50, np.uint8)
        top = round(80 - 400 * abs(index / RATE_HZ - hit_s))
        picture[max(top, 0) : max(top + side, 0), max(left, 0) : left + side] = 210
        return picture

    return paint


def motion_of(painter, *, count: int = 50) -> ColumnMotion:
    motion = ColumnMotion()
    for index in range(count):
        motion.add(index / RATE_HZ, painter(index))
    return motion


@pytest.mark.parametrize("place", [-0.9, -0.5, 0.0, 0.3, 0.85])
def test_a_hit_is_where_something_moves(place):
    motion = motion_of(ball_painter(place))
    assert motion.pan(1.0) == pytest.approx(place, abs=0.1)
    assert motion.pan(0.9, 1.1) == pytest.approx(place, abs=0.1)
    assert motion.pan(0.3) is None and motion.pan(5.0) is None  # still, and after the end


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_places_are_those_of_the_shown_picture(tmp_path, rotation_deg, mirrored):
    """Decoded, scaled to a square and turned as for display."""
    half = np.full((HEIGHT, WIDTH, 3), 50, np.uint8)

    def paint(index: int) -> np.ndarray:
        picture = half.copy()
        picture[20:40, 20:40] = 60 + 140 * (index % 2)  # top left of the stored picture
        return picture

    path = make_video(
        tmp_path / "clip.mp4", n_frames=20, width=WIDTH, height=HEIGHT, painter=paint,
        rotation_deg=rotation_deg, mirrored=mirrored,
    )  # fmt: skip
    motion = ColumnMotion()
    pictures = [picture for _, picture in motion.watch(read_frames(path, size=112))]
    change = np.abs(np.diff(np.stack(pictures).astype(float), axis=0)).mean((0, 1, 3))
    shown = float(change @ np.linspace(-1, 1, 112) / change.sum())
    assert abs(shown) > 0.3
    assert motion.pan(0.4) == pytest.approx(shown, abs=0.1)


def test_a_moving_camera_and_a_cut_have_no_place():
    texture = np.random.default_rng(0).integers(0, 256, (HEIGHT, 4 * WIDTH, 3)).astype(np.uint8)
    texture = texture.repeat(4, axis=1)

    def moving(index: int) -> np.ndarray:
        return texture[:, 5 * index : 5 * index + WIDTH]

    def cut(index: int) -> np.ndarray:
        return texture[:, :WIDTH] if index < 25 else texture[:, WIDTH : 2 * WIDTH]

    assert motion_of(moving).pan(1.0) is None
    assert motion_of(cut).pan(0.98) is None


def test_the_nearest_hit_in_time_counts_and_noise_does_not():
    rng = np.random.default_rng(0)
    left, right = ball_painter(-0.6, hit_s=0.6), ball_painter(0.6, hit_s=1.4)

    def paint(index: int) -> np.ndarray:
        picture = np.maximum(left(index), right(index)).astype(int)
        return np.clip(picture + rng.integers(-4, 5, picture.shape), 0, 255).astype(np.uint8)

    motion = motion_of(paint)
    assert motion.pan(0.6) == pytest.approx(-0.6, abs=0.1)
    assert motion.pan(1.4) == pytest.approx(0.6, abs=0.1)
    assert motion.pan(1.0) is None


def test_pans_are_added_where_there_is_none():
    motion = motion_of(ball_painter(0.5))
    cues = CueSheet(
        cues=(Cue(time_s=0.2), Cue(time_s=1.0), Cue(time_s=1.1, pan=-1.0)), duration_s=2.0
    )
    placed = with_pans(cues, motion)
    assert [cue.pan for cue in placed] == [None, motion.pan(1.0), -1.0]
    assert with_pans(placed, motion) == placed
    assert with_pans(cues, ColumnMotion()) == cues
