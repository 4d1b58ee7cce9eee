"""Copies of the flow's network that a later training stage takes from an earlier one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Snapshot(nn.Module):
    """A module whose children are copies of one network; `started` is 0 until they are filled.

    As a module, it is stored in checkpoints.
    """

    started: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("started", torch.zeros((), dtype=torch.int64))

    def start_from_(self, network: nn.Module) -> None:
        """Copy the weights of a network into all children."""
        weights = network.state_dict()
        for child in self.children():
            child.load_state_dict(weights)
        self.started.fill_(1)
