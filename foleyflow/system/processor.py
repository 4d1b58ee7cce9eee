"""Name and features of the processor, without torch or av.

The features decide whether bfloat16 is fast (`parallel.precision`) and how x264 is kept
reproducible (`media.reproducible`). A feature that the system does not report counts as absent,
which is safe: networks compute in fp32, and x264 chooses for itself.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # names of Linux
CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def processor_features() -> frozenset[str]:
    """Those of `FEATURES` that the system reports for this processor."""
    text = _cpuinfo_text()
    return features_in_cpuinfo(text) if text else _features_known_to_numpy()


def features_in_cpuinfo(text: str) -> frozenset[str]:
    """Those of `FEATURES` that the first processor in the text of /proc/cpuinfo has."""
    return frozenset(_field(text, "flags").split()) & frozenset(FEATURES)


def processor_name() -> str:
    """The processor's model name, or "unknown"."""
    name = _field(_cpuinfo_text(), "model name")
    return name or platform.processor() or platform.machine() or "unknown"


def feature_text(features: frozenset[str]) -> str:
    """Features in the order of `FEATURES`, for reports; "none" if there are none."""
    return " ".join(name for name in FEATURES if name in features) or "none"


def _cpuinfo_text() -> str:
    return CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return ""


def _features_known_to_numpy() -> frozenset[str]:
    """The features that numpy detects, which do not include those of bfloat16."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__
    except ImportError:  # a numpy version that keeps its table elsewhere
        return frozenset()
    present = {name.lower() for name, there in __cpu_features__.items() if there}
    return frozenset(present) & frozenset(FEATURES)
