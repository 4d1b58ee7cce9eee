"""Frames in memory and from iterators: the same results as from a lossless file, and errors."""

from __future__ import annotations

import re
import threading
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.media_files import make_video

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.encoders.catalogue import CLIP_PICTURES
from foleyflow.encoders.frame_adapter import AdaptedVideo, FrameAdapter, FrameAdapterConfig
from foleyflow.encoders.frozen import FrozenVideo
from foleyflow.errors import ConfigError, MediaError
from foleyflow.inference.given_frames import GivenFrames
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.video_frames import frames_for_encoder
from foleyflow.inference.windows import WindowPlan
from foleyflow.media import probe

RATE_HZ = 48_000
SHAPE = (60, 48, 64, 3)


@pytest.fixture(scope="module")
def model():
    return FoleyFlow.from_pretrained(device="cpu")


def bouncing_square(count: int, *, height: int = 96, width: int = 128) -> np.ndarray:
    """(count, height, width, 3) frames of a square that hits the ground about every 15 frames."""
    noise = np.random.default_rng(0).integers(0, 12, (height, width, 3))
    frames = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        picture = 60 + noise
        top = round((height - 40) * (1 - abs(np.sin(np.pi * number / 15 + 0.4))))
        picture[top : top + 24, 40:64] = (230, 190, 120)
        frames[number] = picture
    return frames


@pytest.fixture(scope="module")
def frames():
    """4.6 s at 25 Hz: two windows."""
    return bouncing_square(115)


@pytest.fixture(scope="module")
def from_array(model, frames):
    return model.generate(frames=frames, rate_hz=25)


def stored(path, frames, rate=25, times_s=None):
    """The frames as a file without loss."""
    return make_video(
        path,
        codec="libx264rgb",
        pixel_format="rgb24",
        rate=rate,
        n_frames=len(frames),
        times_s=times_s,
        height=frames.shape[1],
        width=frames.shape[2],
        painter=lambda index: frames[index],
        codec_options={"qp": "0"},
    )


def assert_same_results(found, expected):
    assert found.waveform.tobytes() == expected.waveform.tobytes()
    assert found.cues == expected.cues
    assert found.sample_count == expected.sample_count


def test_frames_give_the_bytes_of_a_lossless_file(model, frames, from_array, tmp_path):
    from_file = model.generate(stored(tmp_path / "clip.mp4", frames))
    assert len(from_file.cues) > 2 and from_file.waveform.std() > 0
    assert_same_results(from_array, from_file)
    assert model.spot(frames=frames, rate_hz=25) == model.spot(tmp_path / "clip.mp4")


def test_uneven_times_give_the_bytes_of_a_lossless_file(model, tmp_path):
    frames = bouncing_square(41)
    steps = np.where(np.arange(41) % 3, 4, 8)  # hundredths of a second; the last one is 4
    times_s = (np.cumsum(steps) - steps[0]) / 100
    path = stored(tmp_path / "uneven.mp4", frames, times_s=times_s)
    from_file = model.generate(path)
    from_times = model.generate(frames=frames, times_s=times_s)
    assert from_times.info.duration_s == pytest.approx(times_s[-1] + 0.04)
    assert_same_results(from_times, from_file)
    # Time 0 is the first frame
    later = model.spot(frames=frames, times_s=times_s + 5)
    assert [cue.time_s for cue in later] == pytest.approx([cue.time_s for cue in from_file.cues])


