"""In which precision networks compute: bfloat16 or fp32, by the machine or by the user's choice.

The choice is the environment variable FOLEYFLOW_PRECISION, so that it reaches every process that
does part of the work (torchrun, Ray, subprocesses); `foleyflow --precision` sets it:

    auto   bfloat16 where the device multiplies it in hardware, fp32 elsewhere
    bf16   bfloat16 everywhere, also where it is emulated (about 15 times slower)
    fp32   fp32 everywhere

Only arithmetic under `fast_autocast` follows it: training steps with `train.bf16`, and the frame
encoder wherever an aligner's features are computed. The flow and the codec generate in fp32, and
published encoders compute their features in fp32 always (`encoders.published`). Importing this
module does not load torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from foleyflow.errors import ConfigError
from foleyflow.system.processor import processor_features

if TYPE_CHECKING:
    import torch

PRECISION_VARIABLE = "FOLEYFLOW_PRECISION"
PRECISIONS = ("auto", "bf16", "fp32")


def precision_setting() -> str:
    """The user's choice: one of `PRECISIONS`.

    Raises:
        ConfigError: the environment variable has another value.

    Source: ours.
    """
    setting = os.environ.get(PRECISION_VARIABLE) or "auto"
    if setting not in PRECISIONS:
        raise ConfigError(
            f"precision {setting!r}: expected {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}",
            hint=f"give --precision auto, or unset {PRECISION_VARIABLE}",
        )
    return setting


@contextmanager
def precision_set_to(setting: str) -> Iterator[None]:
    """Within it, and in processes that are started there, the precision is this one.

    Args:
        setting: one of `PRECISIONS`; any other is refused where it is first used.

    Source: ours.
    """
    before = os.environ.get(PRECISION_VARIABLE)
    os.environ[PRECISION_VARIABLE] = setting
    try:
        yield
    finally:
        if before is None:
            del os.environ[PRECISION_VARIABLE]
        else:
            os.environ[PRECISION_VARIABLE] = before


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware.

    Source: ours. Measured on a server processor with AVX2 alone, one core: a matrix product runs at
        0.002 TFLOP/s in bfloat16 and at 0.03 in fp32.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not processor_features().isdisjoint(("avx512_bf16", "amx_bf16"))


def precision_on(device: torch.device) -> str:
    """What networks compute in on a device under the current setting: "bf16" or "fp32".

    Args:
        device: on which the arithmetic runs.

    Raises:
        ConfigError: the setting is unknown.

    Source: ours.
    """
    setting = precision_setting()
    if setting == "auto":
        return "bf16" if bfloat16_is_fast(device) else "fp32"
    return setting


def fast_autocast(device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """Autocast to bfloat16 where `precision_on` says so, nothing elsewhere.

    Args:
        device: on which the arithmetic runs.
        enabled: False leaves everything in fp32 under any setting.

    Raises:
        ConfigError: the setting is unknown.

    Source: ours.
    """
    import torch

    wanted = enabled and precision_on(device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
