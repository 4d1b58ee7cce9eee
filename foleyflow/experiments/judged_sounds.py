"""KLD, FAD and Align Acc of generated sounds: the columns of the paper's tables.

The metrics and their judges are those of `foleyflow evaluate`: the published networks where their
weights are present, and always the two judges that ship with foleyflow. What depends on the clips
alone, the judges' outputs for the true sounds and their features of the videos, is computed once
for all systems.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from foleyflow.errors import FoleyflowError
from foleyflow.evaluation.computations import AudioJudged, VideoJudged
from foleyflow.evaluation.judge_scores import JudgeVideo
from foleyflow.evaluation.metric import bootstrap_mean
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.protocols import PROTOCOLS
from foleyflow.features.frames import Split
from foleyflow.judges.adapters import load_judges
from foleyflow.judges.interface import (
    DEFAULT_AUDIO_PREPROCESSING,
    AnyJudge,
    Judge,
    MaterialJudge,
    PairJudge,
    PairPadding,
    preprocess_audio,
)
from foleyflow.judges.preprocessing import AudioPreprocessing
from foleyflow.judges.weights import default_folder
from foleyflow.signals import Frames, Waveform

# Column of the tables -> its metric.
PUBLISHED_COLUMNS = {"KLD": "kl_passt", "FAD": "frechet_vggish", "Align Acc": "align_acc"}
SIMULATION_COLUMNS = {
    "KLD-sim": "KLD-sim",
    "FAD-sim": "FAD-sim",
    "Align Acc-sim": "AlignAcc-sim",
}
JUDGED_COLUMNS = {**PUBLISHED_COLUMNS, **SIMULATION_COLUMNS}
TAGGER = "tagger-sim"

Outputs = list[NDArray[np.float64] | None]  # of one judge per clip; None where it has none


@dataclass(frozen=True, kw_only=True)
class ColumnJudges:
    """The judges whose weights are present.

    Attributes:
        judges: by name.
        missing: column that can't be computed -> the error of its judge.
    """

    judges: Mapping[str, AnyJudge]
    missing: Mapping[str, FoleyflowError]

    @property
    def columns(self) -> dict[str, str]:
        """Column -> metric, of those that can be computed."""
        return {name: each for name, each in JUDGED_COLUMNS.items() if name not in self.missing}

    @property
    def weights_sha256(self) -> dict[str, str]:
        """Judge -> hash of its weights."""
        return {name: judge.weights_sha256 for name, judge in self.judges.items()}


def load_column_judges(folder: Path | None = None) -> ColumnJudges:
    """Load the judges of all columns from a folder of weights, by default that of `evaluate`.

    Raises:
        FoleyflowError: a judge that ships with foleyflow can't be loaded.
    """
    needed = {column: cast(str, METRICS[name].judge) for column, name in JUDGED_COLUMNS.items()}
    judges, errors = load_judges(needed.values(), folder or default_folder())
    for column in SIMULATION_COLUMNS:
        if needed[column] in errors:
            raise errors[needed[column]]
    missing = {column: errors[judge] for column, judge in needed.items() if judge in errors}
    return ColumnJudges(judges=judges, missing=missing)


class SoundScores:
    """Scores of sounds for the same clips, one system after another.

    Attributes:
        judges: of the columns.
    """

    def __init__(
        self,
        judges: ColumnJudges,
        true_sounds: Sequence[Waveform],
        split: Split,
        clips: Sequence[int],
    ) -> None:
        """Prepares nothing; outputs for the clips are computed when they are first needed.

        Args:
            judges: of the columns.
            true_sounds: each from the start of its clip; the videos are cut to their length.
            split: that contains the clips.
            clips: index of each clip in the split.
        """
        self.judges = judges
        self._true_sounds = true_sounds
        self._split = split
        self._clips = clips
        self._true_outputs: dict[str, Outputs] = {}
        self._pair_judges: dict[str, list[tuple[PairJudge, Frames]]] = {}

    @property
    def tagger(self) -> MaterialJudge:
        """The judge that classifies materials."""
        return cast(MaterialJudge, self.judges.judges[TAGGER])

    def figures(self, sounds: Sequence[Waveform]) -> dict[str, Any]:
        """The judged columns of one system.

        Args:
            sounds: one per clip, in the order of the true ones.

        Returns:
            Column -> "mean" and "count" (clips with a value), for values per clip also "low" and
            "high", the ends of the bootstrap interval over clips, and for a judge that pads pairs
            "sound_padding" and "video_padding", the mean fractions of its input. "not_measured":
            column -> the reason why it has no value, of columns whose judge is present.
        """
        figures: dict[str, Any] = {}
        not_measured: dict[str, str] = {}
        for column, name in self.judges.columns.items():
            computation = METRICS[name].computation
            preprocessing = _preprocessing(column)
            try:
                if isinstance(computation, AudioJudged):
                    figures[column] = self._audio_figure(computation, preprocessing, sounds)
                else:
                    judged = cast(VideoJudged, computation)
                    figures[column] = self._video_figure(judged, preprocessing, sounds)
            except ValueError as error:
                not_measured[column] = str(error)
        return {**figures, "not_measured": not_measured}

    def _audio_figure(
        self, judged: AudioJudged, preprocessing: AudioPreprocessing, sounds: Sequence[Waveform]
    ) -> dict[str, Any]:
        """A metric of sounds; a ValueError if no clip has a value."""
        judge = cast(Judge, self.judges.judges[judged.judge])
        apply = functools.partial(_outputs, judge, judged.output, preprocessing)
        key = f"{judged.judge} {judged.output}"
        if key not in self._true_outputs:
            self._true_outputs[key] = apply(self._true_sounds)
        both = [
            (true, generated)
            for true, generated in zip(self._true_outputs[key], apply(sounds), strict=True)
            if true is not None and generated is not None
        ]
        if not both:
            raise ValueError(f"the judge {judged.judge!r} has no output for any clip")
        values = judged.compare([true for true, _ in both], [each for _, each in both]).values
        if judged.per_clip:
            return asdict(bootstrap_mean(values))
        return {"mean": float(values[0]), "count": len(both)}

    def _video_figure(
        self, judged: VideoJudged, preprocessing: AudioPreprocessing, sounds: Sequence[Waveform]
    ) -> dict[str, Any]:
        """A metric of pairs; a ValueError if no clip has a value."""
        if judged.judge not in self._pair_judges:
            judge = cast(PairJudge, self.judges.judges[judged.judge])
            # A judge keeps the features of its latest video: a copy per clip keeps those of all.
            self._pair_judges[judged.judge] = [
                (copy.copy(judge), self._frames(judge, preprocessing, clip, true.duration_s))
                for clip, true in zip(self._clips, self._true_sounds, strict=True)
            ]
        values: list[float] = []
        padding: list[PairPadding] = []
        why = ""
        for (judge, frames), sound in zip(self._pair_judges[judged.judge], sounds, strict=True):
            samples = preprocessing.apply(sound, judge.rate_hz)
            try:
                output = judge.score(frames, samples)
            except ValueError as error:
                why = str(error)
                continue
            values.append(output if judged.threshold is None else float(output > judged.threshold))
            if judge.pads is not None:
                padding.append(judge.padding(frames, samples))
        if not values:
            raise ValueError(why)
        figure = asdict(bootstrap_mean(values))
        if padding:
            figure["sound_padding"] = float(np.mean([each.sound_fraction for each in padding]))
            figure["video_padding"] = float(np.mean([each.video_fraction for each in padding]))
        return figure

    def _frames(
        self, judge: PairJudge, preprocessing: AudioPreprocessing, clip: int, end_s: float
    ) -> Frames:
        """The frames of a clip up to the end of its sound, as a judge takes them.

        Of the video's own frames, the first one after the end belongs to them, since a judge
        measures the duration of a video by its last frame.
        """
        with self._split.clips.files(clip) as (path, _):
            frames = JudgeVideo(path, judge.video_preprocessing, preprocessing).frames
        count = int(np.searchsorted(frames.times_s, end_s - 1e-6))
        if judge.video_preprocessing.rate_hz is None:
            count += 1
        return Frames(
            pixels=np.ascontiguousarray(frames.pixels[:count]), times_s=frames.times_s[:count]
        )


def _preprocessing(column: str) -> AudioPreprocessing:
    """That of the paper's protocol for published judges, else the default."""
    if column in PUBLISHED_COLUMNS:
        return PROTOCOLS["paper"].audio_preprocessing
    return DEFAULT_AUDIO_PREPROCESSING


def _outputs(
    judge: Judge, output: str, preprocessing: AudioPreprocessing, sounds: Sequence[Waveform]
) -> Outputs:
    """A judge's logits or embeddings of each sound; None for one that it refuses."""
    compute: Callable[[NDArray[np.float32]], NDArray[np.float64]] = getattr(judge, output)
    outputs: Outputs = []
    for sound in sounds:
        try:
            outputs.append(compute(preprocess_audio(judge, sound, preprocessing)))
        except ValueError:
            outputs.append(None)
    return outputs
