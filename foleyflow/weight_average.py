"""The average of the weights of several trainings that started from the same model.

The average of networks that lie near each other, such as later stages of one training, is often
better than each of them.

Reference: Wortsman et al. 2022 (model soups), uniform soup.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from foleyflow.errors import CheckpointError
from foleyflow.system.atomic_files import draft_of
from foleyflow.weights import (
    Record,
    add_components,
    checked_file,
    file_sha256,
    read_record,
)


def average_models(folders: Sequence[Path], name: str, out: Path) -> list[str]:
    """Write the average of one component of several model folders.

    Tensors of integers, such as flags, must be equal. The record is that of the first folder, and
    its provenance lists the SHA-256 of all weights under "average_of".

    Args:
        folders: at least two.
        name: of the component: "codec", "align" or "flow".
        out: model folder; other components in it are kept.

    Returns:
        The sorted names of the components in `out`.

    Raises:
        CheckpointError: fewer than two folders, the configurations differ, or a component is
            missing or damaged.
    """
    if len(folders) < 2:
        raise CheckpointError(
            f"{len(folders)} model folder: expected at least two to average",
            hint="name the folders of several trainings that started from one model",
        )
    # Records and tensors of equal networks
    records = [read_record(folder, name) for folder in folders]
    for folder, record in zip(folders, records, strict=True):
        if (record.config, record.format) != (records[0].config, records[0].format):
            raise CheckpointError(
                f"{folder}: the configuration of {name!r} differs from that in {folders[0]}",
                hint="only trainings that started from one model can be averaged",
            )
    tensors = [
        load_file(checked_file(folder, name, record.sha256))
        for folder, record in zip(folders, records, strict=True)
    ]
    # Mean in double precision, stored in the type of the first model
    average = {}
    for key, first in tensors[0].items():
        values = [each[key] for each in tensors]
        if first.is_floating_point():
            average[key] = torch.stack([each.double() for each in values]).mean(0).to(first.dtype)
        elif all(torch.equal(first, each) for each in values):
            average[key] = first
        else:
            raise CheckpointError(
                f"{name}: tensor {key!r} has integers that differ between the models",
                hint="average models of the same stage of training",
            )
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.safetensors"
    with draft_of(path, one_writer=True) as draft:
        save_file(average, draft)
    provenance = records[0].provenance | {"average_of": [record.sha256 for record in records]}
    record = Record(name, records[0].config, file_sha256(path), provenance, records[0].format)
    return add_components(out, {name: vars(record)})
