"""What the processor is called and which of its features matter here; needs neither torch nor av.

Two decisions depend on features: whether bfloat16 is fast (`precision`) and how x264 is kept
reproducible (`media.reproducible`). A feature that the system does not report counts as absent,
which is always safe: the work is done in fp32 and x264 chooses for itself.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

# As Linux names them in /proc/cpuinfo.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def processor_features() -> frozenset[str]:
    """Those of `FEATURES` that this machine's processor has, as far as the system reports them.

    Source: ours.
    """
    text = _cpuinfo_text()
    return features_in_cpuinfo(text) if text else _features_known_to_numpy()


def features_in_cpuinfo(text: str) -> frozenset[str]:
    """Those of `FEATURES` that the first processor in /proc/cpuinfo has.

    Args:
        text: content of the file.

    Source: ours.
    """
    return frozenset(_field(text, "flags").split()) & frozenset(FEATURES)


def processor_name() -> str:
    """The processor's model name, as far as the system reports it.

    Source: ours.
    """
    name = _field(_cpuinfo_text(), "model name")
    return name or platform.processor() or platform.machine() or "unknown"


def feature_text(features: frozenset[str]) -> str:
    """Features in a fixed order, for reports; "none" where there are none.

    Args:
        features: some of `FEATURES`.

    Source: ours.
    """
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
    """From numpy, which looks at the processor itself; it has no names for those of bfloat16."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__
    except ImportError:  # a numpy that keeps its table elsewhere
        return frozenset()
    present = {name.lower() for name, there in __cpu_features__.items() if there}
    return frozenset(present) & frozenset(FEATURES)
