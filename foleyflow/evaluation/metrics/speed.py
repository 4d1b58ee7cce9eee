"""Computing time per second of sound, from the JSON sidecars of generated files.

`foleyflow generate --sidecar` writes them, and so may any other system:
{"duration_s": 8.0, "timings_s": {"total": 1.2}}. They do not identify the machine.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from foleyflow.evaluation.computations import FileBased
from foleyflow.evaluation.metric import Metric
from foleyflow.media.formats import SIDECAR_SUFFIX


def generation_time(sound: Path) -> float:
    """Seconds of computing per second of a generated sound, from NAME.SUFFIX.json or NAME.json.

    Raises:
        ValueError: there is no sidecar, or it contains no valid times.
    """
    choices = (sound.with_name(sound.name + SIDECAR_SUFFIX), sound.with_suffix(SIDECAR_SUFFIX))
    path = next((path for path in choices if path.is_file()), None)
    if path is None:
        raise ValueError(f"no {choices[0].name} with the time of its generation next to it")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        took_s = float(record["timings_s"]["total"])
        duration_s = float(record["duration_s"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path.name}: expected {{"duration_s": 8.0, "timings_s": {{"total": 1.2}}}} in it '
            f"({type(error).__name__}: {error})"
        ) from error
    if not (took_s >= 0 and duration_s > 0 and math.isfinite(took_s / duration_s)):
        raise ValueError(f"{path.name}: got {took_s} s for {duration_s} s of sound")
    return took_s / duration_s


METRICS = (
    Metric(
        name="generation_time",
        unit="s/s",
        direction="lower",
        range=(0.0, math.inf),
        reference="ours: seconds of computing per second of sound, file to file, from the "
        "sidecars; comparable on one machine only",
        computation=FileBased(measure=generation_time),
    ),
)
