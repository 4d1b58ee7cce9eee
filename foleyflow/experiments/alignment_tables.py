"""The paper's tables that concern stage one, as rows of recipes: what each row means.

Every row of a table is trained at the same size, on the same clips, for the same steps, with the
same seeds; only what its recipe and its settings say differs. The size is a small one, so that a
table takes hours on two cores and not days: an ordering, not a record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from foleyflow.recipes import recipe_named
from foleyflow.recipes.align import AlignRecipe, small
from foleyflow.recipes.overrides import override
from foleyflow.recipes.published import PublishedRecipe


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One system of a table.

    Attributes:
        name: of its folder, and in the table.
        meaning: in words.
        recipe: of the task `align`.
        settings: what differs from the recipe, as for `--set`.
        trained: False for random weights.
    """

    name: str
    meaning: str
    recipe: str
    settings: tuple[str, ...] = ()
    trained: bool = True


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of systems that are compared.

    Attributes:
        title: what it asks.
        rows: the systems.
    """

    title: str
    rows: tuple[TableRow, ...]


TABLES = {
    "2": Table(
        title="Table 2, the half that concerns VAMA: what stage one's training is worth",
        rows=(
            TableRow(
                name="none",
                meaning="no alignment: random video encoder",
                recipe="supervised",
                trained=False,
            ),
            TableRow(name="cavp", meaning="contrast, semantic and temporal", recipe="cavp"),
            TableRow(name="vama", meaning="masked alignment (ours)", recipe="vama"),
            TableRow(name="vama-contrast", meaning="VAMA + 0.01 InfoNCE", recipe="vama-contrast"),
            TableRow(
                name="supervised",
                meaning="told the exact events and materials",
                recipe="supervised",
            ),
        ),
    ),
    "3": Table(
        title="Table 3: which frozen encoders see and hear",
        rows=tuple(
            TableRow(
                name=f"{video}+{sound}",
                meaning=f"{video} + {sound}",
                recipe="published",
                settings=(f"video={video}", f"sound={sound}", "student=own"),
            )
            for video in ("imagebind-video", "mae", "eva-clip-g")
            for sound in ("imagebind-sound", "audiomae")
        ),
    ),
    "5": Table(
        title="Table 5: the share of audio segments that is hidden",
        rows=tuple(
            TableRow(
                name=f"ratio-{ratio}",
                meaning=f"{round(100 * ratio)} % hidden, none fully",
                recipe="vama",
                settings=(f"losses.ratio={ratio}", "losses.fully_masked_fraction=0"),
            )
            for ratio in (0.3, 0.5, 0.7, 0.8, 0.9)
        ),
    ),
    "targets": Table(
        title="What is recovered (table 3's audio side, at this size)",
        rows=(
            TableRow(
                name="mel",
                meaning="log-mel patches, energy and rises",
                recipe="vama",
                settings=("losses.latent=0",),
            ),
            TableRow(name="latents", meaning="codec latents beside them", recipe="vama"),
            TableRow(name="slow-student", meaning="a slow copy's features", recipe="slow-student"),
            TableRow(
                name="literal",
                meaning="codec latents alone, none fully hidden",
                recipe="latents-only",
            ),
        ),
    ),
}


def recipe_of(
    row: TableRow, *, seed: int, settings: tuple[str, ...]
) -> AlignRecipe | PublishedRecipe:
    """The complete recipe of one row and seed; those over published encoders keep their size.

    Args:
        row: of a table.
        seed: of the weights, the masks and the order of clips.
        settings: for all rows of the table, as for `--set`.

    Raises:
        ConfigError: a setting that does not exist, or a value that does not fit.
    """
    named = recipe_named("align", row.recipe)
    sized = small(named) if isinstance(named, AlignRecipe) else named
    recipe: AlignRecipe | PublishedRecipe = override(sized, [*row.settings, *settings])
    return replace(recipe, train=replace(recipe.train, seed=seed))
