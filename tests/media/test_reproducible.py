"""Encodes that must be reproducible get the right x264 options and give the same bytes."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
from support.media_files import Sound, make_video

from foleyflow.media import reproducible
from foleyflow.media.clip_encoder import VIDEO_OPTIONS, encode_clip
from foleyflow.media.probe import probe
from foleyflow.media.reproducible import reproducible_x264
from foleyflow.simulation.picture import h264
from foleyflow.system.processor import processor_features

HERE = processor_features()
# x264's code for AVX-512 gave other packets in about one encode of three.
ENCODES = 10 if "avx512f" in HERE else 3
AVX2_ALONE = pytest.mark.skipif(
    "avx2" not in HERE or "avx512f" in HERE,
    reason="compares with x264's own choice where that is AVX2",
)


def textured(index: int) -> np.ndarray:
    """A textured background that moves behind a disc, so that x264 has motion to search."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (40, 80, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    rows, columns = np.mgrid[:144, :176]
    picture = ground[:144, 2 * index : 2 * index + 176].copy()
    picture[(rows - 70) ** 2 + (columns - 20 - 2 * index) ** 2 < 900] = 225
    return picture


def stored(frames: np.ndarray) -> bytes:
    """The frames as the simulation stores them."""
    return h264.encode(
        frames,
        np.arange(len(frames)) * 3600,
        Fraction(25),
        compression=h264.Compression(crf=22, b_frames=2),
    )


@pytest.fixture(scope="module")
def frames():
    return np.stack([textured(index) for index in range(48)])


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    samples = 0.2 * np.random.default_rng(1).standard_normal((1, 2 * 48_000))
    return make_video(
        tmp_path_factory.mktemp("cut") / "clip.mkv",
        width=176,
        height=144,
        n_frames=48,
        painter=textured,
        sound=Sound(samples=samples.astype(np.float32)),
    )


def cut(video, target) -> bytes:
    encode_clip(probe(video), target, start_s=0.2, duration_s=1.5, short_side=128)
    return target.read_bytes()


@pytest.mark.parametrize("features", [(), ("avx2",), ("avx2", "avx512_bf16")])
def test_without_avx512_no_option_is_added(features):
    assert reproducible_x264(VIDEO_OPTIONS, features=features) == VIDEO_OPTIONS


def test_with_avx512_avx2_is_requested_in_addition_to_other_options():
    features = ("avx2", "avx512f")
    assert reproducible_x264({"crf": "20"}, features=features) == {
        "crf": "20",
        "x264-params": "asm=AVX2",
    }
    options = reproducible_x264(VIDEO_OPTIONS, features=features)
    assert options["x264-params"] == f"{VIDEO_OPTIONS['x264-params']}:asm=AVX2"
    assert {**options, "x264-params": ""} == {**VIDEO_OPTIONS, "x264-params": ""}


def test_simulated_frames_give_the_same_bytes_every_time(frames):
    assert len({stored(frames) for _ in range(ENCODES)}) == 1
    assert stored(frames) != stored(frames[::-1])


def test_part_of_a_video_gives_the_same_bytes_every_time(video, tmp_path):
    assert len({cut(video, tmp_path / f"{n}.mp4") for n in range(ENCODES)}) == 1


def capabilities(encode) -> str:
    """The line in which x264 lists the instruction sets that it uses."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as lines:
            encode()
    finally:
        av.logging.set_level(before)
    (line,) = {text.strip() for _, _, text in lines if "cpu capabilities" in text}
    return line


@pytest.mark.skipif("avx2" not in HERE, reason="x264 lists other instruction sets here")
def test_reproducible_encodes_do_not_use_avx512(frames, video, tmp_path):
    for encode in (lambda: stored(frames), lambda: cut(video, tmp_path / "a.mp4")):
        line = capabilities(encode)
        assert "AVX2" in line and "AVX512" not in line


@AVX2_ALONE
def test_option_equals_the_default_on_a_processor_with_avx2(frames, video, tmp_path, monkeypatch):
    """Bytes are equal with and without the option; an option that x264 can't parse changes them."""
    own = stored(frames), cut(video, tmp_path / "own.mp4")
    monkeypatch.setattr(reproducible, "processor_features", lambda: frozenset(("avx2", "avx512f")))
    assert (stored(frames), cut(video, tmp_path / "asked.mp4")) == own
    monkeypatch.setattr(h264, "reproducible_x264", lambda o: {**o, "x264-params": "asm=AVX-2"})
    assert stored(frames) != own[0]


@AVX2_ALONE
def test_other_instructions_give_other_bytes_but_nearly_the_same_frames(frames, monkeypatch):
    """docs/data.md promises this for clips that another machine encoded."""
    own = stored(frames)
    monkeypatch.setattr(h264, "reproducible_x264", lambda o: {**o, "x264-params": "asm=0"})
    other = stored(frames)
    assert other != own
    first, second = (h264.decode(BytesIO(each)).pixels.astype(float) for each in (own, other))
    lost = [np.abs(pictures - frames).mean() for pictures in (first, second)]
    # Measured: 1.2 of 255 grey levels, where compression changes 10.2.
    assert np.abs(first - second).mean() < 0.25 * lost[0]
    assert lost[1] == pytest.approx(lost[0], rel=0.05)
