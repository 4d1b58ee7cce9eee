"""A data set of those clips of another that were struck on some material, or on no such one.

    python scripts/select_clips.py data/sim data/metal --material metal
    python scripts/select_clips.py data/sim data/no-metal --without metal

Clips are linked, not copied, where the file system can. With it a model can be trained without a
material, and then adapted to it (README, "Make it your own").
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from foleyflow.data.clips import SimulatedClips, read_manifest
from foleyflow.simulation.dataset.clip_files import plan_shards

SUFFIXES = (".mp4", ".flac", ".json")


def place(source: Path, target: Path) -> None:
    """A link to a file, or its copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def select(data: Path, out: Path, *, material: str, without: bool) -> dict[str, int]:
    """Fills `out`; the number of clips of each split.

    A clip counts as of a material if anything of it that sounds is of it.
    """
    manifest = read_manifest(data)
    counts: dict[str, int] = {}
    for split in manifest["splits"]:
        clips = SimulatedClips(data, split)
        chosen: list[Path] = []
        for index, path in enumerate(clips.paths):
            labels = clips.labels(index)
            struck = {sounding.material for sounding in (*labels.events, *labels.frictions)}
            if (material in struck) != without:
                chosen.append(path)
        for shard in plan_shards(out, split, len(chosen)):
            shard.folder.mkdir(parents=True)
            for index in shard.clips:
                for suffix in SUFFIXES:
                    name = shard.folder / f"clip_{index:06d}{suffix}"
                    place(chosen[index].with_suffix(suffix), name)
        if chosen:
            counts[split] = len(chosen)
    text = json.dumps({**manifest, "splits": counts}, indent=1)
    (out / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return counts


def main() -> None:
    """Parses the arguments, selects, prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--material")
    group.add_argument("--without")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    counts = select(
        arguments.data,
        arguments.out,
        material=arguments.material or arguments.without,
        without=arguments.material is None,
    )
    print(", ".join(f"{count} clips of {split}" for split, count in counts.items()))


if __name__ == "__main__":
    main()
