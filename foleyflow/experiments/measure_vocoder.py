"""Measure what the paper's spectrogram keeps of sounds: by Griffin-Lim and by a trained vocoder."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.paper_mel import HOP_SAMPLES, RATE_HZ, PaperMel
from foleyflow.codec.vocoder import GriffinLim, Vocoder
from foleyflow.data.clips import open_split
from foleyflow.evaluation.metrics.spectral import log_spectral_distance, paper_griffin_lim
from foleyflow.evaluation.metrics.synchrony import detect_onsets, onset_f1
from foleyflow.experiments.measure_aligner import WINDOW_S
from foleyflow.experiments.measure_codec import NARROW_WINDOW_S
from foleyflow.features.frames import read_mono
from foleyflow.pretrained import load_vocoder

NEPER_DB = 20 / np.log(10)
AUDIBLE_NEPERS = 7.0  # below the strongest band of a sound; quieter bands do not count


def measure_vocoder(model: Path | None, data: Path, *, clips: int) -> dict[str, Any]:
    """Measure the decoding of exact spectrograms of test sounds, against the sounds at 8 kHz.

    Args:
        model: model folder with a vocoder; None for Griffin-Lim alone.
        data: any data set; at most `clips` of its test clips are used.
        clips: number of clips.

    Returns:
        Means over the clips for "griffin_lim" and "vocoder", and for "griffin_lim_128_columns",
        which has frames of 78 ms (128 in 10 s): the log-spectral distance, the F1 score of onsets
        within 50 and 10 ms, the difference of mel levels, and seconds per second of sound.
    """
    mel, decoders = PaperMel(), {"griffin_lim": _decoder(GriffinLim())}
    if model is not None:
        decoders["vocoder"] = _decoder(load_vocoder(model))
    decoders["griffin_lim_128_columns"] = lambda sound: paper_griffin_lim(sound, RATE_HZ)
    source = open_split(data, "test")
    scores: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in decoders}
    count = min(clips, len(source))
    for index in range(count):
        sound = read_mono(source, index, RATE_HZ)
        sound = sound[: len(sound) // HOP_SAMPLES * HOP_SAMPLES]
        true_s = detect_onsets(sound, RATE_HZ).times_s
        levels = mel(torch.from_numpy(sound)[None])
        audible = levels > levels.max() - AUDIBLE_NEPERS
        for name, decode in decoders.items():
            start_s, found = time.perf_counter(), scores[name]
            decoded = decode(sound)
            found["s_per_s"].append((time.perf_counter() - start_s) / (len(sound) / RATE_HZ))
            found["distance_db"].append(log_spectral_distance(sound, decoded))
            difference = (mel(torch.from_numpy(decoded)[None]) - levels).abs()[audible]
            found["mel_difference_db"].append(float(difference.mean()) * NEPER_DB)
            if len(true_s):
                decoded_s = detect_onsets(decoded, RATE_HZ).times_s
                found["f1_50ms"].append(onset_f1(true_s, decoded_s, WINDOW_S))
                found["f1_10ms"].append(onset_f1(true_s, decoded_s, NARROW_WINDOW_S))
    means = {
        name: {key: round(float(np.mean(values)), 4) for key, values in sorted(found.items())}
        for name, found in scores.items()
    }
    return {"clips": count, "rate_hz": RATE_HZ, **means}


def _decoder(vocoder: Vocoder) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Encodes a sound as exact levels and decodes these."""
    mel, vocoder = PaperMel(), vocoder.eval()

    def decode(sound: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(vocoder(mel(torch.from_numpy(sound)[None]))[0].numpy())

    return decode
