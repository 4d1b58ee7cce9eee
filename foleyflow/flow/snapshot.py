"""Networks that a later part of the flow's training takes from an earlier one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Snapshot(nn.Module):
    """A module whose children are copies of one network, so that a checkpoint has them.

    They mean nothing until `start_from_`.
    """

    started: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("started", torch.zeros((), dtype=torch.int64))

    def start_from_(self, network: nn.Module) -> None:
        """All children become this network."""
        weights = network.state_dict()
        for child in self.children():
            child.load_state_dict(weights)
        self.started.fill_(1)
