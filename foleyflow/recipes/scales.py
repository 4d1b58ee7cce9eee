"""Recipes at the size of today's leaders, for GPUs: what they take is in docs/scaling.md.

The same tasks, windows and codec as the small ones, so that a part of any size can be exchanged
for another; what differs is the networks' size and how long they learn. `accumulate` and the
number of processes decide what a GPU must hold, and change no result.
"""

from __future__ import annotations

from dataclasses import replace

from foleyflow.recipes import align, flow
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.training.task import TrainConfig

BASE_WIDTH, BASE_HEADS = 768, 12
LARGE_WIDTH, LARGE_HEADS = 1152, 16


def align_base() -> AlignRecipe:
    """VAMA with 154 M parameters, no labels.

    Command: torchrun --nproc-per-node 8 -m foleyflow train align --recipe base --data DATA
        --out runs/align-base

    Source: method section B.8 ("full"), with the trapezoidal schedule of the small recipes.
    """
    recipe = align.vama()
    return replace(
        recipe,
        model=replace(
            recipe.model,
            width=BASE_WIDTH,
            heads=BASE_HEADS,
            video_layers=6,
            audio_layers=6,
            decoder_layers=6,
        ),
        encoder=replace(recipe.encoder, widths=(96, 192, 384), dim=BASE_WIDTH),
        train=TrainConfig(
            steps=60_000,
            batch_clips=128,
            learning_rate=1e-4,
            warmup_steps=2000,
            weight_decay=0.05,
            beta2=0.95,
            ema=0.9999,
            log_every=50,
            validate_every=2000,
            save_every=1000,
        ),
    )


def align_large() -> AlignRecipe:
    """VAMA with 597 M parameters.

    Command: torchrun --nproc-per-node 8 -m foleyflow train align --recipe large --data DATA
        --out runs/align-large
    """
    recipe = align_base()
    return replace(
        recipe,
        model=replace(
            recipe.model,
            width=LARGE_WIDTH,
            heads=LARGE_HEADS,
            video_layers=12,
            audio_layers=8,
            decoder_layers=12,
        ),
        encoder=replace(recipe.encoder, widths=(128, 256, 512), dim=LARGE_WIDTH),
    )


def flow_base() -> FlowRecipe:
    """The flow with 157 M parameters: 300 k steps at batch 512, the last third for one step.

    Command: torchrun --nproc-per-node 8 -m foleyflow train flow --recipe base --data DATA
        --out runs/flow-base

    Source: method sections D.1 and C.4 (batch, rate and steps of MMAudio).
    """
    recipe = flow.tiny()
    return replace(
        recipe,
        model=replace(
            recipe.model, width=BASE_WIDTH, layers=14, heads=BASE_HEADS, guide_width=BASE_WIDTH
        ),
        stages=replace(recipe.stages, dcf_steps=200_000),
        align="runs/align-base/model",
        train=TrainConfig(
            steps=300_000,
            batch_clips=512,
            learning_rate=1e-4,
            warmup_steps=1000,
            decay_share=0.2,
            weight_decay=0.0,
            beta2=0.95,
            ema=0.9999,
            log_every=50,
            validate_every=5000,
            save_every=1000,
        ),
    )


def flow_large() -> FlowRecipe:
    """The flow with 592 M parameters, on the features of the large aligner.

    Command: torchrun --nproc-per-node 8 -m foleyflow train flow --recipe large --data DATA
        --out runs/flow-large
    """
    recipe = flow_base()
    return replace(
        recipe,
        model=replace(
            recipe.model, width=LARGE_WIDTH, layers=24, heads=LARGE_HEADS, guide_width=LARGE_WIDTH
        ),
        align="runs/align-large/model",
    )
