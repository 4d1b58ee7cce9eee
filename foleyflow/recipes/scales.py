"""Recipes at the size of current large models, for GPUs; see docs/scaling.md for their cost.

They have the tasks, windows and codec of the small recipes, so that parts of different sizes can be
combined. Only the size of the networks and the length of the training differ. `train.accumulate`
and the number of processes set the memory per GPU and do not change the result.
"""

from __future__ import annotations

from dataclasses import replace

from foleyflow.recipes import align, flow
from foleyflow.recipes.align import AlignRecipe
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.training.task import TrainConfig

BASE_WIDTH, BASE_HEADS = 768, 12
LARGE_WIDTH, LARGE_HEADS = 1152, 16
_TRAIN = TrainConfig(
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
)


def align_base() -> AlignRecipe:
    """VAMA with 154 M parameters, without labels.

    Command: torchrun --nproc-per-node 8 -m foleyflow train align --recipe base --data DATA
        --out runs/align-base
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
        train=_TRAIN,
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
    """The flow with 158 M parameters: 300 k steps at batch size 512, the last third for the
    one-step map.

    Command: torchrun --nproc-per-node 8 -m foleyflow train flow --recipe base --data DATA
        --out runs/flow-base

    Reference: Cheng et al. 2024 (MMAudio) for batch size, learning rate and steps.
    """
    recipe = flow.paper()
    return replace(
        recipe,
        model=replace(
            recipe.model, width=BASE_WIDTH, layers=14, heads=BASE_HEADS, condition_width=BASE_WIDTH
        ),
        stages=replace(recipe.stages, dcf_steps=200_000),
        align="runs/align-base/model",
        train=replace(
            _TRAIN,
            steps=300_000,
            batch_clips=512,
            warmup_steps=1000,
            decay_fraction=0.2,
            weight_decay=0.0,
            validate_every=5000,
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
            recipe.model,
            width=LARGE_WIDTH,
            layers=24,
            heads=LARGE_HEADS,
            condition_width=LARGE_WIDTH,
        ),
        align="runs/align-large/model",
    )