@pytest.mark.parametrize("codec", [("rawvideo", "bgr24", "avi"), ("ffv1", "bgr0", "mkv")])
def test_the_scaler_is_that_of_files(model, codec, tmp_path):
    frames = np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8)
    name, pixel_format, suffix = codec
    path = make_video(
        tmp_path / f"noise.{suffix}",
        codec=name,
        pixel_format=pixel_format,
        n_frames=len(frames),
        height=SHAPE[1],
        width=SHAPE[2],
        painter=lambda index: frames[index],
    )
    of_file = list(frames_for_encoder(probe(path), model.aligner))
    of_memory = list(frames_for_encoder(GivenFrames(frames, rate_hz=25), model.aligner))
    assert len(of_file) == len(of_memory) == len(frames)
    for (file_s, expected), (memory_s, found) in zip(of_file, of_memory, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert memory_s == pytest.approx(file_s, abs=6e-4)  # Matroska rounds to milliseconds


def test_published_encoders_get_the_frames_of_files(tmp_path):
    frozen = FrozenVideo(torch.nn.Identity(), CLIP_PICTURES)
    adapter = FrameAdapter(FrameAdapterConfig(published="mae", tokens=5, token_width=8, dim=8))
    aligner = SimpleNamespace(encoder=AdaptedVideo(frozen, adapter, rate_hz=8.0))
    frames = bouncing_square(50)
    of_file = frames_for_encoder(probe(stored(tmp_path / "clip.mp4", frames)), aligner)
    of_memory = frames_for_encoder(GivenFrames(frames, rate_hz=25), aligner)
    pairs = list(zip(of_file, of_memory, strict=True))
    assert len(pairs) == 13 and pairs[0][0][1].shape == (224, 224, 3)
    for (file_s, expected), (memory_s, found) in pairs:
        assert memory_s == file_s
        np.testing.assert_array_equal(found, expected)


def test_frames_beyond_the_rate_of_the_encoder_are_left_out(model):
    frames = bouncing_square(90)
    kept = list(frames_for_encoder(GivenFrames(frames, rate_hz=60), model.aligner))
    assert [time_s for time_s, _ in kept] == pytest.approx(np.arange(0, 90, 2) / 60)


@pytest.mark.parametrize(
    "convert",
    [
        lambda frames: frames.astype(np.float32) / 255,
        lambda frames: frames.astype(np.float16) / np.float16(255),
        lambda frames: torch.from_numpy(frames),
        lambda frames: torch.from_numpy(frames).double() / 255,
        lambda frames: list(frames),
        lambda frames: np.asfortranarray(frames),
        lambda frames: ((number / 25, frame) for number, frame in enumerate(frames)),
        lambda frames: [(number / 25, frame) for number, frame in enumerate(frames)],
    ],
    ids=["float32", "float16", "torch", "torch-double", "list", "fortran", "iterator", "pairs"],
)
def test_every_form_of_frames_gives_the_same_bytes(model, frames, from_array, convert):
    given = convert(frames)
    has_times = isinstance(given, list) and isinstance(given[0], tuple)
    has_rate = not has_times and hasattr(given, "__len__")
    found = model.generate(frames=given, rate_hz=25 if has_rate else None)
    assert_same_results(found, from_array)
    assert found.info == from_array.info


def test_bfloat16_is_accepted(model):
    frames = torch.rand((4, 32, 32, 3)).bfloat16()
    pictures = [
        picture for _, picture in GivenFrames(frames, rate_hz=8).read(size=None, max_rate_hz=99)
    ]
    np.testing.assert_array_equal(pictures, (frames.float() * 255).round().byte().numpy())


@pytest.mark.parametrize(
    ("count", "rate_hz"),
    [(23, Fraction(24_000, 1001)), (2, 30_000 / 1001), (97, 60), (41, 25.0), (7, np.float32(3))],
)
def test_the_sound_is_as_long_as_the_frames_to_the_sample(model, count, rate_hz):
    result = model.generate(frames=bouncing_square(count, height=32, width=32), rate_hz=rate_hz)
    expected = round(count / float(rate_hz) * RATE_HZ)
    assert result.sample_count == expected
    assert result.waveform.shape == (expected,)


@pytest.mark.parametrize("count", [2, 30, 79, 80, 81, 100, 144, 145, 300])
def test_windows_do_not_depend_on_whether_the_length_is_known(count):
    plan = WindowPlan.of_length(40)
    asked = []

    def segments_by(end):
        asked.append(end)
        return None if end < count else count

    assert list(plan.cut_until_end(segments_by)) == list(plan.cut(count))
    assert asked == sorted(asked)


def test_an_iterator_is_read_as_it_is_needed(model):
    """Not more frames are ahead of the analysis than a window and the queues hold."""
    taken = threading.Semaphore(0)
    seen = []
    count = 1500

    def endless():
        picture = bouncing_square(1, height=32, width=32)[0].copy()
        for number in range(count):
            picture[number % 32] = number % 200  # the same memory for each frame
            taken.release()
            yield number / 25, picture

    def progress(done_s):
        ahead = 0
        while taken.acquire(blocking=False):
            ahead += 1
        seen.append(ahead)

    cues = model.spot(frames=endless(), progress=progress)
    assert cues.duration_s == pytest.approx(count / 25)
    assert sum(seen) <= count and max(seen) < 400
    assert len(seen) > 15


def test_frames_in_the_same_memory_are_copied(model):
    frames = bouncing_square(30)
    buffer = np.empty_like(frames[0])

    def reused():
        for number, frame in enumerate(frames):
            buffer[:] = frame
            yield number / 25, buffer

    expected = frames_for_encoder(GivenFrames(frames, rate_hz=25), model.aligner)
    found = frames_for_encoder(GivenFrames(reused()), model.aligner)
    for (_, a), (_, b) in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_cues_are_checked_against_the_length(model):
    frames = bouncing_square(25)
    cues = CueSheet(cues=(Cue(time_s=1.5, material="wood"),))
    pairs = ((number / 25, frame) for number, frame in enumerate(frames))
    for arguments in ({"frames": frames, "rate_hz": 25}, {"frames": pairs}):
        with pytest.raises(ConfigError, match=r"1\.5"):
            model.generate(**arguments, cues=cues)
    result = model.generate(frames=frames, rate_hz=10, cues=cues)
    assert [cue.time_s for cue in result.cues] == [1.5]
    assert result.cues.duration_s == 2.5


def test_the_result_can_be_edited_and_saved_as_sound(model, from_array, tmp_path):
    index = next(n for n, cue in enumerate(from_array.cues) if cue.enabled)
    edited = from_array.rerender(from_array.cues.replace(index, level_db=-30.0))
    assert not np.array_equal(edited.waveform, from_array.waveform)
    edited.save(tmp_path / "clip.wav")
    assert (tmp_path / "clip.wav").stat().st_size > edited.sample_count * 3
    with pytest.raises(MediaError, match="no video file to copy") as caught:
        edited.save(tmp_path / "clip.mp4")
    assert ".wav" in str(caught.value.hint)
    assert not (tmp_path / "clip.mp4").exists()
    assert from_array.info.rate_hz == pytest.approx(25) and not from_array.info.is_file


GOOD = np.zeros(SHAPE, np.uint8)
WRONG_FRAMES = {
    "chw": (GOOD.transpose(0, 3, 1, 2), r"\(60, 3, 48, 64\).*before the height", "0, 2, 3, 1"),
    "alpha": (np.zeros((*SHAPE[:3], 4), np.uint8), "alpha channel", r"\[\.\.\., :3\]"),
    "grey": (GOOD[..., 0], r"\(60, 48, 64\).*grey", "red, green and blue"),
    "grey-axis": (GOOD[..., :1], "grey", "red, green and blue"),
    "one-picture": (GOOD[0], "one picture", "frames of a video"),
    "five-axes": (GOOD[None], r"expected \(T, H, W, 3\)", "RGB"),
    "one-frame": (GOOD[:1], "1 frame given, expected at least 2", "all frames"),
    "no-frames": (GOOD[:0], "no frames given", "all frames"),
    "empty-list": ([], "no frames given", "all frames"),
    "integers": (GOOD.astype(np.int64), "values of type int64", "convert"),
    "sixteen-bits": (GOOD.astype(np.uint16), "values of type uint16", "convert"),
    "bool": (GOOD > 0, "values of type bool", "convert"),
    "torch-integers": (torch.zeros(SHAPE, dtype=torch.int32), "values of type int32", "convert"),
    "nan": (np.full(SHAPE, np.nan, np.float32), "frame 0: .*NaN", "nan_to_num"),
    "infinite": (np.full(SHAPE, np.inf, np.float32), "frame 0: .*infinite", "nan_to_num"),
    "scaled-twice": (np.full(SHAPE, 200.0), "values from 200 to 200, expected 0 to 1", "255"),
    "negative": (np.full(SHAPE, -0.5), "values from -0.5", "clip"),
    "tiny": (GOOD[:, :8, :8], "8x8 pixels", "scale"),
    "file-name": ("clip.mp4", "got str", "`video`"),
    "number": (3, "got int", "`video`"),
}


@pytest.mark.parametrize("name", WRONG_FRAMES)
@pytest.mark.parametrize("call", ["generate", "spot"])
def test_wrong_frames_have_one_clear_sentence(model, name, call):
    given, message, hint = WRONG_FRAMES[name]
    with pytest.raises(MediaError, match=message) as caught:
        getattr(model, call)(frames=given, rate_hz=25)
    assert str(caught.value).startswith("frames: ") and "\n" not in str(caught.value)
    assert re.search(hint, caught.value.hint)


def test_a_wrong_frame_in_the_middle_is_named(model):
    frames = np.zeros(SHAPE, np.float32)
    frames[30, 5, 5] = np.nan
    with pytest.raises(MediaError, match=r"frames: frame 30: .*NaN"):
        model.spot(frames=frames, rate_hz=25)
    pictures = list(GOOD)
    pictures[41] = pictures[41][..., 0]
    with pytest.raises(MediaError, match=r"frames: frame 41: shape .*grey"):
        model.spot(frames=pictures, rate_hz=25)


WRONG_TIMES = {
    "neither": ({}, "no rate_hz and no times_s given"),
    "both": ({"rate_hz": 25, "times_s": np.arange(60) / 25}, "rate_hz and times_s given"),
    "zero": ({"rate_hz": 0}, "rate_hz=0, expected"),
    "negative": ({"rate_hz": -25}, "rate_hz=-25"),
    "nan": ({"rate_hz": float("nan")}, "rate_hz=nan"),
    "text": ({"rate_hz": "25"}, "rate_hz='25'"),
    "seconds": ({"rate_hz": 1e-4}, "at most 600 s"),
    "too-few": ({"times_s": [0.0, 0.04]}, "2 times for 60 frames"),
    "equal": ({"times_s": [0.0, *np.arange(59) / 25]}, "frame 1 is at 0 s, expected later"),
    "backward": ({"times_s": np.arange(60)[::-1]}, "frame 1 is at 58 s, expected later"),
    "not-a-number": ({"times_s": [float("nan")] * 60}, r"times_s\[0\] is nan"),
    "milliseconds": ({"times_s": np.arange(60) * 1e5}, "at most 600 s"),
}


@pytest.mark.parametrize("name", WRONG_TIMES)
@pytest.mark.parametrize("call", ["generate", "spot"])
def test_wrong_times_have_one_clear_sentence(model, name, call):
    arguments, message = WRONG_TIMES[name]
    with pytest.raises(ConfigError, match=message) as caught:
        getattr(model, call)(frames=GOOD, **arguments)
    assert "\n" not in str(caught.value) and caught.value.hint


def timed(*pairs):
    return iter(pairs)


PICTURE = GOOD[0]
WRONG_ITERATORS = {
    "empty": (timed(), "no frames given"),
    "one": (timed((0.0, PICTURE)), "1 frame given"),
    "no-pairs": (iter(GOOD), "item 0 of the iterator is a ndarray"),
    "triples": (timed((0.0, PICTURE, 1)), "item 0 of the iterator is a tuple"),
    "equal-times": (timed((0.0, PICTURE), (0.0, PICTURE)), "frame 1 is at 0 s"),
    "swapped": (timed((PICTURE, 0.0)), "the time of frame 0 is"),
    "alpha": (timed((0.0, PICTURE), (0.1, np.zeros((48, 64, 4), np.uint8))), "frame 1: .*alpha"),
    "chw": (timed((0.0, PICTURE.transpose(2, 0, 1))), r"frame 0: shape \(3, 48, 64\).*before"),
    "gap": (timed((0.0, PICTURE), (1000.0, PICTURE)), "at most 600 s"),
}


@pytest.mark.parametrize("name", WRONG_ITERATORS)
def test_wrong_iterators_have_one_clear_sentence(model, name):
    given, message = WRONG_ITERATORS[name]
    with pytest.raises((MediaError, ConfigError), match=message) as caught:
        model.generate(frames=given)
    assert str(caught.value).startswith("frames: ") and caught.value.hint


def test_an_error_of_the_iterator_itself_is_passed_on(model):
    def failing():
        yield from ((number / 25, PICTURE) for number in range(40))
        raise OSError("the camera was unplugged")

    with pytest.raises(OSError, match="unplugged"):
        model.spot(frames=failing())


def test_a_video_or_frames_are_required_not_both(model):
    with pytest.raises(ConfigError, match="neither a video nor frames"):
        model.generate()
    with pytest.raises(ConfigError, match="a video and frames were given"):
        model.spot("clip.mp4", frames=GOOD, rate_hz=25)
    with pytest.raises(ConfigError, match="a file has its own times"):
        model.generate("clip.mp4", rate_hz=25)
    with pytest.raises(ConfigError, match="with an iterator"):
        model.generate(frames=timed((0.0, PICTURE), (0.1, PICTURE)), rate_hz=25)


def test_a_tensor_on_a_device_is_read_frame_by_frame(model, frames, from_array):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    given = torch.from_numpy(frames).to(device)
    assert_same_results(model.generate(frames=given, rate_hz=25), from_array)
