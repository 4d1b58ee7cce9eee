"""How simulated clips lie on disk: an mp4, a flac and a JSON file each, in shards.

    ROOT/manifest.json                      what was asked for, and by which version
    ROOT/train/00000/clip_000000.{mp4,flac,json}
    ROOT/train/00000/clip_000001...         32 clips a shard; a shard appears at once, by renaming

A person can open every file. Reading them back is `foleyflow.data.clips`'s work, which needs
neither MuJoCo nor this file's `soundfile`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from foleyflow.data.clips import read_manifest
from foleyflow.errors import DataError
from foleyflow.simulation.contacts import ContactLog

GENERATOR_VERSION = 5  # raised whenever the same seed would give another clip
SHARD_CLIPS = 32
SPLITS = {"train": 0, "validation": 1, "test": 2}
RATE_HZ = 48_000
SIZE_PX = 112
WEAKEST_NS = 1e-3  # the impulses that strengths 0 and 1 stand for, newton seconds
STRONGEST_NS = 3.0


@dataclass(frozen=True, kw_only=True)
class FinishedClip:
    """A clip ready to be stored.

    Attributes:
        name: "clip_000000".
        seed: of the run.
        split: "train", "validation" or "test".
        kind: the family of its scene.
        duration_s: seconds.
        rate: stored frames per second (nominal).
        video: mp4 file as bytes.
        sound: (N,) float32.
        sound_bits: 16 or 24.
        log: what sounds.
    """

    name: str
    seed: int
    split: str
    kind: str
    duration_s: float
    rate: float
    video: bytes
    sound: NDArray[np.float32]
    sound_bits: int
    log: ContactLog


def strength_01(impulse_ns: float) -> float:
    """Strength of an event: the logarithm of its impulse between two fixed ends.

    Args:
        impulse_ns: newton seconds; `WEAKEST_NS` and less gives 0, `STRONGEST_NS` and more gives 1.

    Source: ours (loudness follows the logarithm of force).
    """
    span = math.log(STRONGEST_NS / WEAKEST_NS)
    return min(max(math.log(max(impulse_ns, 1e-12) / WEAKEST_NS) / span, 0.0), 1.0)


def labels(clip: FinishedClip) -> dict[str, Any]:
    """What a clip's JSON file says.

    Source: ours.
    """
    log = clip.log
    material = {name: body.material for name, body in log.bodies.items()}
    events = [
        {
            "kind": "impact",
            "time_s": round(hit.time_s, 6),
            "strength": round(strength_01(hit.impulse_ns), 4),
            "impulse_ns": float(f"{hit.impulse_ns:.5g}"),
            "body": hit.body,
            "other": hit.other,
            "material": material[hit.body],
            "other_material": material[hit.other],
        }
        for hit in log.impacts
    ]
    frictions = [
        {
            "kind": friction.kind,
            "start_s": round(float(friction.times_s[0]), 6),
            "end_s": round(float(friction.times_s[-1]), 6),
            "body": friction.body,
            "other": friction.other,
            "material": material[friction.body],
            "other_material": material[friction.other],
        }
        for friction in log.frictions
        if len(friction.times_s)
    ]
    return {
        "id": f"{clip.split}/{clip.name}",
        "split": clip.split,
        "seed": clip.seed,
        "generator_version": GENERATOR_VERSION,
        "kind": clip.kind,
        "duration_s": clip.duration_s,
        "frame_rate_hz": round(clip.rate, 6),
        "material": _dominant(events, frictions, "material"),
        "striker_material": _dominant(events, frictions, "other_material"),
        "events": events,
        "frictions": frictions,
    }


def write_clip(folder: Path, clip: FinishedClip) -> None:
    """Write a clip's three files.

    Source: ours.
    """
    (folder / f"{clip.name}.mp4").write_bytes(clip.video)
    soundfile.write(
        folder / f"{clip.name}.flac", clip.sound, RATE_HZ, subtype=f"PCM_{clip.sound_bits}"
    )
    text = json.dumps(labels(clip), indent=1)
    (folder / f"{clip.name}.json").write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """Which clips one shard holds.

    Attributes:
        folder: where it will be.
        number: of the shard.
        clips: indices of its clips.
    """

    folder: Path
    number: int
    clips: tuple[int, ...]

    @property
    def unfinished(self) -> Path:
        """Where it is while it is being made."""
        return self.folder.with_name(f".unfinished-{self.number:05d}")

    def is_finished(self) -> bool:
        """Whether it is there with all its clips."""
        return all((self.folder / f"clip_{index:06d}.json").exists() for index in self.clips)

    def begin(self) -> Path:
        """An empty folder to write into; what a killed run left is removed."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        self.unfinished.mkdir(parents=True)
        return self.unfinished

    def finish(self) -> None:
        """Let it appear, at once; a shorter shard of the same clips gives way."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(self.unfinished, self.folder)


def plan_shards(root: Path, split: str, clips: int) -> list[ShardPlan]:
    """The shards that hold the first `clips` clips of a split.

    Source: ours.
    """
    return [
        ShardPlan(
            folder=root / split / f"{number:05d}",
            number=number,
            clips=tuple(range(start, min(start + SHARD_CLIPS, clips))),
        )
        for number, start in enumerate(range(0, clips, SHARD_CLIPS))
    ]


def open_manifest(
    root: Path,
    *,
    split: str,
    clips: int,
    seed: int,
    duration_s: float,
    rate_hz: float | None = None,
) -> None:
    """Make the manifest, or add a split to it.

    Args:
        root: folder of the data set; made if missing.
        split: "train", "validation" or "test".
        clips: wanted in this split; a greater number from before stays.
        seed: of the run.
        duration_s: of each clip.
        rate_hz: frames per second of all clips; None where each has its own.

    Raises:
        DataError: the folder holds clips of another seed, duration, rate or generator version,
            or is no data set at all.

    Source: ours.
    """
    path = root / "manifest.json"
    wanted = {
        "format": "foleyflow simulated clips",
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "duration_s": duration_s,
        "sound_rate_hz": RATE_HZ,
        "frame_rate_hz": rate_hz,
        "frame_size_px": SIZE_PX,
        "shard_clips": SHARD_CLIPS,
        "strength": (
            f"log(impulse / {WEAKEST_NS} Ns) / log({STRONGEST_NS} Ns / {WEAKEST_NS} Ns), in 0..1"
        ),
    }
    splits: dict[str, int] = {}
    if path.exists():
        found = read_manifest(root)
        for key, value in wanted.items():
            if found.get(key) != value:
                raise DataError(
                    f"{root} holds clips with {key}={found.get(key)!r}, asked for {value!r}",
                    hint="choose another folder, or the settings of its manifest.json",
                )
        splits = found["splits"]
    elif root.exists() and any(root.iterdir()):
        raise DataError(
            f"{root} is not empty and holds no manifest.json", hint="choose a new or empty folder"
        )
    splits = {**splits, split: max(clips, splits.get(split, 0))}
    ordered = {name: splits[name] for name in SPLITS if name in splits}
    root.mkdir(parents=True, exist_ok=True)
    fresh = root / f".manifest-{os.getpid()}.json"
    fresh.write_text(json.dumps({**wanted, "splits": ordered}, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def _dominant(
    events: list[dict[str, Any]], frictions: list[dict[str, Any]], key: str
) -> str | None:
    """The material with the greatest sum of strengths; frictions count where nothing is hit."""
    weight: dict[str, float] = defaultdict(float)
    for event in events:
        weight[event[key]] += event["strength"] + 1e-3
    if not weight:
        for friction in frictions:
            weight[friction[key]] += friction["end_s"] - friction["start_s"] + 1e-3
    return max(weight, key=lambda name: weight[name]) if weight else None
