"""Which samples differ between two results that were made from each other by edits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foleyflow.inference.result import Generated
from foleyflow.inference.sound_spool import SoundPatch
from foleyflow.inference.stretches import joined_ranges
from foleyflow.inference.takes import sound_between


def changed_samples(old: Generated, new: Generated) -> list[tuple[int, int]] | None:
    """Ranges of samples that may differ, in order, the second number exclusive.

    None if both are not edits of the same generated sound, so that all samples may differ.
    """
    before, after = old._take, new._take
    if before.sound.source != after.sound.source or before.gain != after.gain:
        return None
    ours, theirs = ({_source(p): p for p in take.sound_patches} for take in (before, after))
    patches = [patch for key, patch in (ours | theirs).items() if (key in ours) != (key in theirs)]
    ranges = [(patch.start, min(patch.end, new.sample_count)) for patch in patches]
    return joined_ranges((start, stop) for start, stop in ranges if start < stop)


def samples_between(result: Generated, start: int, stop: int) -> NDArray[np.float32]:
    """The samples (n,) of a result from `start` to before `stop`."""
    return sound_between(result._take, start, stop)


def library_samples(result: Generated, start: int, stop: int) -> NDArray[np.float32]:
    """The part of the samples (n,) of a result that is from its library; zeros without one."""
    take = result._take
    if take.placed is None:
        return np.zeros(max(stop - start, 0), np.float32)
    samples = take.placed.samples(start, stop) * np.float32(take.gain)
    return np.clip(samples, -1.0, 1.0).astype(np.float32)


def _source(patch: SoundPatch) -> tuple[object, ...]:
    """Where samples are: in a stored file, or in an object. Equal places have equal samples."""
    samples = patch.samples
    if isinstance(samples, np.memmap):
        return str(samples.filename), samples.offset
    return (id(patch),)
