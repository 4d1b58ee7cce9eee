"""Files of simulated clips: an mp4, a flac and a JSON file each, in shards.

    ROOT/manifest.json                      settings and generator version
    ROOT/train/00000/clip_000000.{mp4,flac,json}
    ROOT/train/00000/clip_000001...         32 clips per shard; shards are renamed when complete

With `audio_only` there are no mp4 files. `foleyflow.data.clips` reads clips back without MuJoCo and
`soundfile`.
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

import soundfile

from foleyflow.data.clip_types import read_manifest
from foleyflow.errors import DataError
from foleyflow.simulation.constants import AUDIO_RATE_HZ, FRAME_SIZE_PX, SPLITS
from foleyflow.simulation.contacts import Friction, Impact
from foleyflow.simulation.dataset.clip_simulation import SimulatedClip
from foleyflow.simulation.sound.levels import FAINTEST_DB, NOMINAL_PEAK, STEP_S
from foleyflow.system.atomic_files import draft_of

# Raised whenever the same seed would give another clip, or labels change.
GENERATOR_VERSION = 8
SHARD_CLIPS = 32
WEAKEST_NS = 1e-3  # impulses of strength 0 and 1, newton seconds
STRONGEST_NS = 3.0


def strength_01(impulse_ns: float) -> float:
    """Return the strength of an event, because loudness follows the logarithm of force.

    The logarithm of the impulse is mapped from `WEAKEST_NS`..`STRONGEST_NS` to 0..1 and clipped.
    """
    span = math.log(STRONGEST_NS / WEAKEST_NS)
    return min(max(math.log(max(impulse_ns, 1e-12) / WEAKEST_NS) / span, 0.0), 1.0)


def clip_labels(clip: SimulatedClip, name: str, *, split: str, seed: int) -> dict[str, Any]:
    """Return the content of the JSON file of a clip called `name` ("clip_000000").

    Impacts outside the clip are left out. Levels are those of `SynthesisedSound`; pitch and decay
    are those of the lowest mode of the struck or moving body.
    """
    sound = clip.sound

    def bodies(contact: Impact | Friction) -> dict[str, Any]:
        mode = sound.lowest_modes[contact.body]
        return {
            "body": contact.body,
            "other": contact.other,
            "material": clip.log.bodies[contact.body].material,
            "other_material": clip.log.bodies[contact.other].material,
            "pitch_hz": float(f"{mode.frequency_hz:.5g}"),
            "decay_s": float(f"{mode.decay_s:.4g}"),
        }

    events = [
        {
            "kind": "impact",
            "time_s": round(hit.time_s, 6),
            "strength": round(strength_01(hit.impulse_ns), 4),
            "impulse_ns": float(f"{hit.impulse_ns:.5g}"),
            "level_db": round(level, 2),
            **bodies(hit),
        }
        for hit, level in zip(clip.log.impacts, sound.impact_levels_db, strict=True)
        if level is not None
    ]
    frictions = [
        {
            "kind": friction.kind,
            "start_s": round(float(friction.times_s[0]), 6),
            "end_s": round(float(friction.times_s[-1]), 6),
            "level_db": curve.round(2).tolist(),
            "step_s": STEP_S,
            **bodies(friction),
        }
        for friction, curve in zip(clip.log.frictions, sound.friction_levels_db, strict=True)
        if len(curve)
    ]
    return {
        "id": f"{split}/{name}",
        "split": split,
        "seed": seed,
        "generator_version": GENERATOR_VERSION,
        "kind": clip.kind,
        "duration_s": clip.duration_s,
        "frame_rate_hz": None if clip.video is None else round(float(clip.video.exposure.rate), 6),
        "material": _dominant(events, frictions, "material"),
        "striker_material": _dominant(events, frictions, "other_material"),
        "events": events,
        "frictions": frictions,
    }


def write_clip(folder: Path, clip: SimulatedClip, name: str, *, split: str, seed: int) -> None:
    """Write the three files of a clip, or two without a video."""
    if clip.video is not None:
        (folder / f"{name}.mp4").write_bytes(clip.video.encode())
    subtype = f"PCM_{clip.sound_bits}"
    soundfile.write(folder / f"{name}.flac", clip.sound.waveform, AUDIO_RATE_HZ, subtype=subtype)
    text = json.dumps(clip_labels(clip, name, split=split, seed=seed), indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """One shard: the folder in which it appears, its number, and the indices of its clips."""

    folder: Path
    number: int
    clips: tuple[int, ...]

    @property
    def unfinished(self) -> Path:
        """Folder of the shard until it is finished."""
        return self.folder.with_name(f".unfinished-{self.number:05d}")

    def is_finished(self) -> bool:
        """Whether all clips exist."""
        return all((self.folder / f"clip_{index:06d}.json").exists() for index in self.clips)

    def begin(self) -> Path:
        """Create an empty folder for the clips; files of a killed run are removed."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        self.unfinished.mkdir(parents=True)
        return self.unfinished

    def finish(self) -> None:
        """Rename the folder; it replaces a shorter shard of the same clips."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.replace(self.unfinished, self.folder)


def plan_shards(root: Path, split: str, clips: int) -> list[ShardPlan]:
    """Return the shards that hold the first `clips` clips of a split."""
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
    rate_hz: float | None,
    audio_only: bool,
) -> None:
    """Create the manifest, or add a split to it.

    Args:
        root: folder of the data set; created if missing.
        split: "train", "validation" or "test".
        clips: number of clips in this split; a greater number of an earlier run is kept.
        rate_hz: frames per second of all clips; None if each clip has its own.
        audio_only: whether the clips have no videos.

    Raises:
        DataError: the folder holds clips of another seed, duration, rate or generator version, or
            clips with videos and not without or the reverse, or is not a data set.
    """
    settings = {
        "format": "foleyflow simulated clips",
        "generator_version": GENERATOR_VERSION,
        "audio_only": audio_only,
        "seed": seed,
        "duration_s": duration_s,
        "sound_rate_hz": AUDIO_RATE_HZ,
        "frame_rate_hz": rate_hz,
        "frame_size_px": FRAME_SIZE_PX,
        "shard_clips": SHARD_CLIPS,
        "strength": (
            f"log(impulse / {WEAKEST_NS} Ns) / log({STRONGEST_NS} Ns / {WEAKEST_NS} Ns), in 0..1"
        ),
        "level_db": (
            f"dB relative to {NOMINAL_PEAK} of full scale, at least {FAINTEST_DB:g}: peak of the "
            "dry sound of an event, RMS of that of a friction"
        ),
    }
    splits: dict[str, int] = {}
    path = root / "manifest.json"
    if path.exists():
        found = read_manifest(root)
        for key, value in settings.items():
            if found.get(key) != value:
                raise DataError(
                    f"{root} holds clips with {key}={found.get(key)!r}, asked for {value!r}",
                    hint="choose another folder, or the settings of its manifest.json",
                )
        splits = found["splits"]
    elif root.exists() and any(root.iterdir()):
        raise DataError(
            f"{root} is not empty and has no manifest.json", hint="choose a new or empty folder"
        )
    splits = {**splits, split: max(clips, splits.get(split, 0))}
    ordered = {name: splits[name] for name in SPLITS if name in splits}
    root.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        text = json.dumps({**settings, "splits": ordered}, indent=1)
        draft.write_text(text + "\n", encoding="utf-8")


def _dominant(
    events: list[dict[str, Any]], frictions: list[dict[str, Any]], key: str
) -> str | None:
    """The material with the greatest sum of strengths; without events, of friction durations."""
    weight: dict[str, float] = defaultdict(float)
    for event in events:
        weight[event[key]] += event["strength"] + 1e-3
    if not weight:
        for friction in frictions:
            weight[friction[key]] += friction["end_s"] - friction["start_s"] + 1e-3
    return max(weight, key=lambda name: weight[name]) if weight else None
