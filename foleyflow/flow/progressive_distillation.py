"""Several jumps of a flow map become one: progressive distillation of the one-step map.

After GDCF the map is better in two jumps than in one: a single jump leaves more noise. A network
that begins as a copy learns to do in one jump what a frozen copy, the teacher, does in several.
Targets come from the teacher alone, so that they vary far less than those of the map's own
objective, every row teaches the query of inference, and there is fresh noise for every row, where
stored pairs (distillation.py) have a few. Rows without an interval keep the velocity, others the
jumps between.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import torch
from torch import Tensor

from foleyflow.flow.objective import (
    ObjectiveConfig,
    balanced,
    masked_error,
    sample_dropout_and_guidance,
    sample_intervals,
)
from foleyflow.flow.path import interpolate
from foleyflow.flow.snapshot import Snapshot
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.parallel.batch_sharding import normal_like

INTERVAL_SHARE = 0.8  # of rows have an interval; the rest keep the velocity
ENDPOINT_SHARE = 0.7  # of those go all the way from noise to audio


class Teacher(Snapshot):
    """The flow whose jumps are merged; it never learns."""

    def __init__(self, network: FlowTransformer) -> None:
        super().__init__()
        self.flow = copy.deepcopy(network).requires_grad_(False)


def progressive_distillation_loss(
    network: FlowTransformer,
    teacher: FlowTransformer,
    audio: Tensor,
    condition: Condition,
    config: ObjectiveConfig,
    *,
    jumps: int,
) -> tuple[Tensor, dict[str, float]]:
    """Error of one jump against the teacher's mean velocity over several.

    Args:
        network: learns u(x, r, tau).
        teacher: does not; a flow map of the same path.
        audio: (B, L, C) standardised latents.
        condition: of the same rows.
        config: settings of the objectives.
        jumps: of the teacher, equally long, at least 2.

    Returns:
        The loss and figures for the journal.

    Source: Salimans & Ho 2022 (progressive distillation) for a two-time map, where it is the
        identity of SplitMeanFlow (Guo et al. 2025) with a frozen teacher.
    """
    tau, r = sample_intervals(
        len(audio),
        replace(config, interval_share=INTERVAL_SHARE, endpoint_share=ENDPOINT_SHARE),
        1.0,
        audio.device,
    )
    drops, guidance_scale = sample_dropout_and_guidance(len(audio), config, audio.device)
    noise = normal_like(audio)
    x, _ = interpolate(audio, noise, tau, config.path)
    with torch.no_grad():
        embedded = teacher.embed(condition, drops)
        grid = [tau + (r - tau) * k / jumps for k in range(jumps + 1)]
        after, target = x, torch.zeros_like(x)
        for start, end in itertools.pairwise(grid):
            # Known frames lie where the path has them, as in sampling.
            on_path, _ = interpolate(audio, noise, start, config.path)
            after = torch.where(condition.known[..., None], on_path, after)
            velocity = teacher(
                after,
                r=end,
                tau=start,
                guidance_scale=guidance_scale,
                embedded=embedded,
                condition=condition,
            )
            after = after - (start - end)[:, None, None] * velocity
            target = target + velocity / jumps
    predicted = network(
        x,
        r=r,
        tau=tau,
        guidance_scale=guidance_scale,
        embedded=network.embed(condition, drops),
        condition=condition,
    )
    errors = masked_error(predicted, target, condition.known)
    return balanced(errors, config), {"merge_error": float(errors.detach().mean())}
