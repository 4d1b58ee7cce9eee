"""Recipes that distil a large flow into one step, in the order that was best at small size.

Flow matching alone; four steps (`quarters`); one step (`merge`); distribution matching (`polish`)
twice, first with the one-step flow and then with the flow before its distillation as the model of
real data; and the average of both polished flows (docs/experiments/2026-11-30-polished-flow.md).
Steps, rates and averages have the proportions of the embedded model's training; nothing was trained
at these sizes. docs/reproduce.md has the commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from foleyflow.recipes import flow
from foleyflow.recipes.flow import FlowRecipe
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.flow import FlowStageConfig

DISTILLATION_STEPS, POLISH_STEPS = 25_000, 3_000
LOWER_RATE, LOWEST_RATE = 0.3, 0.1  # of the learning rate of flow matching


def one_step_recipes(
    name: str, recipe: Callable[[], FlowRecipe]
) -> dict[str, Callable[[], FlowRecipe]]:
    """The recipes NAME-matching, NAME-quarters, NAME-merge and NAME-polish.

    Args:
        name: of a flow's recipe.
        recipe: returns it. Its windows, network, objective, data and model folders are kept.
    """

    def of(maker: Callable[[FlowRecipe], FlowRecipe]) -> Callable[[], FlowRecipe]:
        def made() -> FlowRecipe:
            return maker(recipe())

        made.__doc__ = maker.__doc__
        return made

    return {
        f"{name}-matching": of(matching_alone),
        f"{name}-quarters": of(four_steps),
        f"{name}-merge": of(one_step),
        f"{name}-polish": of(polish),
    }


def matching_alone(recipe: FlowRecipe) -> FlowRecipe:
    """The flow-matching stage of a recipe as a run of its own, which the other stages need.

    Command: torchrun --nproc-per-node 8 -m foleyflow train flow --recipe NAME-matching --data DATA
        --out runs/flow
    """
    return replace(recipe, train=replace(recipe.train, steps=recipe.stages.dcf_steps))


def four_steps(recipe: FlowRecipe) -> FlowRecipe:
    """Distils a flow of flow matching into four steps: six guided Euler steps in each of them.

    Command: torchrun --nproc-per-node 8 -m foleyflow train flow --recipe NAME-quarters --data DATA
        --init runs/flow/model --out runs/flow-4
    """
    small = flow.quarters().stages
    stages = replace(
        recipe.stages,
        merge_steps=DISTILLATION_STEPS,
        merged_jumps=small.merged_jumps,
        merged_steps=small.merged_steps,
    )
    return _refinement(recipe, stages, _distillation(recipe.train))


def one_step(recipe: FlowRecipe) -> FlowRecipe:
    """Distils a flow of four steps into one step.

    Command: torchrun --nproc-per-node 8 -m foleyflow train flow --recipe NAME-merge --data DATA
        --init runs/flow-4/model --out runs/flow-1
    """
    stages = replace(recipe.stages, merge_steps=DISTILLATION_STEPS)
    return _refinement(recipe, stages, _distillation(recipe.train))


def polish(recipe: FlowRecipe) -> FlowRecipe:
    """Refines a one-step flow by distribution matching (eq. 7); run twice and averaged.

    Command: torchrun --nproc-per-node 8 -m foleyflow train flow --recipe NAME-polish --data DATA
        --init runs/flow-1/model --out runs/flow-p1, and again with --init runs/flow-p1/model
        --set real=runs/flow/model --out runs/flow-p2
    """
    train = replace(
        recipe.train,
        steps=POLISH_STEPS,
        learning_rate=LOWEST_RATE * recipe.train.learning_rate,
        warmup_steps=200,
        decay_fraction=0.3,
        ema=0.998,
        validate_every=500,
        save_every=500,
    )
    return _refinement(recipe, replace(recipe.stages, polish_steps=POLISH_STEPS), train)


def _distillation(train: TrainConfig) -> TrainConfig:
    return replace(
        train,
        steps=DISTILLATION_STEPS,
        learning_rate=LOWER_RATE * train.learning_rate,
        warmup_steps=500,
        decay_fraction=0.6,
        ema=0.9995,
    )


def _refinement(recipe: FlowRecipe, stages: FlowStageConfig, train: TrainConfig) -> FlowRecipe:
    """A run that starts from a trained flow, without flow matching."""
    return replace(recipe, stages=replace(stages, dcf_steps=0), train=train)
