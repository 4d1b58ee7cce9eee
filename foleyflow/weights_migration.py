"""Migration of model folders of formats 1 and 2.

Tensors and config fields of format 1 had other names. Flows of both formats did not record whether
they have a flow map; they are taken for flows with a one-step stage with guidance.

The files are not rewritten: names are translated when a component is read. Weights are written in
the current format only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

FORMAT = 3


@dataclass(frozen=True, kw_only=True)
class Renames:
    """Old to new names of one kind of component."""

    # Prefixes of tensor names; each ends at a dot or is a complete name
    tensors: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)  # fields of the component's config


# Tensors that a component of an older format lacks, by its kind.
ADDED_TENSORS: dict[str, dict[str, Tensor]] = {
    "flow": {"trained_intervals": torch.tensor(1), "trained_guidance": torch.tensor(1)}
}

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


def migrate_config(kind: str, config: Mapping[str, Any], stored_format: int) -> dict[str, Any]:
    """A component's stored config with the current field names."""
    fields = _renames(kind, stored_format).fields
    return {fields.get(name, name): value for name, value in config.items()}


def migrate_tensors(
    kind: str, tensors: Mapping[str, Tensor], stored_format: int
) -> dict[str, Tensor]:
    """A component's stored tensors with the current names."""
    prefixes = _renames(kind, stored_format).tensors
    migrated = {}
    for name, tensor in tensors.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        migrated[prefixes.get(old, "") + name.removeprefix(old)] = tensor
    added = ADDED_TENSORS.get(kind, {}) if stored_format < FORMAT else {}
    return migrated | {name: tensor.clone() for name, tensor in added.items()}


def _renames(kind: str, stored_format: int) -> Renames:
    return RENAMES.get(stored_format, {}).get(kind, Renames())
