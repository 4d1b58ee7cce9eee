"""The distance of two sounds' spectra, and a Griffin-Lim baseline that any codec must beat.

The baseline shows how much of a sound the paper's 128 x 128 spectrogram preserves; the paper
describes no decoder for it.
"""

from __future__ import annotations

import functools
import math
import sys

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from foleyflow.evaluation.computations import Pairwise, PairwiseGroup
from foleyflow.evaluation.metric import Metric, extra_package
from foleyflow.evaluation.metrics import levels

WINDOW_SAMPLES = 2048
HOP_SAMPLES = 512
EPSILON = 1e-5  # added to magnitudes under a window that sums to one: -100 dBFS

PAPER_RATE_HZ = 8000
PAPER_HOP_SAMPLES = 625  # 128 frames in 10 s
PAPER_BAND_COUNT = 128
# The paper's 50 ms leave gaps between frames 78 ms apart; two hops are what can be inverted.
PAPER_WINDOW_SAMPLES = 2 * PAPER_HOP_SAMPLES
PAPER_FFT_SAMPLES = 2048
GRIFFIN_LIM_ITERATIONS = 32


def log_spectral_distance(reference: NDArray[np.float32], estimated: NDArray[np.float32]) -> float:
    """Mean over frames of the root mean square, over bins, of the level difference in dB.

    Levels are those of magnitudes plus 1e-5, under a Hann window of 2048 samples that sums to one,
    every 512 samples. The sounds, (N,) float32 with full scale at -1..1, must have the same rate;
    the longer one is cut. Values are comparable at one rate only.

    Raises:
        ValueError: a sound is not mono, or empty.

    Reference: Gray and Markel 1976, IEEE Trans. ASSP 24(5); the floor of the magnitudes is ours.
    """
    return distance_db(SpectralLevels(reference), SpectralLevels(estimated))


class SpectralLevels:
    """A (N,) sound whose levels are computed once for all sounds of its length."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self.samples = samples

    @functools.cached_property
    def _all_levels_db(self) -> NDArray[np.float64]:
        return level_db(self.samples)

    def first_levels_db(self, count: int) -> NDArray[np.float64]:
        """`level_db` of the first samples."""
        cut = count < len(self.samples)
        return level_db(self.samples[:count]) if cut else self._all_levels_db


def distance_db(reference: SpectralLevels, estimated: SpectralLevels) -> float:
    """`log_spectral_distance` of sounds whose levels may already be computed."""
    shapes = reference.samples.shape, estimated.samples.shape
    if len(shapes[0]) != 1 or len(shapes[1]) != 1 or not min(*shapes[0], *shapes[1]):
        raise ValueError(f"got sounds of shape {shapes[0]} and {shapes[1]}, expected (N,), N > 0")
    count = min(*shapes[0], *shapes[1])
    difference_db = reference.first_levels_db(count) - estimated.first_levels_db(count)
    return float(np.sqrt(np.square(difference_db).mean(axis=1)).mean())


def level_db(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of every bin of every frame of a (N,) sound, (T, 1025) float64 dBFS, at least -100.

    Zeros are added so that every sample lies in a frame: T is N / 512, rounded up, and at least 1.
    """
    count = max(1, -(-len(samples) // HOP_SAMPLES))
    frames = levels.frame(samples, window=WINDOW_SAMPLES, hop=HOP_SAMPLES, count=count)
    hann = levels.hann_window(WINDOW_SAMPLES)
    level = np.empty((count, WINDOW_SAMPLES // 2 + 1))
    for start in range(0, count, levels.FRAMES_AT_A_TIME):
        part = slice(start, start + levels.FRAMES_AT_A_TIME)
        spectrum = scipy.fft.rfft(frames[part] * hann, axis=1)
        magnitude = np.sqrt(np.square(spectrum.real) + np.square(spectrum.imag))
        level[part] = 20 * np.log10(magnitude + EPSILON)
    return level


def paper_griffin_lim(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Encode a (N,) sound as the paper's spectrogram, decode it by Griffin-Lim and return it.

    8 kHz mono, 128 mel bands from 0 to 4 kHz, one frame every 625 samples (128 frames in 10 s),
    inverted by non-negative least squares and Griffin-Lim, and resampled to the sound's rate.

    Raises:
        ValueError: the sound is not mono, or shorter than one hop (78 ms).
        MissingExtra: librosa is not installed.

    Reference: Foley-Flow, section 4; Griffin and Lim 1984 with the momentum of Perraudin et al.
    2013, as in librosa.
    """
    if samples.ndim != 1 or len(samples) < rate_hz * PAPER_HOP_SAMPLES / PAPER_RATE_HZ:
        raise ValueError(f"got {samples.shape} at {rate_hz} Hz, expected (N,) of 78 ms or more")
    librosa = extra_package("librosa")
    # The paper's spectrogram
    narrow = levels.resample(samples, rate_hz, PAPER_RATE_HZ)
    stft = {"hop_length": PAPER_HOP_SAMPLES, "win_length": PAPER_WINDOW_SAMPLES}
    scale = {"sr": PAPER_RATE_HZ, "n_fft": PAPER_FFT_SAMPLES, "power": 1.0}
    mel = librosa.feature.melspectrogram(y=narrow, n_mels=PAPER_BAND_COUNT, **scale, **stft)
    # Its inversion
    magnitude = librosa.feature.inverse.mel_to_stft(mel, **scale)
    sound = librosa.griffinlim(
        magnitude,
        n_iter=GRIFFIN_LIM_ITERATIONS,
        n_fft=PAPER_FFT_SAMPLES,
        length=len(narrow),
        random_state=0,
        **stft,
    )
    restored = levels.resample(sound.astype(np.float32), PAPER_RATE_HZ, rate_hz)
    fitted = np.zeros(len(samples), np.float32)
    fitted[: len(restored)] = restored[: len(samples)]
    return fitted


METRICS = (
    Metric(
        name="log_spectral_distance",
        unit="dB",
        direction="lower",
        range=(0.0, math.inf),
        reference="Gray and Markel, IEEE Trans. ASSP 24(5), 1976; n_fft 2048, hop 512, eps 1e-5; "
        "folders at 16 kHz by soxr VHQ",
        computation=Pairwise(
            group=PairwiseGroup(
                name="spectral",
                modules=(sys.modules[__name__], levels),
                basis=levels.mono_16_khz,
                analyse=SpectralLevels,
                analyse_events=None,
                compare=distance_db,
            )
        ),
    ),
)
