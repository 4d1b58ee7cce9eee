"""Training recipes: functions in `RECIPES` that return a complete, frozen configuration."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from foleyflow.errors import ConfigError
from foleyflow.recipes import (
    align,
    codec,
    flow,
    general_codec,
    judge,
    literal,
    published,
    scales,
    vocoder,
)
from foleyflow.recipes.one_step import one_step_recipes
from foleyflow.training.task import Recipe

# Task -> name -> recipe; `foleyflow train TASK --recipe NAME`.
RECIPES: dict[str, dict[str, Callable[[], Recipe]]] = {
    "codec": {
        "tiny": codec.tiny,
        "polish": codec.polish,
        "sharpen": codec.sharpen,
        "clips": codec.clips,
        "general": general_codec.general,
        "general-mel": general_codec.general_mel,
        "literal": literal.literal_codec,
        "smoke": codec.smoke,
        "smoke-general": general_codec.smoke_general,
        "smoke-mel": general_codec.smoke_mel,
    },
    "align": {
        "tiny": align.tiny,
        "vama": align.vama,
        "vama-no-onset": align.vama_no_onset,
        "vama-small": align.vama_small,
        "latents-only": align.latents_only,
        "literal": published.literal,
        "literal-audiomae": published.literal_audiomae,
        "published": published.published,
        "published-audioset": published.published_audioset,
        "onset": align.onset,
        "cavp": align.cavp,
        "cavp-onset": align.cavp_onset,
        "vama-contrast": align.vama_contrast,
        "supervised": align.supervised,
        "slow-student": align.slow_student,
        "teacher": align.teacher,
        "base": scales.align_base,
        "large": scales.align_large,
        "smoke": align.smoke,
    },
    "flow": {
        "tiny": flow.tiny,
        "paper": flow.paper,
        "quarters": flow.quarters,
        "merge": flow.merge,
        "polish": flow.polish,
        "distil": flow.distil,
        "diffusion": flow.diffusion,
        "base": scales.flow_base,
        "large": scales.flow_large,
        "literal": literal.literal_flow,
        "published": published.published_flow,
        **one_step_recipes("base", scales.flow_base),
        **one_step_recipes("large", scales.flow_large),
        **one_step_recipes("published", published.published_flow),
        "published-audioset": published.published_audioset_flow,
        "smoke": flow.smoke,
    },
    "vocoder": {"tiny": vocoder.tiny, "base": vocoder.base, "smoke": vocoder.smoke},
    "judge": {
        "tagger": judge.tagger,
        "sync": judge.sync,
        "smoke": judge.smoke,
        "smoke-sync": judge.smoke_sync,
    },
}


def recipe_named(task: str, name: str) -> Any:
    """The recipe of a task with this name.

    Raises:
        ConfigError: there is no such task or recipe.
    """
    if task not in RECIPES:
        raise ConfigError(
            f"task {task!r}: expected one of {', '.join(RECIPES)}", hint=_nearest(task, RECIPES)
        )
    if name not in RECIPES[task]:
        raise ConfigError(
            f"recipe {name!r} of {task}: expected one of {', '.join(RECIPES[task])}",
            hint=_nearest(name, RECIPES[task]),
        )
    return RECIPES[task][name]()


def _nearest(name: str, known: Iterable[str]) -> str:
    return f"did you mean {difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]}?"
