"""A small VGGSound of 60 synthetic clips, of which 15 are broken in known ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.media_files import Sound, cut_bytes, make_video

SEGMENT_S, CLIP_S = 4.0, 3.2
RATE_HZ, FRAME_RATE = 16_000, 12
GOOD = 45
# Broken row -> the start of its reason.
BROKEN = {
    45: "no file",
    46: "unreadable",
    47: "unreadable",
    48: "no sound",
    49: "silent",
    50: "silent",
    51: "still frames",
    52: "still frames",
    53: "too short",
    54: "wrong length",
    55: "sync offset: sound starts",
    56: "sync offset: sound 0.",
    57: "scene cuts",
    58: "music only",
    59: "duplicate of",
}


def video_id(number: int) -> str:
    """Eleven characters with a dash and an underscore, as YouTube's identifiers can have."""
    return f"vid-_{number:06d}"


def painter(seed: int, times_s: np.ndarray, *, hits_s=(), still=False):
    """Frames with a background that depends on the seed, and a bar that jumps at each hit."""
    rng = np.random.default_rng(seed)
    background = np.repeat(np.repeat(rng.integers(30, 220, (8, 12, 3)), 8, 0), 8, 1).astype(
        np.uint8
    )

    def paint(index: int) -> np.ndarray:
        picture = background.copy()
        if not still:
            place = int(np.searchsorted(hits_s, times_s[index], side="right")) if len(hits_s) else 0
            left = (24 * place + (0 if len(hits_s) else 3 * index)) % 80
            picture[8:56, left : left + 16] = 255 - picture[8:56, left : left + 16]
        return picture

    return paint


def hits(times_s: np.ndarray, seconds: float) -> np.ndarray:
    """Short bursts at given times over faint noise."""
    rng = np.random.default_rng(5)
    sound = 0.002 * rng.standard_normal(round(seconds * RATE_HZ))
    for time_s in times_s:
        start = round(time_s * RATE_HZ)
        burst = 0.6 * rng.standard_normal(800) * np.exp(-np.arange(800) / 150)
        sound[start : start + 800] += burst[: len(sound) - start]
    return sound.astype(np.float32)[None]


def hum(number: int, seconds: float) -> np.ndarray:
    """A modulated tone with noise that depends on the clip's number."""
    rng = np.random.default_rng(number)
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = np.sin(2 * np.pi * (500 + 20 * number) * times_s)
    level = 0.1 + 0.05 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * times_s + rng.uniform(0, 6))
    return (level * tone + 0.01 * rng.standard_normal(len(times_s))).astype(np.float32)[None]


def chord(seconds: float) -> np.ndarray:
    """Steady tones, which the tests' tagger classifies as music."""
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tones = [np.sin(2 * np.pi * hertz * times_s) for hertz in (261.6, 329.6, 392.0)]
    return (0.15 * sum(tones)).astype(np.float32)[None]


def sounds_like_a_chord(sound: np.ndarray) -> float:
    """A music tagger: the fraction of power in the three tones of the chord."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    near = np.min(np.abs(hertz[:, None] - np.array([261.6, 329.6, 392.0])), axis=1) < 3
    return float(power[near].sum() / (power.sum() + 1e-12))


def make_small_vggsound(folder: Path) -> tuple[Path, Path]:
    """Write the csv and the folder of clips."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    rows = []
    for number in range(60):
        start_s = 7 * number
        name, label = video_id(number), f"thing number {number % 5} sounding"
        split = "test" if number % 10 == 4 else "train"
        rows.append(f"{name},{start_s},{label},{split}")
        make_clip(number, clips / f"{name}_{start_s:06d}.mp4")
    listing = folder / "vggsound.csv"
    listing.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return listing, clips


def make_clip(number: int, path: Path) -> None:
    """Write one clip, intact or broken."""
    reason = BROKEN.get(number, "")
    seconds = SEGMENT_S
    if reason.startswith("too short"):
        seconds = 1.0
    elif reason.startswith("wrong length"):
        seconds = 6.0
    count = round(seconds * FRAME_RATE)
    times_s = np.arange(count) / FRAME_RATE
    sound, start_s, paint = hum(number, seconds), 0.0, painter(number, times_s)
    if reason == "no file":
        return
    if reason == "silent":
        sound = np.zeros_like(sound) if number == 49 else 1e-4 * sound
    elif reason == "still frames":
        paint = painter(number, times_s, still=True)
    elif reason.startswith("sync offset: sound starts"):
        start_s = 0.8
    elif reason.startswith("sync offset"):
        hits_s = np.array([0.35, 0.75, 1.25, 1.55, 2.2])
        paint = painter(number, times_s, hits_s=hits_s)
        sound = hits(hits_s + 0.6, seconds)
    elif reason == "scene cuts":
        scenes = [painter(1000 + k, times_s) for k in range(2)]

        def paint(index: int) -> np.ndarray:
            return scenes[int(index >= count // 2)](index)

    elif reason == "music only":
        sound = chord(seconds)
    elif reason == "duplicate of":
        sound, paint = hum(3, seconds), painter(3, times_s)
    elif not reason and number % 9 == 1:
        # In sync: hits in video and sound coincide.
        hits_s = np.array([0.3, 0.8, 1.1, 1.6, 2.1, 2.7, 2.9]) + 0.02 * number / 9
        paint, sound = painter(number, times_s, hits_s=hits_s), hits(hits_s, seconds)
    if number == 46:
        path.write_bytes(b"not a video at all" * 100)
        return
    make_video(
        path,
        rate=FRAME_RATE,
        n_frames=count,
        painter=paint,
        codec_options={"preset": "ultrafast"},
        sound=None
        if reason == "no sound"
        else Sound(samples=sound, rate_hz=RATE_HZ, start_s=start_s),
    )
    if number == 47:
        cut_bytes(path, path.with_suffix(".cut"), 0.5).replace(path)
