"""Stores the sound of a clip in a folder, with everything that further edits need.

    sound.f32, levels.f32   samples without the gain, and the level per latent frame
    latents.f32, gains.f64  of the flow; corrections of the levels of the hits
    panned-*.f32            stereo samples with the gain, each time that the sound became stereo
    reference.npz           the recording whose timbre it follows, if there is one
    edits.bin               latents and samples that edits replaced, one edit after the other

Samples are read from these files when they are needed, so memory does not grow with the length of
the clip or the number of edits.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.interface import CodecShape
from foleyflow.errors import DataError
from foleyflow.inference.analysis import Analysis
from foleyflow.inference.cue_levels import HitGain
from foleyflow.inference.latent_spool import LatentPatch, LatentSpool
from foleyflow.inference.reference_sound import ReferenceSound
from foleyflow.inference.rendering import Sampling
from foleyflow.inference.sound_spool import SoundPatch, SoundSpool, StereoSpool
from foleyflow.inference.takes import Take
from foleyflow.library import PlacedSounds

LATENTS_TOGETHER = 4096  # frames that are in memory while they are copied

Entry = dict[str, Any]  # of JSON values


def write_take(folder: Path, take: Take, config: CodecShape) -> tuple[Entry, Take]:
    """Writes the sound of a clip before its first edit.

    Returns:
        what `read_take` needs besides the files, and the same take, which reads from the files.

    Raises:
        OSError: a file can't be written.
    """
    if take.sound_patches or take.latent_patches:
        raise ValueError("the take was edited")
    latents = (
        take.latents.read(first, first + LATENTS_TOGETHER).numpy()
        for first in range(0, len(take.latents), LATENTS_TOGETHER)
    )
    gains = [(gain.time_s, gain.ring_end_s, gain.gain_db) for gain in take.hit_gains]
    _write(folder / "sound.f32", (block[0] for block in take.sound.blocks(1.0)))
    _write(folder / "levels.f32", [take.sound.levels])
    _write(folder / "latents.f32", latents)
    _write(folder / "gains.f64", [np.array(gains, np.float64)])
    take = write_panned(folder, take)
    sampling, reference = take.sampling, take.sampling.reference
    if reference is not None:
        with open(folder / "reference.npz", "wb") as file:
            np.savez(file, latents=reference.latents.cpu().numpy(), tracks=reference.tracks)
    record = {
        "gain": take.gain,
        "samples": take.sound.sample_count,
        "latents": len(take.latents),
        "panned": _panned_file(folder, take),
        "has_reference": reference is not None,
        "sampling": {
            name: getattr(sampling, name) for name in ("seed", "steps", "guidance", "solver")
        },
    }
    return record, replace(take, **_spools(folder, record, config))


def write_panned(folder: Path, take: Take) -> Take:
    """The same take; its stereo sound, if it has one, reads from a file in the folder.

    Raises:
        OSError: the file can't be written.
    """
    if take.panned is None or _panned_file(folder, take) is not None:
        return take
    path = folder / f"panned-{secrets.token_hex(4)}.f32"
    _write(path, (block.T for block in take.panned.blocks()))
    return replace(take, panned=StereoSpool.stored(path))


def read_take(
    folder: Path,
    record: Entry,
    *,
    config: CodecShape,
    analysis: Analysis,
    path: str,
    placed: PlacedSounds | None,
) -> Take:
    """The take that `write_take` has written.

    Args:
        folder: of its files.
        record: as `write_take` returned it.
        config: of the codec.
        analysis: of the video.
        path: of the flow, see `Sampling`.
        placed: sounds of a library for the cues of the take.

    Raises:
        OSError, ValueError, KeyError, TypeError: a file is missing or damaged.
    """
    reference = None
    if record["has_reference"]:
        with np.load(folder / "reference.npz", allow_pickle=False) as arrays:
            reference = ReferenceSound(
                latents=torch.from_numpy(arrays["latents"]), tracks=arrays["tracks"]
            )
    gains = np.fromfile(folder / "gains.f64", np.float64).reshape(-1, 3)
    return Take(
        analysis=analysis,
        sampling=Sampling(**record["sampling"], path=path, reference=reference),
        gain=record["gain"],
        hit_gains=_gains(gains.tolist()),
        placed=placed,
        **_spools(folder, record, config),
    )


def append_edit(folder: Path, before: Take, after: Take) -> tuple[Entry, Take]:
    """Appends what an edit has replaced.

    Args:
        folder: of the take before its first edit.
        before, after: the edit; both share the patches of earlier edits.

    Returns:
        what `read_edit` needs besides the file, and the take after the edit, which reads its new
        samples from the file.

    Raises:
        OSError: the file can't be written.
    """
    after = write_panned(folder, after)
    latents = _new(before.latent_patches, after.latent_patches)
    sounds = _new(before.sound_patches, after.sound_patches)
    panned = _new(before.panned_patches, after.panned_patches)
    arrays = [patch.latents.cpu().numpy().astype("<f4") for patch in latents]
    arrays += [np.ascontiguousarray(p.samples, "<f4") for p in (*sounds, *panned)]
    data = b"".join(array.tobytes() for array in arrays)
    path = folder / "edits.bin"
    with open(path, "ab") as file:
        start = file.seek(0, os.SEEK_END)
        file.write(data)
    first, last = _shared(before.hit_gains, after.hit_gains)
    gains = after.hit_gains[first : len(after.hit_gains) - last]
    entry = {
        "at": start,
        "size": len(data),
        "crc32": zlib.crc32(data),
        "latents": [[patch.start, patch.latents.shape[1]] for patch in latents],
        "sound": [[patch.start, patch.samples.shape[-1]] for patch in sounds],
        "panned": [[patch.start, patch.samples.shape[-1]] for patch in panned],
        "gains": [first, last, [[g.time_s, g.ring_end_s, g.gain_db] for g in gains]],
        "panned_file": _panned_file(folder, after),
    }
    # The same samples in the file instead of memory
    stored = _patches(path, entry, after.latents.channels)
    other = dict(zip(map(id, (*sounds, *panned)), (*stored[1], *stored[2]), strict=True))
    return entry, replace(
        after,
        sound_patches=tuple(other.get(id(patch), patch) for patch in after.sound_patches),
        panned_patches=tuple(other.get(id(patch), patch) for patch in after.panned_patches),
    )


def read_edit(folder: Path, entry: Entry, before: Take, placed: PlacedSounds | None) -> Take:
    """The take after an edit that `append_edit` has appended.

    Args:
        folder: of the take.
        entry: as `append_edit` returned it.
        before: the take before the edit.
        placed: sounds of a library after it.

    Raises:
        DataError: the samples in the file are not those that were written.
        OSError, ValueError, KeyError, TypeError: the file is missing or damaged.
    """
    path = folder / "edits.bin"
    with open(path, "rb") as file:
        file.seek(entry["at"])
        if zlib.crc32(file.read(entry["size"])) != entry["crc32"]:
            raise DataError(f"{path}: damaged", hint="remove its folder")
    latents, sounds, panned = _patches(path, entry, before.latents.channels)
    first, last, changed = entry["gains"]
    gains = before.hit_gains
    if entry["panned_file"] != _panned_file(folder, before):  # it became stereo or mono
        spool = _stereo_spool(folder, entry["panned_file"], before.sound.sample_count)
        before = replace(before, panned=spool, panned_patches=())
    return replace(
        before,
        placed=placed,
        latent_patches=_covered(before.latent_patches, latents),
        sound_patches=_covered(before.sound_patches, sounds),
        panned_patches=_covered(before.panned_patches, panned),
        hit_gains=(*gains[:first], *_gains(changed), *gains[len(gains) - last :]),
    )


def _write(path: Path, parts: Iterable[NDArray[np.generic]]) -> None:
    """Writes arrays one after the other, so that they outlast a power cut."""
    with open(path, "wb") as file:
        for part in parts:
            file.write(np.ascontiguousarray(part).tobytes())
        file.flush()
        os.fsync(file.fileno())


def _spools(folder: Path, record: Entry, config: CodecShape) -> dict[str, Any]:
    """The parts of a take that read from its files."""
    sound = SoundSpool.stored(
        folder / "sound.f32",
        np.fromfile(folder / "levels.f32", np.float32),
        rate_hz=config.rate_hz,
        hop_samples=config.hop_samples,
    )
    latents = LatentSpool.stored(folder / "latents.f32", config.channels)
    if (sound.sample_count, len(latents)) != (record["samples"], record["latents"]):
        raise ValueError("a file has another length")
    panned = _stereo_spool(folder, record["panned"], record["samples"])
    return {"sound": sound, "latents": latents, "panned": panned}


def _stereo_spool(folder: Path, name: str | None, sample_count: int) -> StereoSpool | None:
    """The stereo sound in a file; None without one."""
    if name is None:
        return None
    spool = StereoSpool.stored(folder / name)
    if spool.sample_count != sample_count:
        raise ValueError("a file has another length")
    return spool


def _panned_file(folder: Path, take: Take) -> str | None:
    """The name of the file in a folder that has the stereo sound of a take; None without one."""
    source = None if take.panned is None else take.panned.source
    return source.name if isinstance(source, Path) and source.parent == folder else None


def _patches(
    path: Path, entry: Entry, channels: int
) -> tuple[list[LatentPatch], list[SoundPatch], list[SoundPatch]]:
    """The patches of latents, of mono and of stereo samples; samples stay in the file."""
    position = entry["at"]

    def mapped(*shape: int) -> NDArray[np.float32]:
        nonlocal position
        array = np.memmap(path, "<f4", "r", offset=position, shape=shape)
        position += array.nbytes
        return array

    latents = [
        LatentPatch(start=start, latents=torch.from_numpy(np.array(mapped(1, count, channels))))
        for start, count in entry["latents"]
    ]
    sounds = [SoundPatch(start=start, samples=mapped(count)) for start, count in entry["sound"]]
    panned = [SoundPatch(start=start, samples=mapped(2, count)) for start, count in entry["panned"]]
    return latents, sounds, panned


def _new(before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
    known = {id(patch) for patch in before}
    return [patch for patch in after if id(patch) not in known]


def _covered(before: Sequence[Any], new: Sequence[Any]) -> tuple[Any, ...]:
    """The patches, without earlier ones that a new one covers completely, as edits leave them."""
    visible = list(before)
    for patch in new:
        visible = [p for p in visible if p.start < patch.start or p.end > patch.end]
        visible.append(patch)
    return tuple(visible)


def _shared(before: Sequence[HitGain], after: Sequence[HitGain]) -> tuple[int, int]:
    """How many gains at the start and at the end are the same."""
    shorter = min(len(before), len(after))
    first = next((k for k in range(shorter) if before[k] is not after[k]), shorter)
    rest = shorter - first
    last = next((k for k in range(rest) if before[-1 - k] is not after[-1 - k]), rest)
    return first, last


def _gains(rows: Iterable[Sequence[float]]) -> tuple[HitGain, ...]:
    return tuple(
        HitGain(time_s=time_s, ring_end_s=ring_end_s, gain_db=gain_db)
        for time_s, ring_end_s, gain_db in rows
    )
