"""Labels of cues such as "hit wood -6.0 dB", for programs that store a name for each marker."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from foleyflow.cues.cue import KINDS, Cue

_LEVEL = re.compile(r"(?:^|\s)([+-]?\d+(?:[.,]\d+)?)\s?dB$", re.IGNORECASE)
_DISABLED = "(off)"


def label_text(cue: Cue) -> str:
    """Kind, material, level and "(off)" if the cue is disabled; `label_fields` reads it."""
    level_db = cue.loudest_level_db
    level = "" if level_db is None else f"{level_db:.1f} dB"
    parts = (cue.kind, cue.material or "", level, "" if cue.enabled else _DISABLED)
    return " ".join(part for part in parts if part)


def label_fields(text: str) -> dict[str, Any]:
    """The fields that a label states: `kind`, `material`, `level_db` and `enabled`.

    What is neither kind nor level is the material, whatever it is: see `material_named`.
    """
    fields: dict[str, Any] = {}
    rest = " ".join(text.split())
    if rest.lower().endswith(_DISABLED):
        fields["enabled"] = False
        rest = rest[: -len(_DISABLED)].rstrip()
    if match := _LEVEL.search(rest):
        fields["level_db"] = float(match[1].replace(",", "."))
        rest = rest[: match.start()]
    first, _, others = rest.partition(" ")
    if first.lower() in KINDS:
        fields["kind"] = first.lower()
        rest = others
    if rest:
        fields["material"] = rest
    return fields


def marker_fields(
    text: str, time_s: float, end_s: float | None, *, unnamed_region: str = "scrape"
) -> dict[str, Any]:
    """The fields of a cue from a marker, or from a region with an end.

    Args:
        end_s: None for a marker without an end.
        unnamed_region: the kind of a region whose label names none. A hit ignores the end.
    """
    fields = {"time_s": time_s, **label_fields(text)}
    if end_s is None or end_s <= time_s:
        end_s = None
    else:
        fields.setdefault("kind", unnamed_region)
    if fields.get("kind", "hit") != "hit":
        fields["end_s"] = end_s
    return fields


def material_named(text: str, materials: Collection[str]) -> str | None:
    """The known material that a label names, alone or as one of its words; upper case may differ.

    None if it names none or several.
    """
    by_name = {material.casefold(): material for material in materials}
    if text.casefold() in by_name:
        return by_name[text.casefold()]
    words = set(re.findall(r"[^\W_]+", text.casefold()))
    found = [material for name, material in by_name.items() if name in words]
    return found[0] if len(found) == 1 else None
