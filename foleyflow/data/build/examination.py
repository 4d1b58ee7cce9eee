"""Examine one clip and decide whether it is fit for training, with a reason if it is not.

One pass over small grey frames and one over the sound; nothing is written. The report contains
plain numbers, so that decisions that need all clips (duplicates) can be made afterwards. Clips of a
published test split need only be readable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foleyflow.clock import count_at
from foleyflow.data.build.listing import ClipFile, ListedClip
from foleyflow.errors import MediaError
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.reader import read_frames
from foleyflow.media.waveform import read_waveform

SIDE_PX = 36  # of the examined frames
RATE_HZ = 16_000  # of the examined sound
GRID_HZ = 25.0  # on which movement and loudness are compared
MISSING_S = 0.1  # by which a clip may be too short
WRONG_LENGTH_S = 0.5  # by which a cut-out file may differ from its segment
LATEST_SOUND_S = 0.25  # largest distance of the starts of sound and video
STILL = 0.35  # mean change of grey levels (of 255) that all but a tenth of frames stay below
CUT = 9.0  # of FFmpeg's scene score, 0..100
SILENT_DBFS = -60.0
SHORTEST_SOUND = 0.02  # fraction of the clip that must be louder
LAG_LIMIT_S, LARGEST_LAG_S = 0.3, 1.0
CLEAR_LAG, NO_LAG = 0.6, 0.2  # correlation of movement and loudness at the lag, and at no lag
CLEAR_RISE = 1.5  # of log power in 40 ms, 6.5 dB
EVENTS = 4  # minimum number in both tracks for a lag to be estimated
HASHED_FRAMES = 4
MUSIC_LABELS = ("playing ", "singing", "orchestra", "beat boxing", "tapping guitar", "yodelling")
# AudioSet's classes: music with its instruments and kinds, and the instruments among them.
MUSIC, MUSIC_KINDS, INSTRUMENTS = 137, slice(137, 283), slice(138, 216)

# (N,) float32 sound at 16 kHz to the probability that it contains music and nothing else.
MusicTagger = Callable[[NDArray[np.float32]], float]


@dataclass(frozen=True, kw_only=True)
class ExamineSettings:
    """Requirements of clips of `duration_s`.

    Attributes:
        avoid_cuts: a clip must lie within one scene.
        music_limit: smallest probability of music alone at which a clip is rejected.
        filter_test: these requirements hold for test clips too. Otherwise a test clip is its
            complete segment, and only what can't be read is rejected.
    """

    duration_s: float = 8.0
    avoid_cuts: bool = True
    music_limit: float = 0.5
    filter_test: bool = False


@dataclass(frozen=True, kw_only=True)
class ClipReport:
    """The result of examining a clip.

    Attributes:
        reason: why the clip is rejected; empty for one that is kept.
        start_s: start of the chosen clip in its file.
        cuts_s: scene cuts in the segment, seconds in the file.
        lag_s: delay of the sound, where movement and loudness clearly agree.
        fingerprint: hashes of frames, 64 bits each in hexadecimal; "" for a frame without detail.
        loudness: of the sound in eighths, dBFS.
        duration_s: length of a clip of a published test split; None for that of the settings.
    """

    reason: str
    start_s: float = 0.0
    cuts_s: tuple[float, ...] = ()
    lag_s: float | None = None
    fingerprint: tuple[str, ...] = ()
    loudness: tuple[float, ...] = ()
    duration_s: float | None = None


def examine_clip(
    row: ListedClip,
    file: ClipFile | None,
    settings: ExamineSettings,
    *,
    music: MusicTagger | None = None,
) -> ClipReport:
    """Examine one clip of a list.

    Args:
        file: that contains the clip; None if it was not downloaded.
        music: detects music; None skips that check.
    """
    if file is None:
        return ClipReport(reason="no file: not downloaded")
    try:
        info = probe(file.path)
        if row.split == "test" and not settings.filter_test:
            return _examine_published(row, file, info, settings)
        return _examine_file(row, file, info, settings, music)
    except MediaError as error:
        return ClipReport(reason=f"unreadable: {_without_path(str(error), file)}")


def _examine_file(
    row: ListedClip,
    file: ClipFile,
    info: MediaInfo,
    settings: ExamineSettings,
    music: MusicTagger | None,
) -> ClipReport:
    # Without decoding
    length_s = row.end_s - row.start_s
    reason = _container_problem(file, info, length_s, settings.duration_s)
    if reason:
        return ClipReport(reason=reason)
    # Scene cuts
    end_s = min(file.start_s + length_s, info.duration_s)
    times_s, greys = _small_frames(file, info, end_s)
    if len(greys) < 2:
        return ClipReport(reason=f"{len(greys)} pictures in the segment")
    change = np.abs(np.diff(greys, axis=0)).mean((1, 2))
    cuts_s = tuple(float(t) for t in times_s[1:][_scene_scores(change) >= CUT])
    start_s = file.start_s
    if settings.avoid_cuts:
        chosen = scene_safe_start(
            cuts_s, file.start_s, end_s, settings.duration_s, slack_s=MISSING_S
        )
        if chosen is None:
            at = ", ".join(f"{cut - file.start_s:.1f}" for cut in cuts_s)
            return ClipReport(
                reason=f"scene cuts at {at} s leave no {settings.duration_s:g} s", cuts_s=cuts_s
            )
        start_s = chosen
    # Movement
    stop_s = start_s + settings.duration_s
    inside = (times_s[1:] > start_s) & (times_s[1:] < stop_s)
    if not inside.any() or np.quantile(change[inside], 0.9) < STILL:
        return ClipReport(reason="still frames: nothing moves", cuts_s=cuts_s)
    # Sound: level, lag against the movement, music
    sound = read_waveform(info.path, rate_hz=RATE_HZ, start_s=start_s, end_s=stop_s).mono()
    levels = _levels_dbfs(sound)
    if (levels > SILENT_DBFS).mean() < SHORTEST_SOUND:
        return ClipReport(reason=f"silent: at most {levels.max():.0f} dBFS", cuts_s=cuts_s)
    lag_s = clear_lag_s(times_s[1:] - start_s, change, sound)
    if lag_s is not None and abs(lag_s) >= LAG_LIMIT_S:
        direction = "late" if lag_s > 0 else "early"
        reason = f"sync offset: sound {abs(lag_s):.2f} s {direction} against movement"
        return ClipReport(reason=reason, cuts_s=cuts_s, lag_s=lag_s)
    if music is not None and not row.label.lower().startswith(MUSIC_LABELS):
        probability = music(sound)
        if probability >= settings.music_limit:
            return ClipReport(reason=f"music only: {probability:.2f}", cuts_s=cuts_s)
    # Fingerprint for the search for duplicates
    return ClipReport(
        reason="",
        start_s=round(start_s, 6),
        cuts_s=cuts_s,
        lag_s=lag_s,
        fingerprint=_frame_hashes(times_s, greys, start_s, stop_s),
        loudness=_loudness(levels),
    )


def _examine_published(
    row: ListedClip, file: ClipFile, info: MediaInfo, settings: ExamineSettings
) -> ClipReport:
    """The report of a clip of a published test split, which is kept if it can be decoded."""
    # Length: the segment's, or less if the file ends earlier
    if not info.has_audio:
        return ClipReport(reason="no sound")
    available_s = info.duration_s - file.start_s
    if available_s <= 0:
        return ClipReport(reason=f"too short: the file ends {-available_s:.1f} s before the clip")
    length_s = round(min(row.end_s - row.start_s, available_s), 6)
    end_s = file.start_s + length_s
    # Decode everything once
    times_s, greys = _small_frames(file, info, end_s)
    if not len(greys):
        return ClipReport(reason="no pictures in the segment")
    sound = read_waveform(info.path, rate_hz=RATE_HZ, start_s=file.start_s, end_s=end_s).mono()
    kept = ClipReport(reason="", start_s=file.start_s, duration_s=length_s)
    # Fingerprint of the stretch that the same video would have as a training clip
    if length_s < settings.duration_s - MISSING_S or len(greys) < 2:
        return kept
    change = np.abs(np.diff(greys, axis=0)).mean((1, 2))
    cuts_s = tuple(float(t) for t in times_s[1:][_scene_scores(change) >= CUT])
    start_s = file.start_s
    if settings.avoid_cuts:
        chosen = scene_safe_start(cuts_s, start_s, end_s, settings.duration_s, slack_s=MISSING_S)
        start_s = start_s if chosen is None else chosen
    stop_s = start_s + settings.duration_s
    first, last = (count_at(t - file.start_s, RATE_HZ) for t in (start_s, stop_s))
    return replace(
        kept,
        cuts_s=cuts_s,
        fingerprint=_frame_hashes(times_s, greys, start_s, stop_s),
        loudness=_loudness(_levels_dbfs(sound[first:last])),
    )


def _frame_hashes(
    times_s: NDArray[np.float64], greys: NDArray[np.float64], start_s: float, stop_s: float
) -> tuple[str, ...]:
    """Hashes of frames, evenly spread from `start_s` to `stop_s`."""
    within = np.flatnonzero((times_s >= start_s) & (times_s < stop_s))
    picked = within[np.linspace(0, len(within) - 1, HASHED_FRAMES).round().astype(int)]
    return tuple(frame_hash(greys[index]) for index in picked)


def _loudness(levels: NDArray[np.float64]) -> tuple[float, ...]:
    """Mean levels of the eighths of a clip."""
    return tuple(round(float(x.mean()), 2) for x in np.array_split(levels, 8))


def _container_problem(file: ClipFile, info: MediaInfo, length_s: float, duration_s: float) -> str:
    """A reason to reject a file that needs no decoding; empty if there is none."""
    if not info.has_audio:
        return "no sound"
    if file.cut_out and info.duration_s > length_s + WRONG_LENGTH_S:
        return f"wrong length: {info.duration_s:.1f} s, the segment has {length_s:.1f} s"
    if info.duration_s - file.start_s < duration_s - MISSING_S:
        return f"too short: {max(info.duration_s - file.start_s, 0):.1f} s of {duration_s:g} s"
    if info.audio_start_s is not None and file.start_s == 0.0:
        offset_s = info.audio_start_s - info.start_s
        if offset_s > LATEST_SOUND_S:
            return f"sync offset: sound starts {offset_s:.2f} s after the picture"
        if offset_s < -LATEST_SOUND_S:
            return f"sync offset: sound starts {-offset_s:.2f} s before the picture"
    return ""


def scene_safe_start(
    cuts_s: tuple[float, ...], begin_s: float, end_s: float, duration_s: float, *, slack_s: float
) -> float | None:
    """The earliest start of a stretch without a cut, in seconds; None if there is none.

    Args:
        cuts_s: times of the first frames after cuts.
        begin_s, end_s: limits of the stretch, which may reach `slack_s` beyond the end.
    """
    for start_s in (begin_s, *(cut for cut in cuts_s if cut > begin_s)):
        stop_s = start_s + duration_s
        if stop_s <= end_s + slack_s and not any(start_s < cut < stop_s for cut in cuts_s):
            return start_s
    return None


def clear_lag_s(
    times_s: NDArray[np.float64], change: NDArray[np.float64], sound: NDArray[np.float32]
) -> float | None:
    """The delay of the sound against the movement that causes it, where it is unambiguous.

    Args:
        times_s: of the changes between frames, from the start of the sound.
        change: mean change of grey levels at these times.
        sound: (N,) at 16 kHz.

    Returns:
        seconds, positive for late sound; None where no lag correlates movement and loudness
        clearly better than no lag, as in most clips.
    """
    count = int(len(sound) / RATE_HZ * GRID_HZ)
    reach = min(round(LARGEST_LAG_S * GRID_HZ), count // 4)
    if reach < LAG_LIMIT_S * GRID_HZ:
        return None
    # Movement and rises of loudness on one grid
    grid_s = (np.arange(count) + 0.5) / GRID_HZ
    movement = np.interp(grid_s, times_s, change)
    energy = np.square(sound[: count * int(RATE_HZ / GRID_HZ)].reshape(count, -1)).mean(1)
    level = np.log(energy + 1e-7)
    rise = np.maximum(np.diff(level, prepend=level[:1]), 0.0)
    # Steady movement or sound correlates with anything at some lag.
    clear_movements = np.sum(movement > 4 * np.median(movement) + 1)
    if np.sum(rise > CLEAR_RISE) < EVENTS or clear_movements < EVENTS:
        return None
    # Both are smoothed: a peak of movement is rarely as narrow as a rise of loudness.
    bell = np.exp(-0.5 * (np.arange(-3, 4) / 1.2) ** 2)
    movement, rise = (np.convolve(track, bell, "same") for track in (movement, rise))
    # The lag with the best correlation
    inner = slice(reach, count - reach)
    correlations = np.array(
        [
            _correlation(movement[inner], rise[reach + lag : count - reach + lag])
            for lag in range(-reach, reach + 1)
        ]
    )
    best = int(correlations.argmax())
    if correlations[best] < CLEAR_LAG or (correlations[reach] > NO_LAG and best != reach):
        return None
    return round((best - reach) / GRID_HZ, 3)


def frame_hash(grey: NDArray[np.float64]) -> str:
    """The difference hash of an (S, S) grey frame, 0..255: 64 bits, or "" for one without detail.

    Reference: Krawetz, difference hash (dHash).
    """
    rows = np.array_split(np.arange(grey.shape[0]), 8)
    columns = np.array_split(np.arange(grey.shape[1]), 9)
    small = np.array([[grey[np.ix_(r, c)].mean() for c in columns] for r in rows])
    if small.std() < 2.0:
        return ""
    bits = (small[:, 1:] > small[:, :-1]).flatten()
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def music_alone(probabilities: NDArray[np.float64]) -> float:
    """The probability that a clip contains music and no sound with a visible source.

    Args:
        probabilities: (527,) of AudioSet's classes, 0..1.

    Returns:
        0..1: the probability of music, reduced by that of the likeliest instrument or other class.
    """
    others = probabilities.copy()
    others[MUSIC_KINDS] = 0.0
    strongest = max(others.max(), probabilities[INSTRUMENTS].max())
    return float(probabilities[MUSIC] * max(0.0, 1.0 - strongest))


def _small_frames(
    file: ClipFile, info: MediaInfo, end_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    frames = read_frames(info.path, start_s=file.start_s, end_s=end_s, size=SIDE_PX, info=info)
    pairs = [(time_s, pixels.mean(-1)) for time_s, pixels in frames]
    times_s = np.array([time_s for time_s, _ in pairs])
    greys = np.array([grey for _, grey in pairs]) if pairs else np.zeros((0, SIDE_PX, SIDE_PX))
    return times_s, greys


def _scene_scores(change: NDArray[np.float64]) -> NDArray[np.float64]:
    """0..100 for each change: high where it is large and unlike the previous one.

    Reference: FFmpeg's scene score (vf_scdet): min(MAFD, |MAFD - previous MAFD|).
    """
    percent = 100.0 * change / 255.0
    return np.minimum(percent, np.abs(np.diff(percent, prepend=percent[:1])))


def _levels_dbfs(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Levels of stretches of 50 ms."""
    block = RATE_HZ // 20
    blocks = sound[: max(1, len(sound) // block) * block].astype(np.float64)
    power = np.square(blocks.reshape(-1, min(block, len(blocks)))).mean(1)
    return 10.0 * np.log10(power + 1e-12)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float(one @ other) / size if size > 0 else 0.0


def _without_path(text: str, file: ClipFile) -> str:
    """A message that does not depend on the folder of the files."""
    return text.replace(f"{file.path}: ", "").replace(str(file.path), file.path.name)
