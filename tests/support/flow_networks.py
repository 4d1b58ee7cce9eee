"""Conditions and networks for the tests of the flow."""

from __future__ import annotations

import torch
from torch import nn

from foleyflow.flow.transformer import DROP_ALL, Condition, FlowConfig, FlowTransformer


def zero_condition(batch: int, frames: int = 8, *, channels: int = 2, known: int = 0) -> Condition:
    """A condition of zeros, of width 4, with `known` context frames of zeros."""
    return Condition(
        video=torch.zeros(batch, frames, 4),
        states=torch.zeros(batch, frames // 4, 4),
        cues=torch.zeros(batch, frames, 0),
        has_video=torch.ones(batch, dtype=torch.bool),
        context=torch.zeros(batch, frames, channels),
        known=(torch.arange(frames) < known).expand(batch, -1),
    )


def random_condition(
    batch: int,
    frames: int,
    *,
    width: int,
    channels: int,
    seed: int = 0,
    known: int = 0,
    cue_channels: int = 0,
) -> Condition:
    """A random condition with `known` random context frames."""
    random = torch.Generator().manual_seed(seed)
    is_known = (torch.arange(frames) < known).expand(batch, -1)
    return Condition(
        video=torch.randn(batch, frames, width, generator=random),
        states=torch.randn(batch, frames // 4, width, generator=random),
        cues=torch.randn(batch, frames, cue_channels, generator=random),
        has_video=torch.ones(batch, dtype=torch.bool),
        context=torch.randn(batch, frames, channels, generator=random) * is_known[..., None],
        known=is_known,
    )


def random_flow(
    config: FlowConfig, *, deviation: float, zero: tuple[str, ...] = ()
) -> FlowTransformer:
    """A network with random parameters where a new one has zeros, except those named in `zero`.

    It counts as trained on intervals and with guidance.
    """
    torch.manual_seed(0)
    network = FlowTransformer(config).eval().requires_grad_(False)
    for name, value in network.named_parameters():
        if not name.startswith(zero) and float(value.abs().max()) == 0:
            value.normal_(std=deviation)
    network.record_training_(guidance=True)
    return network


class Unconditional(nn.Module):
    """A stand-in for the flow's network whose output does not depend on the condition.

    It has a flow map.
    """

    trained_intervals = trained_guidance = torch.tensor(1)

    def embed(self, condition, drop=None):
        return torch.zeros(*condition.known.shape, 1)


class ConstantAudioFlow:
    """The flow of audio that is always `mean`: straight lines, u = (x - mean) / tau for all r.

    `shift` is a constant error. The velocity without condition is off by `off`, and the guided one
    is v + (1 - w) off.
    """

    mean = 0.5

    def __init__(self, *, shift: float = 0.0, off: float = 0.0) -> None:
        self.shift, self.off = shift, off

    def embed(self, condition: Condition, drop: torch.Tensor | None = None) -> torch.Tensor:
        """1 where the condition is dropped."""
        dropped = torch.zeros(len(condition.known)) if drop is None else (drop == DROP_ALL).float()
        return dropped[:, None, None].expand(-1, condition.known.shape[1], 1)

    def __call__(self, x, *, r, tau, guidance_scale, embedded, condition):
        conditional = (1 - guidance_scale)[:, None, None] * self.off
        error = torch.where(embedded > 0, self.off, conditional)
        return (x - self.mean) / tau[:, None, None] + self.shift + error
