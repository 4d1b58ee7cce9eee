"""What judges hear in the rows of each clip, and what comes of it: one class per kind of metric.

Each takes clip after clip (`add`) and gives the figures at the end (`score`); none keeps a sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import MediaError
from foleyflow.evaluation import controls
from foleyflow.evaluation.cache import ResultCache, code_sha256
from foleyflow.evaluation.cases import Case, Sound, label_of
from foleyflow.evaluation.metric import Metric, bootstrap_mean
from foleyflow.evaluation.metrics import audiovisual
from foleyflow.evaluation.metrics.audiovisual import IN_SYNC, control_shift_s, shifted_pair
from foleyflow.evaluation.metrics.distribution import fit_gaussian, frechet_distance, frechet_remark
from foleyflow.evaluation.metrics.semantics import inception_score, kl_divergence
from foleyflow.evaluation.metrics.speed import generation_time
from foleyflow.evaluation.scores import ROWS, Figure, MetricScore
from foleyflow.judges import interface as judging
from foleyflow.judges import preprocessing
from foleyflow.judges.interface import (
    DEFAULT_AUDIO_PREPROCESSING,
    Judge,
    PairJudge,
    VideoPreprocessing,
    judge_json,
    pair_judge_json,
    preprocess_for,
)
from foleyflow.judges.networks import time_shifts
from foleyflow.judges.preprocessing import AudioPreprocessing
from foleyflow.media import loudness
from foleyflow.media import waveform as reading
from foleyflow.signals import Frames

# The code that what a judge hears depends on, whatever the metric.
MODULES = (audiovisual, controls, preprocessing, judging, loudness, reading, time_shifts)
NO_TRUE_SOUND = "its reference holds events, no sound"
NO_VIDEO = "no video of it, neither among the references nor among the results"
LONGEST_SEEN_S = 60.0  # of a video whose frames are taken on a grid
SEEN_RATE_HZ = 32.0  # frames beyond this rate are left out, as in generation


class AudioJudgeScores:
    """What one judge hears, for one metric: row -> clip -> logits or embeddings."""

    def __init__(
        self,
        judge: Judge,
        metric: Metric,
        cache: ResultCache | None,
        audio_preprocessing: AudioPreprocessing = DEFAULT_AUDIO_PREPROCESSING,
    ) -> None:
        self._judge = judge
        self._audio_preprocessing = audio_preprocessing
        self._kind = metric.heard_as
        self._needs_truth = self._kind != "inception"
        self._cache = cache
        self._code = code_sha256(*MODULES)
        self._heard: dict[str, dict[str, NDArray[np.float64]]] = {}
        self._left_out: dict[str, str] = {}

    def add(self, case: Case, rows: Mapping[str, Sound]) -> None:
        """Hear the sounds of a clip."""
        if self._needs_truth and "true" not in rows:
            self._left_out[case.name] = NO_TRUE_SOUND
            return
        for row, sound in rows.items():
            try:
                heard = self._hear(sound)
            except (ValueError, MediaError) as error:
                self._left_out[label_of(case, row)] = str(error)
            else:
                self._heard.setdefault(row, {})[case.name] = heard

    def score(self, metric: Metric, seed: int) -> MetricScore:
        """Where the truth matters, only clips whose true sound was heard count, in every row."""
        true = self._heard.get("true", {})
        rows: dict[str, Figure] = {}
        clips: dict[str, float] = {}
        remarks: list[str] = []
        for row in ROWS:
            names = list(self._heard.get(row, {}))
            if self._needs_truth:
                names = [name for name in names if name in true]
            if not names or (row == "other" and self._kind != "kl"):
                continue
            against = true
            if row == "generated_narrow":
                against = self._heard.get("true_narrow", {})
                names = [name for name in names if name in against]
                if not self._needs_truth or not names:
                    continue
            truth = [against[name] for name in names] if self._needs_truth else []
            made = [self._heard[row][name] for name in names]
            try:
                rows[row], values = self._figure(truth, made, seed, remarks)
            except ValueError as error:
                remarks.append(f"{ROWS[row]}: {error}")
                continue
            if row == "generated":
                clips = dict(zip(names, values, strict=True)) if values else {}
        return MetricScore(
            metric=metric,
            rows=rows,
            clips=clips,
            left_out=self._left_out,
            remarks=tuple(dict.fromkeys(remarks)),
            judge=judge_json(self._judge, self._audio_preprocessing),
        )

    def _figure(
        self,
        true: list[NDArray[np.float64]],
        made: list[NDArray[np.float64]],
        seed: int,
        remarks: list[str],
    ) -> tuple[Figure, list[float]]:
        if self._kind == "kl":
            values = kl_divergence(np.stack(true), np.stack(made)).tolist()
            return mean_figure(values, seed), values
        if self._kind == "frechet":
            first, second = (fit_gaussian(np.concatenate(side)) for side in (true, made))
            remark = frechet_remark(first, second)
            remarks.extend([remark] if remark else [])
            remarks.append("no interval: drawing clips twice raises a Fréchet distance")
            return single_figure(frechet_distance(first, second), len(made)), []
        score = inception_score(np.stack(made))
        remarks.append("no interval over clips: the score falls with their number")
        return single_figure(score.mean, len(made)), []

    def _hear(self, sound: Sound) -> NDArray[np.float64]:
        asked = "embed" if self._kind == "frechet" else "logits"
        key = [
            asked,
            judge_json(self._judge, self._audio_preprocessing),
            self._code,
            sound.identity,
        ]
        known = None if self._cache is None else self._cache.get(key)
        if known is not None:
            return np.asarray(known["heard"], dtype=np.float64)
        listen = self._judge.embed if asked == "embed" else self._judge.logits
        heard: NDArray[np.float64] = sound.analysis(
            f"{asked} by {self._judge.name}",
            lambda waveform: np.asarray(
                listen(preprocess_for(self._judge, waveform, self._audio_preprocessing)),
                dtype=np.float64,
            ),
        )
        if not np.isfinite(heard).all():
            raise ValueError(f"the judge {self._judge.name!r} gave numbers that are not finite")
        if self._cache is not None:
            self._cache.put(key, {"heard": heard.tolist()})
        return heard


class PairJudgeScores:
    """What a judge of pairs says of sounds with their video: row -> clip -> verdict.

    Of a judge of agreement, 1 where it takes the pair for in sync and 0 where not.
    """

    def __init__(
        self,
        judge: PairJudge,
        metric: Metric,
        cache: ResultCache | None,
        audio_preprocessing: AudioPreprocessing = DEFAULT_AUDIO_PREPROCESSING,
    ) -> None:
        self._judge = judge
        self._shares = metric.heard_as == "agreement"
        self._audio_preprocessing = audio_preprocessing
        self._cache = cache
        self._code = code_sha256(*MODULES)
        self._values: dict[str, dict[str, float]] = {}
        self._left_out: dict[str, str] = {}

    def add(self, case: Case, rows: Mapping[str, Sound]) -> None:
        """Watch a clip with each of its sounds, and with its true sound at the wrong time."""
        if case.video is None:
            self._left_out[case.name] = NO_VIDEO
            return
        film = _Film(case.video, self._judge.sight)
        pairs = {row: (sound, False) for row, sound in rows.items() if "narrow" not in row}
        if "true" in rows:
            pairs["shifted"] = (rows["true"], True)
        for row, (sound, shifted) in pairs.items():
            try:
                verdict = self._verdict(film, sound, shifted=shifted)
            except (ValueError, MediaError) as error:
                self._left_out[label_of(case, row)] = str(error)
            else:
                value = float(verdict > IN_SYNC) if self._shares else verdict
                self._values.setdefault(row, {})[case.name] = value

    def score(self, metric: Metric, seed: int) -> MetricScore:
        """The mean of each row; of a judge of agreement, the share that it takes for in sync."""
        rows = {
            row: mean_figure(list(self._values[row].values()), seed)
            for row in ROWS
            if row in self._values
        }
        wrong = [
            f"{100 * rows[row].value:.0f} % of {rows[row].count} {what}"
            for row, what in (("shifted", "shifted pairs"), ("other", "swapped pairs"))
            if row in rows and self._shares
        ]
        said = "false positives, on true sounds: " + ", ".join(wrong)
        return MetricScore(
            metric=metric,
            rows=rows,
            clips=self._values.get("generated", {}),
            left_out=self._left_out,
            remarks=(said,) if wrong else (),
            judge=pair_judge_json(self._judge, self._audio_preprocessing),
        )

    def _verdict(self, film: _Film, sound: Sound, *, shifted: bool) -> float:
        judged = pair_judge_json(self._judge, self._audio_preprocessing)
        key = ["verdict", judged, self._code, film.identity, sound.identity, shifted]
        known = None if self._cache is None else self._cache.get(key)
        if known is not None:
            return float(known["verdict"])
        frames, rate_hz = film.frames, self._judge.rate_hz
        samples = self._audio_preprocessing.hear(sound.waveform, rate_hz)
        if shifted:
            longest_s = len(samples) / rate_hz - self._judge.shortest_s
            shift_s = control_shift_s(int(sound.identity[:8], 16), longest_s)
            frames, samples = shifted_pair(frames, samples, rate_hz, shift_s)
        if not np.isfinite(samples).all():
            raise ValueError("some samples are not finite")
        verdict = self._judge.verdict(frames, samples)
        if not np.isfinite(verdict):
            raise ValueError(f"the judge {self._judge.name!r} gave a number that is not finite")
        if self._cache is not None:
            self._cache.put(key, {"verdict": verdict})
        return verdict


class _Film:
    """The frames of a video as one judge sees them, read when they are first needed."""

    def __init__(self, path: Path, sight: VideoPreprocessing) -> None:
        self._path = path
        self._sight = sight
        self._frames: Frames | None = None
        self._identity: str | None = None

    @property
    def identity(self) -> str:
        from foleyflow.weights import file_sha256

        if self._identity is None:
            self._identity = file_sha256(self._path)
        return self._identity

    @property
    def frames(self) -> Frames:
        if self._frames is None:
            own = self._sight.rate_hz is None
            self._frames = self._own_frames() if own else self._frames_on_grid()
        return self._frames

    def _own_frames(self) -> Frames:
        from foleyflow.media.reader import read_frames

        size_px = self._sight.size_px
        pairs = list(read_frames(self._path, size=size_px, max_rate_hz=SEEN_RATE_HZ))
        if not pairs:
            raise MediaError(f"{self._path}: no picture in it")
        return Frames(
            pixels=np.stack([picture for _, picture in pairs]),
            times_s=np.array([time_s for time_s, _ in pairs]),
        )

    def _frames_on_grid(self) -> Frames:
        from foleyflow.media.probe import probe
        from foleyflow.media.reader import read_pictures

        side, rate_hz, info = self._sight.size_px, self._sight.rate_hz or 1.0, probe(self._path)
        count = max(1, int(min(info.duration_s, LONGEST_SEEN_S) * rate_hz + 1e-6))
        times_s = np.arange(count) / rate_hz
        height = width = side
        if self._sight.shape != "squashed":
            aspect = info.width / info.height
            width, height = round(side * max(aspect, 1)), round(side * max(1 / aspect, 1))
        pictures = read_pictures(
            self._path, times_s.tolist(), height=height, width=width, info=info
        )
        pixels = np.stack(list(pictures))
        if self._sight.shape == "middle":
            top, left = (height - side) // 2, (width - side) // 2
            pixels = pixels[:, top : top + side, left : left + side]
        return Frames(pixels=pixels, times_s=times_s)


class GenerationTimeScores:
    """How long each generated sound took, by the file beside it; the controls took no time."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._left_out: dict[str, str] = {}

    def add(self, case: Case, rows: Mapping[str, Sound]) -> None:
        """Read a clip's sidecar."""
        try:
            self._values[case.name] = generation_time(case.generated)
        except ValueError as error:
            self._left_out[case.name] = str(error)

    def score(self, metric: Metric, seed: int) -> MetricScore:
        """The mean over clips."""
        made = list(self._values.values())
        return MetricScore(
            metric=metric,
            rows={"generated": mean_figure(made, seed)} if made else {},
            clips=self._values,
            left_out=self._left_out,
        )


def mean_figure(values: Sequence[float], seed: int) -> Figure:
    """The mean of one value per clip, with its interval.

    Args:
        values: at least one.
        seed: of the bootstrap.

    Source: ours.
    """
    interval = bootstrap_mean(values, seed=seed)
    return Figure(value=interval.mean, low=interval.low, high=interval.high, count=interval.count)


def single_figure(value: float, count: int) -> Figure:
    """A value of the whole set, which has no interval.

    Args:
        value: the figure.
        count: clips in the set.

    Source: ours.
    """
    return Figure(value=value, low=None, high=None, count=count)
