"""The material and the kind of a sound file, from the names of its folders and its own name."""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from foleyflow.cues.cue import CueKind

# Material -> other words for it. Plural forms are found too.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "wood": ("wooden", "timber", "plywood"),
    "metal": ("metallic", "steel", "iron", "aluminium", "aluminum", "brass", "copper", "tin"),
    "glass": ("glassware",),
    "ceramic": ("porcelain", "pottery", "stoneware"),
    "plastic": ("acrylic", "pvc"),
    "rubber": ("silicone", "latex"),
    "membrane": ("drum", "drumhead", "skin"),
    "stone": ("rock", "concrete", "brick", "granite", "marble"),
    "cardboard": ("carton", "paperboard"),
}
DEFAULT_MATERIALS = tuple(SYNONYMS)
# Kind -> words for it. A file whose names contain none of them is a hit.
KIND_WORDS: dict[CueKind, tuple[str, ...]] = {
    "hit": ("hit", "impact", "knock", "tap", "strike", "bang"),
    "roll": ("roll", "rolling"),
    "scrape": ("scrape", "scraping", "scratch", "scratching", "drag", "dragging", "slide"),
}
_SIMILAR = 0.7  # lowest similarity of a suggestion; "woodhit" is similar to "wood"
_SHORTEST_GUESS = 3  # letters of a word that may be a misspelt material
_WORDS = re.compile(r"[^\W\d_]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
Meaning = TypeVar("Meaning", bound=str)


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a file sounds like.

    Attributes:
        material: name of the only material in the names; None without one.
        kind: of the sound.
        ambiguous: the materials in the file's name if it has several and no folder decides.
        suggestions: materials that are similar to a word in the names, if `material` is None.
    """

    material: str | None
    kind: CueKind
    ambiguous: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


class Vocabulary:
    """Finds materials and kinds in the names of files.

    The innermost folder that names exactly one material decides, then outer folders, then the
    file's own name. The same holds for kinds.

    Args:
        materials: known names; those of `SYNONYMS` are also found by their synonyms.
    """

    def __init__(self, materials: Iterable[str] = DEFAULT_MATERIALS) -> None:
        self._materials = _Phrases({name: SYNONYMS.get(name, ()) for name in materials})
        self._kinds = _Phrases(KIND_WORDS)
        self._label_of_folder = functools.cache(self._find_in_folder)

    def label(self, file: str) -> Label:
        """The label of a file, given by its path below the library's folder with "/"."""
        folder, _, name = file.rpartition("/")
        material, kind = self._label_of_folder(folder)
        words = words_of(name.rpartition(".")[0] or name)
        kind = kind or _only(self._kinds.find(words)) or "hit"
        if material is not None:
            return Label(material=material, kind=kind)
        found = self._materials.find(words)
        if len(found) == 1:
            return Label(material=found[0], kind=kind)
        if found:
            return Label(material=None, kind=kind, ambiguous=found)
        suggestions = self._materials.similar([*words, *words_of(folder)])
        return Label(material=None, kind=kind, suggestions=suggestions)

    def _find_in_folder(self, folder: str) -> tuple[str | None, CueKind | None]:
        """The material and the kind that a folder or, else, the folders around it name."""
        if not folder:
            return None, None
        outer, _, name = folder.rpartition("/")
        material, kind = self._label_of_folder(outer)
        words = words_of(name)
        return _only(self._materials.find(words)) or material, (
            _only(self._kinds.find(words)) or kind
        )


class _Phrases(Generic[Meaning]):
    """Words, or sequences of words, with the same meaning."""

    def __init__(self, words: Mapping[Meaning, Iterable[str]]) -> None:
        self._meanings: dict[str, Meaning] = {}
        for meaning, synonyms in words.items():
            self._meanings[" ".join(words_of(meaning))] = meaning
            for synonym in synonyms:
                self._meanings[" ".join(words_of(synonym))] = meaning
        self._longest = max((phrase.count(" ") + 1 for phrase in self._meanings), default=0)
        # A known word, or its plural -> the word
        known = {word for phrase in self._meanings for word in phrase.split()}
        self._singular = {f"{word}{ending}": word for ending in ("es", "s", "") for word in known}

    def find(self, words: Sequence[str]) -> tuple[Meaning, ...]:
        """The different meanings of words, in order; of overlapping phrases, the longer one."""
        words = [self._singular.get(word, "") for word in words]
        found: dict[Meaning, None] = {}
        start = 0
        while start < len(words):
            for length in range(min(self._longest, len(words) - start), 0, -1):
                meaning = self._meanings.get(" ".join(words[start : start + length]))
                if meaning is not None:
                    found[meaning] = None
                    start += length - 1
                    break
            start += 1
        return tuple(found)

    def similar(self, words: Iterable[str]) -> tuple[Meaning, ...]:
        """The meanings of the phrases that are similar to some words."""
        found: dict[Meaning, None] = {}
        for word in words:
            if len(word) >= _SHORTEST_GUESS:
                for near in difflib.get_close_matches(word, self._meanings, n=1, cutoff=_SIMILAR):
                    found[self._meanings[near]] = None
        return tuple(found)


def words_of(name: str) -> list[str]:
    """The words of a name in lower case: "MetalHit_03" has "metal" and "hit"."""
    letters = _WORDS.findall(name if name.isascii() else unicodedata.normalize("NFKC", name))
    return [part.lower() for word in letters for part in _CAMEL_CASE.split(word)]


def _only(found: tuple[Meaning, ...]) -> Meaning | None:
    """The meaning of a name that has exactly one."""
    return found[0] if len(found) == 1 else None
