"""The clips of the gallery: simulated scenes, each by the seed of a good example."""

from __future__ import annotations

from dataclasses import dataclass

from foleyflow.errors import ConfigError

DURATION_S = 4.0
FRAME_RATE_HZ = 25.0


@dataclass(frozen=True, kw_only=True)
class GalleryClip:
    """A simulated clip.

    Attributes:
        name: of its files.
        title: heading on the page.
        scene: what can be seen, one sentence.
        family: a key of `simulation.motion.families.FAMILIES`.
        seed: of the scene, its pictures and its sound.
        materials: of what sounds; a test compares them with the labels of the simulation.
    """

    name: str
    title: str
    scene: str
    family: str
    seed: int
    materials: tuple[str, ...]


GALLERY = (
    GalleryClip(
        name="hand-drums",
        title="Hand drums",
        scene="Two hands play two drums.",
        family="drums",
        seed=45,
        materials=("membrane",),
    ),
    GalleryClip(
        name="drum-kit",
        title="Drum kit",
        scene="A stick plays two drums and a cymbal.",
        family="drums",
        seed=95,
        materials=("membrane", "metal"),
    ),
    GalleryClip(
        name="hammer",
        title="Hammer",
        scene="A hammer strikes a metal bar on an anvil.",
        family="strikes",
        seed=40,
        materials=("metal",),
    ),
    GalleryClip(
        name="glass",
        title="Glass",
        scene="A metal spoon strikes a glass bowl.",
        family="strikes",
        seed=5,
        materials=("glass",),
    ),
    GalleryClip(
        name="knocks",
        title="Knocks",
        scene="A fist knocks on a wooden door.",
        family="knocks",
        seed=7,
        materials=("wood",),
    ),
    GalleryClip(
        name="taps",
        title="Taps",
        scene="A hand taps on a wooden table.",
        family="knocks",
        seed=30,
        materials=("wood",),
    ),
    GalleryClip(
        name="steps",
        title="Steps",
        scene="A foot stamps on a stone floor.",
        family="knocks",
        seed=36,
        materials=("stone",),
    ),
    GalleryClip(
        name="falling",
        title="Falling",
        scene="A plastic ball falls to the ground, bounces and rolls.",
        family="drops",
        seed=5,
        materials=("plastic",),
    ),
    GalleryClip(
        name="rolling",
        title="Rolling",
        scene="A stone ball rolls over the floor and hits a stop.",
        family="rolls",
        seed=28,
        materials=("stone",),
    ),
    GalleryClip(
        name="scraping",
        title="Scraping",
        scene="A hand pushes a ceramic block over a wooden table.",
        family="rolls",
        seed=29,
        materials=("ceramic",),
    ),
)


def gallery_clips(names: list[str]) -> list[GalleryClip]:
    """The clips with these names, in the order of the gallery; all if there are none.

    Raises:
        ConfigError: a name is unknown.
    """
    known = [clip.name for clip in GALLERY]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"clip {unknown[0]!r}: expected one of {', '.join(known)}",
            hint="leave it out for all clips",
        )
    return [clip for clip in GALLERY if clip.name in names or not names]
