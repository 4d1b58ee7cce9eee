"""The calibration of an aligner: confidence of a hit from its onset probability.

`foleyflow measure calibration --write` measures it, and writes `calibration.json` into the model
folder. The file has the three fields of `Calibration` and may have those of `CalibrationOrigin`. A
folder without the file has the default calibration.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from foleyflow.errors import CheckpointError, ConfigError
from foleyflow.event_peaks import EVENT_THRESHOLD
from foleyflow.weights import CALIBRATION_NAME, read_record, write_atomically

MEASURE_AGAIN = (
    f"delete {CALIBRATION_NAME} to use the onset probability as confidence, then write another "
    "one: foleyflow measure calibration DATA --model FOLDER --write"
)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Confidence of a hit from the onset probability: logistic in its logit.

    Attributes:
        slope, offset: confidence = sigmoid(slope * logit(probability) + offset); the slope is
            above 0.
        threshold: confidence, 0..1, from which a cue is enabled at the default sensitivity.

    Raises:
        ConfigError: a value is out of range.
    """

    slope: float = 1.0
    offset: float = 0.0
    threshold: float = EVENT_THRESHOLD

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (self.slope, self.offset, self.threshold)))
        if not (finite and self.slope > 0 and 0 <= self.threshold <= 1):
            raise ConfigError(
                f"slope={self.slope}, offset={self.offset}, threshold={self.threshold}: expected "
                "finite numbers, slope > 0 and threshold from 0 to 1",
                hint="the default is slope=1, offset=0, threshold=0.5",
            )

    def confidence(self, probability: float) -> float:
        """The confidence, 0..1."""
        score = self.slope * logit(probability) + self.offset
        return 0.5 + 0.5 * math.tanh(0.5 * score)  # the sigmoid, without overflow

    @property
    def lowest_probability(self) -> float:
        """The onset probability from which a cue is enabled at the default sensitivity."""
        score = (logit(self.threshold) - self.offset) / self.slope
        return 0.5 + 0.5 * math.tanh(0.5 * score)

    def enables(self, confidence: float, sensitivity: float) -> bool:
        """Whether a cue is enabled; a sensitivity of 0.5 keeps the threshold."""
        return logit(confidence) + logit(sensitivity) >= logit(self.threshold)


@dataclass(frozen=True, kw_only=True)
class CalibrationOrigin:
    """How a calibration was made.

    Attributes:
        data, fingerprint, split: the clips that it was fitted to.
        clips, candidates: their number, and the number of peaks in them.
        commit: of foleyflow; None outside a git checkout.
        aligner: SHA-256 of its weights, for which alone the calibration is valid.
    """

    data: str
    fingerprint: str
    split: str
    clips: int
    candidates: int
    commit: str | None
    aligner: str


FIGURES = [field.name for field in fields(Calibration)]
ORIGIN = [field.name for field in fields(CalibrationOrigin)]


def logit(probability: float) -> float:
    """ln(p / (1 - p)) of a probability, which is clipped to 1e-6 from 0 and 1."""
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def read_calibration(folder: Path) -> Calibration:
    """The calibration of a model folder, or the default if it has none.

    Raises:
        CheckpointError: the file is damaged, or belongs to another aligner.
    """
    path = folder / CALIBRATION_NAME
    if not path.exists():
        return Calibration()
    # Structure
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: can't be read as JSON ({error})", hint=MEASURE_AGAIN
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: {type(content).__name__}, expected a JSON object", hint=MEASURE_AGAIN
        )
    if unknown := sorted(content.keys() - {*FIGURES, *ORIGIN}):
        raise CheckpointError(
            f"{path}: unknown keys {', '.join(unknown)}, expected {', '.join(FIGURES + ORIGIN)}",
            hint=MEASURE_AGAIN,
        )
    for name in FIGURES:
        value = content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CheckpointError(
                f"{path}: {name}={value!r}, expected a number", hint=MEASURE_AGAIN
            )
    # Values
    try:
        calibration = Calibration(**{name: float(content[name]) for name in FIGURES})
    except (ConfigError, OverflowError) as error:
        raise CheckpointError(f"{path}: {error}", hint=MEASURE_AGAIN) from error
    if content.get("aligner") not in (None, read_record(folder, "align").sha256):
        raise CheckpointError(
            f"{path}: made for an aligner with SHA-256 {content['aligner']}, not for the one in "
            "this folder",
            hint=MEASURE_AGAIN,
        )
    return calibration


def write_calibration(folder: Path, calibration: Calibration, origin: CalibrationOrigin) -> Path:
    """Writes the calibration of a model folder; returns the file."""
    path = folder / CALIBRATION_NAME
    write_atomically(path, json.dumps(asdict(calibration) | asdict(origin), indent=1) + "\n")
    return path
