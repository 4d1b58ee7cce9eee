"""Migration of model folders of formats 1 to 4.

Tensors and config fields of format 1 had other names. Flows of formats 1 and 2 did not record
whether they have a flow map; they are taken for flows with a one-step stage with guidance. Codecs
of formats 1 to 3 had no gains over time, and equal weights of the bands. Flows of formats 1 to 4
had inputs for a track of events and for a material per window; flows that used them are refused.

The files are not rewritten: names are translated when a component is read. Weights are written in
the current format only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from foleyflow.errors import CheckpointError

FORMAT = 5


@dataclass(frozen=True, kw_only=True)
class Renames:
    """Old to new names of one kind of component."""

    # Prefixes of tensor names; each ends at a dot or is a complete name
    tensors: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)  # fields of the component's config


# Config fields that components of a format and of all older ones lack.
ADDED_FIELDS: dict[int, dict[str, dict[str, Any]]] = {3: {"codec": {"gains_per_spectrum": 0}}}

# Fields of flows up to format 4 whose values made them use inputs that no longer exist, with their
# defaults.
REMOVED_FIELDS: dict[str, Any] = {"events": True, "material_names": ()}

# Renames from each older format to the current one, by component kind.
RENAMES: dict[int, dict[str, Renames]] = {
    1: {
        "codec": Renames(
            tensors={
                "encoder.skeleton.": "encoder.mel_pca.",
                "decoder.skeleton.": "decoder.mel_pca.",
                "decoder.enter.": "decoder.input_conv.",
            },
            fields={"skeleton_bands": "mel_pca_bands", "carried_tones": "propagates_phase"},
        ),
        "align": Renames(
            tensors={
                "spacing.": "gap_embedding.",
                "nearby.": "temporal_conv.",
                "audio_enter.": "audio_input.",
                "hidden_token": "mask_token",
            }
        ),
        "flow": Renames(
            tensors={
                "enter.": "input_conv.",
                "leave.": "output_conv.",
                "guide.": "frame_condition.",
                "overall.": "global_condition.",
                "null_guide": "null_frame_condition",
                "null_overall": "null_global_condition",
                "strength.": "guidance_scale.",
            },
            fields={"guide_width": "condition_width"},
        ),
        "sync": Renames(
            tensors={
                "see.": "video_input.",
                "seen.": "video_temporal.",
                "hear.": "audio_encoder.",
                "heard.": "audio_temporal.",
                "seen_onsets.": "video_onsets.",
                "heard_onsets.": "audio_onsets.",
            }
        ),
    }
}
READABLE_FORMATS = tuple(range(1, FORMAT + 1))


def migrate_config(
    kind: str, config: Mapping[str, Any], stored_format: int, *, where: str
) -> dict[str, Any]:
    """A component's stored config with the current field names; `where` names it in errors.

    Raises:
        CheckpointError: a flow that used inputs which no longer exist.
    """
    fields = _renames(kind, stored_format).fields
    migrated = {fields.get(name, name): value for name, value in config.items()}
    for last_format, added in ADDED_FIELDS.items():
        if stored_format <= last_format:
            migrated |= added.get(kind, {})
    if kind == "flow" and stored_format <= 4:
        removed = {name: migrated.pop(name, unset) for name, unset in REMOVED_FIELDS.items()}
        if any(removed.values()):
            raise CheckpointError(
                f"{where}: a flow with an event track or a material per window: expected one "
                "without, because this version conditions flows on cues",
                hint="train the flow again: foleyflow train flow",
            )
    return migrated


def migrate_tensors(
    kind: str, tensors: Mapping[str, Tensor], stored_format: int
) -> dict[str, Tensor]:
    """A component's stored tensors with the current names."""
    prefixes = _renames(kind, stored_format).tensors
    migrated = {}
    for name, tensor in tensors.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        migrated[prefixes.get(old, "") + name.removeprefix(old)] = tensor
    if kind == "flow" and stored_format <= 4:
        migrated = _without_removed_inputs(migrated)
    return migrated | added_tensors(kind, migrated, stored_format)


def added_tensors(
    kind: str, tensors: Mapping[str, Tensor], stored_format: int
) -> dict[str, Tensor]:
    """Tensors that a component of an older format lacks, with the values that keep its output."""
    added: dict[str, Tensor] = {}
    if kind == "flow" and stored_format <= 2:
        added |= {name: torch.tensor(1) for name in ("trained_intervals", "trained_guidance")}
    if kind == "codec" and stored_format <= 3:
        for part in ("encoder.mel_pca.", "decoder.mel_pca."):
            if f"{part}mean" in tensors:
                added[f"{part}band_weights"] = torch.ones_like(tensors[f"{part}mean"])
    return added


def _without_removed_inputs(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A flow's tensors without the track of events, which was 0, and the material "not given".

    The only row of `material` was added to the output of `global_condition` wherever that was used,
    so it becomes part of its bias.
    """
    kept = dict(tensors)
    row, bias = kept.pop("material.weight", None), kept.get("global_condition.bias")
    if row is not None and bias is not None:
        kept["global_condition.bias"] = bias.float() + row[0].float()
    if (weight := kept.get("frame_condition.0.weight")) is not None:
        kept["frame_condition.0.weight"] = weight[:, :-1]
    return kept


def _renames(kind: str, stored_format: int) -> Renames:
    return RENAMES.get(stored_format, {}).get(kind, Renames())
