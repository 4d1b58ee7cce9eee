"""How long a system took: what the files beside its sounds say of it.

A folder of sounds does not tell how it came about. `foleyflow generate --sidecar` writes a JSON
beside each, which any other system may write as well:
{"duration_s": 8.0, "timings_s": {"total": 1.2}}. What machine it was is not known here.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from foleyflow.evaluation.metric import Metric

SIDECAR_SUFFIX = ".json"

GENERATION_TIME = Metric(
    name="generation_time",
    unit="s/s",
    direction="lower",
    range=(0.0, math.inf),
    reference="ours: seconds of computing per second of sound, file to file, from the sidecars; "
    "compares only on one machine",
)


def generation_time(sound: Path) -> float:
    """Seconds of computing per second of a sound, by the sidecar beside it.

    Args:
        sound: the generated file; its sidecar is NAME.SUFFIX.json or NAME.json.

    Returns:
        0 or more.

    Raises:
        ValueError: no sidecar, or one that does not say.

    Source: ours.
    """
    choices = (sound.with_name(sound.name + SIDECAR_SUFFIX), sound.with_suffix(SIDECAR_SUFFIX))
    path = next((path for path in choices if path.is_file()), None)
    if path is None:
        raise ValueError(f"no {choices[0].name} beside it that says how long it took")
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
        raise ValueError(f"{path.name}: {took_s} s for {duration_s} s of sound")
    return took_s / duration_s
