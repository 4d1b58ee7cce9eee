"""Condition tracks of the flow: the cues of a window as numbers per latent frame.

The frame in which a cue starts contains its onset, level and material. Levels per material then
fall at several rates, so that each frame also contains what still rings and how long ago it was
struck. Attributes that are left to the model have channels of their own.

Dimension letters: L latent frames, M materials, Q channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import centres_s
from foleyflow.cues.arrays import ROLL, CueArrays
from foleyflow.cues.cue import Cue
from foleyflow.event_peaks import event_track

# A level in 0..1 is 1 at 0 dB and 0 at the quietest level, and may exceed 1.
QUIETEST_DB = -60.0
ASSUMED_LEVEL_DB = -9.0  # of cues whose level is left to the model; a channel marks them
FALL_TIMES_S = (0.05, 0.2, 0.8)  # in which the levels of the struck materials fall by 8.7 dB
STRIKER_FALL_S = 0.2
LONGEST_SINCE_S = 3.0  # since the last hit
EARLIER_S = 4.0  # cues that end longer before a window do not count


@dataclass(frozen=True, kw_only=True)
class TrackLayout:
    """Channels of the tracks of a model that knows M materials.

    Attributes:
        materials: M.
        slices: the channels of each group.
        channels: Q, the number of channels.
    """

    materials: int
    slices: dict[str, slice] = field(init=False, repr=False, compare=False)
    channels: int = field(init=False)

    def __post_init__(self) -> None:
        classes = self.materials + 1  # the last one is for materials that are left to the model
        widths = {
            "onset": 4,  # bump, offset within the frame, time since the last hit (two forms)
            "level": 2,  # level of the onset, 1 while the last hit's level is left to the model
            "struck": classes,  # level of the onset by material
            "ringing": classes * len(FALL_TIMES_S),  # falling levels by material
            "striker": classes,  # falling levels by material of the striking body
            "friction": classes,  # level of rolling and scraping by material
            "friction_striker": classes,
            "friction_kind": 3,  # roll, scrape, level left to the model
            "body": 4,  # pitch is given, pitch, decay is given, decay; until the next cue
        }
        slices, end = {}, 0
        for name, width in widths.items():
            slices[name] = slice(end, end + width)
            end += width
        object.__setattr__(self, "slices", slices)
        object.__setattr__(self, "channels", end)


def levels_or_assumed_db(cue: Cue) -> tuple[float, ...]:
    """The levels of a cue at equal steps, a single one if it is constant or left to the model."""
    level_db = ASSUMED_LEVEL_DB if cue.level_db is None else cue.level_db
    return cue.level_curve_db or (level_db,)


def level_01(level_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels in dB as numbers that are 1 at 0 dB and 0 at `QUIETEST_DB` and below."""
    return np.maximum(1.0 - level_db / QUIETEST_DB, 0.0)


def condition_tracks(
    cues: CueArrays, count: int, *, rate_hz: float, layout: TrackLayout
) -> NDArray[np.float32]:
    """The tracks of a window of `count` latent frames, (L, Q) float32.

    Times of the cues count from the start of the window; those before it still ring.
    """
    tracks = np.zeros((count, layout.channels), np.float32)
    duration_s = count / rate_hz
    near = (cues.ends_s > -EARLIER_S) & (cues.times_s < duration_s)
    cues = cues.take(near)
    if len(cues):
        parts = {name: tracks[:, channels] for name, channels in layout.slices.items()}
        _write_hits_(parts, cues.take(cues.is_hit), rate_hz=rate_hz, layout=layout)
        _write_friction_(parts, cues.take(~cues.is_hit), rate_hz=rate_hz, layout=layout)
        _write_bodies_(parts["body"], cues, rate_hz=rate_hz)
    else:
        tracks[:, layout.slices["onset"]] = _onset_track(np.zeros(0), count, rate_hz)
    return tracks


