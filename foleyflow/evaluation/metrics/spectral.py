"""How far two sounds are apart as spectra, and the baseline that any codec must beat.

Arrays in, numbers out. No network judges here, so nothing needs weights. The baseline shows
what the paper's own 128 x 128 spectrogram can give back: Griffin-Lim, as no decoder is named.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from foleyflow.evaluation.metric import Metric, extra_package

WINDOW_SAMPLES = 2048
HOP_SAMPLES = 512
EPSILON = 1e-5  # added to magnitudes of a window that sums to one: -100 dBFS
JUDGED_RATE_HZ = 16000  # of folders: most systems' rate; what lies above 8 kHz is not judged

LOG_SPECTRAL_DISTANCE = Metric(
    name="log_spectral_distance",
    unit="dB",
    direction="lower",
    range=(0.0, math.inf),
    reference="Gray and Markel, IEEE Trans. ASSP 24(5), 1976; n_fft 2048, hop 512, eps 1e-5; "
    "folders at 16 kHz by soxr VHQ",
)

PAPER_RATE_HZ = 8000
PAPER_HOP_SAMPLES = 625  # 128 frames in 10 s
PAPER_BAND_COUNT = 128
# The paper's 50 ms leave gaps between frames 78 ms apart; two hops are what can be inverted.
PAPER_WINDOW_SAMPLES = 2 * PAPER_HOP_SAMPLES
PAPER_FFT_SAMPLES = 2048


def log_spectral_distance(reference: NDArray[np.float32], estimated: NDArray[np.float32]) -> float:
    """Mean over frames of the root mean square, over bins, of the difference in dB.

    Magnitudes are those of a Hann window of 2048 samples that sums to one, every 512 samples,
    plus 1e-5. Both sounds must have the same rate; figures compare at the same rate only.

    Args:
        reference: (N,) float32, full scale at -1..1.
        estimated: (N,) float32; a longer one of the two is cut at the other's end.

    Returns:
        dB, 0 for identical sounds.

    Raises:
        ValueError: not mono, or nothing in common.

    Source: Gray and Markel 1976, IEEE Trans. ASSP 24(5), on magnitudes with a floor (ours).
    """
    return distance_db(SpectralLevels(reference), SpectralLevels(estimated))


class SpectralLevels:
    """A sound with the levels of its bins, computed when they are first asked for.

    One true sound is compared with many sounds of its length.
    """

    def __init__(self, samples: NDArray[np.float32]) -> None:
        """Takes a sound, (N,) float32."""
        self.samples = samples

    @functools.cached_property
    def whole_db(self) -> NDArray[np.float64]:
        """`level_db` of all of it."""
        return level_db(self.samples)

    def first_db(self, count: int) -> NDArray[np.float64]:
        """`level_db` of its first samples."""
        return self.whole_db if count == len(self.samples) else level_db(self.samples[:count])


def distance_db(reference: SpectralLevels, estimated: SpectralLevels) -> float:
    """`log_spectral_distance` of sounds whose levels may be known already.

    Args:
        reference: the true sound.
        estimated: the other one.

    Returns:
        dB.

    Raises:
        ValueError: not mono, or nothing in common.

    Source: Gray and Markel 1976.
    """
    shapes = reference.samples.shape, estimated.samples.shape
    if len(shapes[0]) != 1 or len(shapes[1]) != 1 or not min(*shapes[0], *shapes[1]):
        raise ValueError(f"got sounds of shape {shapes[0]} and {shapes[1]}, expected (N,), N > 0")
    count = min(*shapes[0], *shapes[1])
    difference_db = reference.first_db(count) - estimated.first_db(count)
    return float(np.sqrt(np.square(difference_db).mean(axis=1)).mean())


def paper_griffin_lim(
    samples: NDArray[np.float32], rate_hz: int, *, iterations: int = 32, seed: int = 0
) -> NDArray[np.float32]:
    """What remains of a sound after the paper's spectrogram and Griffin-Lim.

    8 kHz mono, 128 mel bands from 0 to 4 kHz, one frame every 625 samples (128 frames in 10 s),
    inverted by non-negative least squares and Griffin-Lim, and resampled to the given rate.

    Args:
        samples: (N,) float32 mono, full scale at -1..1.
        rate_hz: its rate, which is the result's too.
        iterations: of Griffin-Lim.
        seed: of the initial phases.

    Returns:
        (N,) float32.

    Raises:
        ValueError: not mono, or shorter than one hop (78 ms).
        MissingExtra: librosa is not installed.

    Source: Foley-Flow section 4 (as read in our method, A.1); Griffin and Lim 1984 with the
    momentum of Perraudin et al. 2013, as in librosa.
    """
    if samples.ndim != 1 or len(samples) < rate_hz * PAPER_HOP_SAMPLES / PAPER_RATE_HZ:
        raise ValueError(f"got {samples.shape} at {rate_hz} Hz, expected (N,) of 78 ms or more")
    import soxr

    librosa = extra_package("librosa")
    low = soxr.resample(samples, rate_hz, PAPER_RATE_HZ, quality="VHQ")
    mel = librosa.feature.melspectrogram(
        y=low,
        sr=PAPER_RATE_HZ,
        n_fft=PAPER_FFT_SAMPLES,
        hop_length=PAPER_HOP_SAMPLES,
        win_length=PAPER_WINDOW_SAMPLES,
        n_mels=PAPER_BAND_COUNT,
        power=1.0,
    )
    magnitude = librosa.feature.inverse.mel_to_stft(
        mel, sr=PAPER_RATE_HZ, n_fft=PAPER_FFT_SAMPLES, power=1.0
    )
    sound = librosa.griffinlim(
        magnitude,
        n_iter=iterations,
        n_fft=PAPER_FFT_SAMPLES,
        hop_length=PAPER_HOP_SAMPLES,
        win_length=PAPER_WINDOW_SAMPLES,
        length=len(low),
        random_state=seed,
    )
    restored = soxr.resample(sound.astype(np.float32), PAPER_RATE_HZ, rate_hz, quality="VHQ")
    fitted = np.zeros(len(samples), np.float32)
    fitted[: len(restored)] = restored[: len(samples)]
    return fitted


def level_db(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of every bin of every frame; zeros are added so that every sample lies in a frame.

    Args:
        samples: (N,) float32, full scale at -1..1.

    Returns:
        (T, 1025) float64 dBFS, -100 or more; T is N / 512, rounded up, and at least 1.

    Source: ours.
    """
    frame_count = max(1, -(-len(samples) // HOP_SAMPLES))
    padded = np.zeros((frame_count - 1) * HOP_SAMPLES + 2 * WINDOW_SAMPLES)
    padded[WINDOW_SAMPLES // 2 : WINDOW_SAMPLES // 2 + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    magnitude = np.abs(np.fft.rfft(windows[:frame_count] * (window / window.sum()), axis=1))
    return np.asarray(20 * np.log10(magnitude + EPSILON))
