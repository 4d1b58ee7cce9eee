"""Which samples differ between two results that were made from each other by edits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foleyflow.inference.panning import channel_gains, nearest_position
from foleyflow.inference.result import Generated
from foleyflow.inference.sound_spool import SoundPatch
from foleyflow.inference.stretches import joined_ranges
from foleyflow.inference.takes import Take, sound_between, stereo_between
from foleyflow.library.planned_sound import PlannedSound


def changed_samples(old: Generated, new: Generated) -> list[tuple[int, int]] | None:
    """Ranges of samples that may differ, in order, the second number exclusive.

    None if both are not edits of the same generated sound, so that all samples may differ.
    """
    before, after = old._take, new._take
    if before.sound.source != after.sound.source or before.gain != after.gain:
        return None
    if _stereo_source(before) != _stereo_source(after):
        return None
    ours, theirs = ({_source(p): p for p in _patches(take)} for take in (before, after))
    patches = [patch for key, patch in (ours | theirs).items() if (key in ours) != (key in theirs)]
    ranges = [(patch.start, min(patch.end, new.sample_count)) for patch in patches]
    return joined_ranges((start, stop) for start, stop in ranges if start < stop)


def samples_between(result: Generated, start: int, stop: int) -> NDArray[np.float32]:
    """The samples (channels, n) of a result from `start` to before `stop`."""
    take = result._take
    if take.panned is not None:
        return stereo_between(take, start, stop)
    return sound_between(take, start, stop)[None]


def library_samples(result: Generated, start: int, stop: int) -> NDArray[np.float32]:
    """The part of the samples (channels, n) of a result that is from its library.

    Of stereo sound it is what the sounds of the library are panned to alone; zeros without one.
    """
    take, count = result._take, max(stop - start, 0)
    samples = np.zeros((result.channels, count), np.float32)
    if take.placed is None or not count:
        return samples
    if take.panned is None:
        samples[0] = take.placed.samples(start, stop)
    else:
        by_position: dict[float, list[PlannedSound]] = {}
        for sound in take.placed.sounds:
            if sound.start_sample < stop and sound.end_sample > start:
                position = nearest_position(result.cues[sound.cue_index].pan)
                by_position.setdefault(position, []).append(sound)
        for position, sounds in by_position.items():
            mono = replace(take.placed, sounds=tuple(sounds)).samples(start, stop)
            samples += np.array(channel_gains(position), np.float32)[:, None] * mono
    return np.clip(samples * np.float32(take.gain), -1.0, 1.0).astype(np.float32)


def _patches(take: Take) -> tuple[SoundPatch, ...]:
    """The patches of the sound that is audible: the stereo one, if there is one."""
    return take.sound_patches if take.panned is None else take.panned_patches


def _stereo_source(take: Take) -> object:
    """Where the stereo samples before edits are; None for a mono sound."""
    return None if take.panned is None else take.panned.source


def _source(patch: SoundPatch) -> tuple[object, ...]:
    """Where samples are: in a stored file, or in an object. Equal places have equal samples."""
    samples = patch.samples
    if isinstance(samples, np.memmap):
        return str(samples.filename), samples.offset
    return (id(patch),)