def _write_hits_(
    parts: dict[str, NDArray[np.float32]], hits: CueArrays, *, rate_hz: float, layout: TrackLayout
) -> None:
    count, unknown = len(parts["onset"]), layout.materials
    parts["onset"][:] = _onset_track(hits.times_s, count, rate_hz)
    centres = centres_s(count, rate_hz)
    is_assumed = np.isnan(hits.levels_db)
    levels = level_01(np.where(is_assumed, ASSUMED_LEVEL_DB, hits.levels_db))
    materials = np.where(hits.materials < 0, unknown, hits.materials)
    strikers = np.where(hits.strikers < 0, unknown, hits.strikers)
    ringing = parts["ringing"].reshape(count, layout.materials + 1, len(FALL_TIMES_S))
    loudest = np.zeros(count)
    for time_s, level, material, striker, assumed in zip(
        hits.times_s, levels, materials, strikers, is_assumed, strict=True
    ):
        frame = int(np.floor(time_s * rate_hz))
        # In the frame of the onset
        if 0 <= frame < count:
            if level >= loudest[frame]:
                loudest[frame] = level
                parts["onset"][frame, 1] = (time_s - centres[frame]) * rate_hz
            parts["level"][frame, 0] = loudest[frame]
            parts["struck"][frame, material] = max(parts["struck"][frame, material], level)
        # From there on
        first = max(frame, 0)
        parts["level"][first:, 1] = assumed
        since_s = np.maximum(centres[first:] - time_s, 0.0)
        for index, fall_s in enumerate(FALL_TIMES_S):
            _raise_to_(ringing[first:, material, index], _falling(level, since_s, fall_s))
        _raise_to_(parts["striker"][first:, striker], _falling(level, since_s, STRIKER_FALL_S))


def _write_friction_(
    parts: dict[str, NDArray[np.float32]], cues: CueArrays, *, rate_hz: float, layout: TrackLayout
) -> None:
    count, unknown = len(parts["friction"]), layout.materials
    centres = centres_s(count, rate_hz)
    for index in range(len(cues)):
        start_s, end_s = float(cues.times_s[index]), float(cues.ends_s[index])
        inside = (centres >= start_s - 0.5 / rate_hz) & (centres < end_s + 0.5 / rate_hz)
        levels_db = cues.friction_levels_db(index, centres[inside])
        is_assumed = np.isnan(levels_db)
        levels = level_01(np.where(is_assumed, ASSUMED_LEVEL_DB, levels_db))
        material, striker = int(cues.materials[index]), int(cues.strikers[index])
        for name, value in (("friction", material), ("friction_striker", striker)):
            channel = parts[name][:, unknown if value < 0 else value]
            channel[inside] = np.maximum(channel[inside], levels)
        parts["friction_kind"][inside, 0 if cues.kinds[index] == ROLL else 1] = 1.0
        parts["friction_kind"][inside, 2] = is_assumed


def _write_bodies_(body: NDArray[np.float32], cues: CueArrays, *, rate_hz: float) -> None:
    """Pitch and decay of the last cue that started, in every frame."""
    count = len(body)
    pitches = (np.log2(cues.pitches_hz) - 9.5) / 2  # about -1..1
    decays = (np.log(cues.decays_s) + 1.0) / 2
    for time_s, pitch, decay in zip(cues.times_s, pitches, decays, strict=True):
        first = min(max(int(np.floor(time_s * rate_hz)), 0), count)
        given = np.array([not np.isnan(pitch), not np.isnan(decay)])
        body[first:, 0::2] = given
        body[first:, 1::2] = np.where(given, np.nan_to_num([pitch, decay]), 0.0)


def _onset_track(times_s: NDArray[np.float64], count: int, rate_hz: float) -> NDArray[np.float32]:
    """Bump, offset (filled in later) and time since the last hit, (L, 4)."""
    centres = centres_s(count, rate_hz)
    since_s = np.full(count, LONGEST_SINCE_S)
    if len(times_s):
        frames = np.floor(centres * rate_hz)
        last = np.searchsorted(np.floor(times_s * rate_hz), frames, side="right") - 1
        gaps_s = np.maximum(centres - times_s[np.maximum(last, 0)], 0.0)
        since_s = np.where(last >= 0, np.minimum(gaps_s, LONGEST_SINCE_S), LONGEST_SINCE_S)
    track = np.zeros((count, 4), np.float32)
    track[:, 0] = event_track(times_s, count, rate_hz)
    track[:, 2] = np.log(0.02 + since_s) / 4
    track[:, 3] = np.exp(-since_s / 0.1)
    return track


def _falling(level: float, since_s: NDArray[np.float64], fall_s: float) -> NDArray[np.float64]:
    """A level in 0..1 that falls by 8.7 dB (a factor e) in each `fall_s`."""
    fall_db = 20 * np.log10(np.e) * since_s / fall_s
    return np.maximum(level + fall_db / QUIETEST_DB, 0.0)


def _raise_to_(track: NDArray[np.float32], levels: NDArray[np.float64]) -> None:
    np.maximum(track, levels, out=track, casting="same_kind")
