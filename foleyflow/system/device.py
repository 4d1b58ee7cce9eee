"""Chooses the device that networks run on."""

from __future__ import annotations

import torch

from foleyflow.errors import ConfigError


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA if it is available, else the CPU.

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    hint = "--device auto uses a GPU if there is one, else the CPU"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")  # no such device
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda or cuda:N", hint=hint)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() or "no usable"
        raise ConfigError(f"device {name!r}: this machine has {found} CUDA device(s)", hint=hint)
    return device
