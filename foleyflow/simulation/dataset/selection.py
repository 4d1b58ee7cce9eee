"""Create a data set from the clips of another one that have, or lack, a material."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from foleyflow.data.clip_types import read_manifest
from foleyflow.data.clips import SimulatedClips
from foleyflow.simulation.dataset.clip_files import plan_shards
from foleyflow.weights import write_atomically


def select_clips(data: Path, out: Path, *, material: str, without: bool) -> dict[str, int]:
    """Link (or copy, where links are impossible) the selected clips of `data` into `out`.

    Args:
        data: a data set of simulated clips.
        out: new folder of the data set to be created.
        material: a clip has it if any event or friction does.
        without: select the clips that lack the material.

    Returns:
        split -> number of clips, for splits that have any.

    Raises:
        DataError: `data` is missing or damaged.
        FileExistsError: `out` exists.
    """
    manifest = read_manifest(data)
    out.mkdir(parents=True)
    counts: dict[str, int] = {}
    for split in manifest["splits"]:
        clips = SimulatedClips(data, split)
        chosen: list[Path] = []
        for index, path in enumerate(clips.paths):
            labels = clips.labels(index)
            materials = {event.material for event in labels.events}
            materials |= {friction.material for friction in labels.frictions}
            if (material in materials) != without:
                chosen.append(path)
        for shard in plan_shards(out, split, len(chosen)):
            shard.folder.mkdir(parents=True)
            for index in shard.clips:
                for suffix in clips.suffixes:
                    target = shard.folder / f"clip_{index:06d}{suffix}"
                    _link_or_copy(chosen[index].with_suffix(suffix), target)
        if chosen:
            counts[split] = len(chosen)
    text = json.dumps({**manifest, "splits": counts}, indent=1)
    write_atomically(out / "manifest.json", text + "\n")
    return counts


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
