"""The reconstruction ceiling: what a codec preserves of true sounds.

A generator of latents is at best as good as decoded true latents. Each sound of a split is encoded,
decoded and compared with itself, one at a time; only figures and outputs of judges are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from foleyflow.codec.interface import SoundCodec
from foleyflow.errors import ConfigError
from foleyflow.evaluation.computations import AudioJudged
from foleyflow.evaluation.metric import bootstrap_mean
from foleyflow.evaluation.metrics import METRICS
from foleyflow.evaluation.metrics.synchrony import detect_onsets, onset_f1
from foleyflow.experiments.judged_sounds import (
    JUDGED_COLUMNS,
    ColumnJudges,
    column_preprocessing,
)
from foleyflow.experiments.reconstruction import log_spectral_distances_db, pre_echoes_db
from foleyflow.features.frames import Split, read_mono
from foleyflow.judges.interface import Judge, preprocess_audio
from foleyflow.pretrained import load_codec
from foleyflow.signals import Waveform
from foleyflow.system.generic_types import Progress

TOLERANCES_S = (0.05, 0.01)  # of onsets


def measure_ceiling(
    model: Path,
    data: Path,
    *,
    split: str,
    clips: int,
    judges: ColumnJudges,
    device: torch.device,
    baseline: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Decode the truth of a split and compare it with the truth.

    Args:
        model: folder with a codec.
        data: data set of simulated or real clips.
        split: "train", "validation" or "test".
        clips: largest number of clips.
        judges: of the columns; those of sounds are used.
        device: of the codec.
        baseline: folder with another codec of the same sample rate, which decodes the same clips.
        progress: called with the number of clips done, and of all.

    Returns:
        "ceiling": the judged columns of sounds; "log_spectral_distance_db" of each window;
        "onset_f1" of the onsets detected in both sounds, over clips with onsets;
        "pre_echo_db" over clips of all their onsets, and of those after quiet. Means have bootstrap
        intervals over clips. "not_measured": column -> reason. With a baseline, "baseline" has its
        figures, and "difference" those of the model minus the baseline, clip by clip.

    Raises:
        ConfigError: the codecs have different sample rates.
    """
    codecs = [load_codec(folder).to(device) for folder in (model, baseline) if folder is not None]
    rates = {codec.config.rate_hz for codec in codecs}
    if len(rates) > 1:
        raise ConfigError(
            f"{baseline}: a codec of {codecs[1].config.rate_hz} Hz, expected "
            f"{codecs[0].config.rate_hz} Hz, as that of {model}",
            hint="distances of spectra are comparable at one rate only; measure each alone",
        )
    opened = Split.at(data, split)
    total = min(clips, len(opened.clips))
    found = [
        _decode_truth(codec, opened, range(total), judges, device, progress) for codec in codecs
    ]
    result = {"clips": total, "rate_hz": codecs[0].config.rate_hz, **found[0].report()}
    if baseline is not None:
        first, second = (each.scores for each in found)
        difference = {name: np.subtract(first[name], second[name]) for name in first}
        result |= {"baseline": found[1].report(), "difference": _means(difference)}
    return result


def _decode_truth(
    codec: SoundCodec,
    split: Split,
    clips: range,
    judges: ColumnJudges,
    device: torch.device,
    progress: Progress,
) -> _Reconstruction:
    """Scores of one codec, clip by clip."""
    rate_hz, hop = codec.config.rate_hz, codec.config.hop_samples
    scores: dict[str, list[float]] = defaultdict(list)
    judged = _JudgedPairs(judges)
    for index in clips:
        # Decode the truth, filled with zeros to complete latent frames
        true = read_mono(split.clips, index, rate_hz)
        padded = np.pad(true, (0, -len(true) % hop))
        with torch.inference_mode():
            sound = torch.from_numpy(padded)[None].to(device)
            decoded = codec.decode(codec.encode(sound))[0, : len(true)].float().cpu().numpy()

        # Spectra, onsets and pre-echo
        for window, distance_db in log_spectral_distances_db(true, decoded).items():
            scores[f"log_spectral_distance_db {window}"].append(distance_db)
        true_s, decoded_s = (detect_onsets(each, rate_hz).times_s for each in (true, decoded))
        if len(true_s):
            for tolerance_s in TOLERANCES_S:
                name = f"onset_f1 {1000 * tolerance_s:g} ms"
                scores[name].append(onset_f1(true_s, decoded_s, tolerance_s))
        groups = pre_echoes_db(true, decoded, true_s, rate_hz)
        for name, values in zip(("all onsets", "onsets after quiet"), groups, strict=True):
            if values:
                scores[f"pre_echo_db {name}"].append(float(np.mean(values)))

        # Judges
        judged.add(true, decoded, rate_hz)
        progress(index + 1, len(clips))
    return _Reconstruction(scores=scores, judged=judged)


@dataclass(frozen=True, kw_only=True)
class _Reconstruction:
    """Scores of one codec: "group part" -> one value per clip; and outputs of judges."""

    scores: Mapping[str, list[float]]
    judged: _JudgedPairs

    def report(self) -> dict[str, Any]:
        return {**self.judged.figures(), **_means(self.scores)}


def _means(scores: Mapping[str, ArrayLike]) -> dict[str, Any]:
    """Values of "group part" as group -> part -> mean with its bootstrap interval."""
    result: dict[str, Any] = {}
    for name, values in scores.items():
        group, _, part = name.partition(" ")
        result.setdefault(group, {})[part] = asdict(bootstrap_mean(values))
    return result


class _JudgedPairs:
    """The judges' outputs for true and decoded sounds; no sound is kept."""

    def __init__(self, judges: ColumnJudges) -> None:
        self._judges = judges
        self._missing = {
            column: str(error)
            for column, error in judges.missing.items()
            if isinstance(METRICS[JUDGED_COLUMNS[column]].computation, AudioJudged)
        }
        self._computations = {
            column: computation
            for column, name in judges.columns.items()
            if isinstance(computation := METRICS[name].computation, AudioJudged)
        }
        self._outputs: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {
            column: [] for column in self._computations
        }
        self._refused: dict[str, str] = {}

    def add(self, true: NDArray[np.float32], decoded: NDArray[np.float32], rate_hz: int) -> None:
        """Compute the outputs of all judges; a judge may refuse a sound."""
        waveforms = [Waveform(samples=each[None], rate_hz=rate_hz) for each in (true, decoded)]
        for column, computation in self._computations.items():
            judge = cast(Judge, self._judges.judges[computation.judge])
            compute = judge.embed if computation.output == "embed" else judge.logits
            preprocessing = column_preprocessing(column)
            try:
                first, second = (
                    compute(preprocess_audio(judge, each, preprocessing)) for each in waveforms
                )
            except ValueError as error:
                self._refused[column] = str(error)
            else:
                self._outputs[column].append((first, second))

    def figures(self) -> dict[str, Any]:
        """The columns, and the reasons why some have no value."""
        figures: dict[str, Any] = {}
        missing = dict(self._missing)
        for column, computation in self._computations.items():
            pairs = self._outputs[column]
            try:
                if not pairs:
                    raise ValueError(self._refused.get(column, "no clips"))
                values = computation.compare(
                    [true for true, _ in pairs], [decoded for _, decoded in pairs]
                ).values
            except ValueError as error:
                missing[column] = str(error)
                continue
            if computation.per_clip:
                figures[column] = asdict(bootstrap_mean(values))
            else:
                figures[column] = {"mean": float(values[0]), "count": len(pairs)}
        return {"ceiling": figures, "not_measured": missing}
