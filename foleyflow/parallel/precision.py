"""Chooses the precision of networks: bfloat16 or fp32.

The setting is the environment variable FOLEYFLOW_PRECISION, so that it reaches all processes of a
job (torchrun, Ray, subprocesses). `foleyflow --precision` sets it:

    auto   bfloat16 if the device multiplies it in hardware, else fp32
    bf16   bfloat16 everywhere, even if it is emulated (about 15 times slower)
    fp32   fp32 everywhere

Only arithmetic under `fast_autocast` follows it: training steps with `train.bf16`, and the video
encoder of an aligner. The flow and the codec always generate in fp32, and published encoders
always compute in fp32. Importing this module does not load torch.
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
    """The user's setting, one of `PRECISIONS`.

    Raises:
        ConfigError: the environment variable has another value.
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
    """Sets the precision in the block and in processes started there.

    Any value is accepted here; `precision_setting` refuses those that are not in `PRECISIONS`.
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
    """Whether a device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not processor_features().isdisjoint(("avx512_bf16", "amx_bf16"))


def precision_on(device: torch.device) -> str:
    """The precision on a device under the current setting, "bf16" or "fp32".

    Raises:
        ConfigError: the setting is unknown.
    """
    setting = precision_setting()
    if setting == "auto":
        return "bf16" if bfloat16_is_fast(device) else "fp32"
    return setting


def fast_autocast(device: torch.device, *, enabled: bool = True) -> torch.autocast:
    """Autocast to bfloat16 if `precision_on` is "bf16"; no effect otherwise, or if not `enabled`.

    Raises:
        ConfigError: the setting is unknown.
    """
    import torch

    to_bfloat16 = enabled and precision_on(device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=to_bfloat16)
