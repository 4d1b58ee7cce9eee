"""Name test cases, and create the mutant of each case.

A case is a container and a number, such as `mp4:17`. The first numbers of a container are its
unchanged seed clips; every further case is a mutant that depends on the seed and the case alone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foleyflow.errors import ConfigError
from foleyflow.experiments.robustness.corpus import CONTAINERS
from foleyflow.experiments.robustness.mutations import mutate


@dataclass(frozen=True, kw_only=True, order=True)
class Case:
    """The test file with a number, of a container of `CONTAINERS`."""

    container: str
    number: int

    @property
    def name(self) -> str:
        """The name that `Case.named` accepts."""
        return f"{self.container}:{self.number}"

    @classmethod
    def named(cls, name: str) -> Case:
        """Return the case CONTAINER:NUMBER; another name raises `ConfigError`."""
        parts = re.fullmatch(r"([a-z0-9]+):([0-9]{1,9})", name)
        if parts is None or parts[1] not in CONTAINERS:
            raise ConfigError(
                f"case {name!r}: expected CONTAINER:NUMBER",
                hint="for example mp4:17; the containers are " + ", ".join(CONTAINERS),
            )
        return cls(container=parts[1], number=int(parts[2]))


def first_cases(count: int, containers: Sequence[str]) -> list[Case]:
    """Return the first `count` cases, taken from each container in turn.

    Raises:
        ConfigError: a container is unknown, or none is given.
    """
    unknown = [name for name in containers if name not in CONTAINERS]
    if unknown or not containers:
        raise ConfigError(
            f"containers {', '.join(map(repr, unknown)) or 'missing'}: expected some of"
            f" {', '.join(CONTAINERS)}",
            hint="leave --containers out to use all",
        )
    distinct = list(dict.fromkeys(containers))
    return [
        Case(container=distinct[index % len(distinct)], number=index // len(distinct))
        for index in range(count)
    ]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A test file: its bytes, its suffix, and descriptions of what was changed in the seed clip."""

    data: bytes
    suffix: str
    changes: tuple[str, ...]


class Corpus:
    """The seed clips in memory, and their mutants."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        """Read the clips from a folder that `corpus.write_seed_clips` filled."""
        self._seed = seed
        # (suffix, bytes) of the variants of each container
        self._clips: dict[str, list[tuple[str, bytes]]] = {}
        for name, recipes in CONTAINERS.items():
            paths = [folder / f"{name}-{n}{recipe.suffix}" for n, recipe in enumerate(recipes)]
            self._clips[name] = [(path.suffix, path.read_bytes()) for path in paths]

    def mutant(self, case: Case) -> Mutant:
        """Return the file of a case."""
        variants = self._clips[case.container]
        suffix, data = variants[case.number % len(variants)]
        if case.number < len(variants):
            return Mutant(data=data, suffix=suffix, changes=())
        rng = np.random.default_rng([self._seed, zlib.crc32(case.container.encode()), case.number])
        others = [self._clips[name] for name in sorted(self._clips)]
        donors = [data for clips in [variants, *others] for _, data in clips]
        mutated, changes = mutate(data, rng, donors=donors)
        return Mutant(data=mutated, suffix=suffix, changes=changes)
