"""The stereo sound of a take: each cue is panned to its place in the picture.

The finished mono sound is split by cues and panned, so its samples do not depend on whether it
becomes stereo. Cues that sound while no cue at another position does are cut out of the sound;
only where sounds of different positions overlap, each is generated alone to separate them. Those at
one position are generated in groups of `GROUP_S`, so that an edit needs only few of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from foleyflow.codec.interface import SoundCodec
from foleyflow.cues.sheet import CueSheet
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.panning import nearest_position, panned_blocks
from foleyflow.inference.rerendering import FADE_S, faded
from foleyflow.inference.sound_spool import SoundPatch, StereoSpool
from foleyflow.inference.stem_references import begin_samples, reference_of
from foleyflow.inference.stems import FRAME_SAMPLES, STEP_SAMPLES, Reference
from foleyflow.inference.stretches import (
    BEFORE_S,
    changed_stretches,
    end_of_ring_s,
    joined_ranges,
)
from foleyflow.inference.takes import Take, blocks_of, sound_between, stereo_between
from foleyflow.inference.windows import WindowPlan

GROUP_S = 2.0  # from the start of the clip; cues that begin within it are generated together


@dataclass(kw_only=True)
class Passage:
    """Cues at one position whose sounds follow each other without a break.

    Attributes:
        position: of the cues, see `panning.nearest_position`.
        indices: of the cues in their sheet.
        start, stop: first sample of their sound, and the first one after it.
        is_alone: whether no cue at another position sounds during the passage.
    """

    position: float
    indices: list[int]
    start: int
    stop: int
    is_alone: bool = True


def pan_take(
    codec: SoundCodec,
    flow: FlowTransformer,
    take: Take,
    cues: CueSheet,
    *,
    plan: WindowPlan,
    threads: int,
    progress: Callable[[float], None] | None = None,
) -> Take:
    """The take with its stereo sound.

    Args:
        codec, flow: in eval mode.
        take: the mono sound.
        cues: of the take.
        plan: sizes of the windows.
        threads: torch threads per operation.
        progress: called with the seconds of sound that are panned.
    """
    references, positions = _parts(codec, flow, take, cues, plan=plan, threads=threads)
    panned = StereoSpool()
    for block in panned_blocks(blocks_of(take), references, positions):
        panned.append(block)
        if progress is not None:
            progress(panned.sample_count / codec.config.rate_hz)
    return replace(take, panned=panned)


def pan_edited_take(
    codec: SoundCodec,
    flow: FlowTransformer,
    old: Take,
    new: Take,
    cues_before: CueSheet,
    cues: CueSheet,
    *,
    plan: WindowPlan,
    threads: int,
    moves_cues: bool,
) -> Take:
    """The take after an edit with its stereo sound, which differs from the old one in stretches.

    Args:
        codec, flow: in eval mode.
        old: the take before the edit, with its stereo sound.
        new: the take after it.
        cues_before, cues: before and after the edit.
        plan: sizes of the windows.
        threads: torch threads per operation.
        moves_cues: whether the stretches of cues with another pan change too, besides those whose
            mono samples do.
    """
    # Stretches whose mono samples or whose places differ
    rate_hz = codec.config.rate_hz
    kept = {id(patch) for patch in old.sound_patches}
    spans = [(each.start, each.end) for each in new.sound_patches if id(each) not in kept]
    if moves_cues:
        duration_s = new.analysis.duration_s
        spans += [
            (round(stretch.start_s * rate_hz), round(stretch.end_s * rate_hz))
            for stretch in changed_stretches(
                cues_before, cues, duration_s=duration_s, with_pan=True
            )
        ]
    # Their stereo sound, faded from and to the old one
    references, positions = _parts(codec, flow, new, cues, plan=plan, threads=threads)
    take, total = new, new.sound.sample_count
    for start, stop in joined_ranges(spans):
        samples = faded(
            stereo_between(old, start, stop),
            _panned_samples(new, references, positions, start, min(stop, total)),
            round(FADE_S * rate_hz),
            at_start=start > 0,
            at_end=stop < total,
        )
        patch = SoundPatch(start=start, samples=samples)
        visible = (p for p in take.panned_patches if p.start < start or p.end > patch.end)
        take = replace(take, panned_patches=(*visible, patch))
    return take


def passages_of(cues: CueSheet, take: Take, rate_hz: int) -> list[Passage]:
    """The passages of the enabled cues of a take, in order of their start."""
    # First and last sample of each cue, and its position
    placed = {} if take.placed is None else {each.cue_index: each for each in take.placed.sounds}
    spans = []
    for index, cue in enumerate(cues):
        if not cue.enabled:
            continue
        start = round((cue.time_s - BEFORE_S) * rate_hz)
        stop = round(end_of_ring_s(cue) * rate_hz)
        if index in placed:
            start, stop = placed[index].start_sample, placed[index].end_sample
        spans.append((max(start, 0), stop, index, nearest_position(cue.pan)))
    # Cues at one position follow each other; those at other positions may overlap
    passages: list[Passage] = []
    latest: dict[float, Passage] = {}  # of each position
    for start, stop, index, position in sorted(spans):
        own = latest.get(position)
        if own is not None and start <= own.stop:
            own.indices.append(index)
            own.stop = max(own.stop, stop)
        else:
            own = Passage(position=position, indices=[index], start=start, stop=stop)
            latest[position] = own
            passages.append(own)
        for other in latest.values():
            if other is not own and other.stop > start:
                own.is_alone = other.is_alone = False
    return passages


def _parts(
    codec: SoundCodec,
    flow: FlowTransformer,
    take: Take,
    cues: CueSheet,
    *,
    plan: WindowPlan,
    threads: int,
) -> tuple[list[Reference], list[float]]:
    """The references of the passages of a take, and their positions."""
    passages = passages_of(cues, take, codec.config.rate_hz)
    references, positions = [], []
    for passage in passages:
        if passage.is_alone:
            sheet = replace(cues, cues=tuple(cues[index] for index in passage.indices))
            reference = Reference(
                begins=begin_samples(sheet, codec.config.rate_hz),
                start=passage.start,
                stop=passage.stop,
                read=partial(_cut_out, take, passage.start, passage.stop),
            )
            references.append(reference)
            positions.append(passage.position)
            continue
        groups: dict[int, list[int]] = {}
        for index in passage.indices:
            groups.setdefault(int(cues[index].time_s // GROUP_S), []).append(index)
        for indices in groups.values():
            references.append(
                reference_of(codec, flow, take, cues, indices, plan=plan, threads=threads)
            )
            positions.append(passage.position)
    return references, positions


def _cut_out(take: Take, start: int, stop: int, first: int, last: int) -> NDArray[np.float32]:
    """Samples of a take from `first` to before `last`, zeros outside `start` to `stop`.

    They are those before the gain, as the sounds that are generated alone.
    """
    samples = np.zeros(last - first, np.float32)
    begin, end = max(first, start), min(last, stop, take.sound.sample_count)
    if begin < end:
        samples[begin - first : end - first] = sound_between(take, begin, end) / take.gain
    return samples


def _panned_samples(
    take: Take,
    references: Sequence[Reference],
    positions: Sequence[float],
    start: int,
    stop: int,
) -> NDArray[np.float32]:
    """The stereo samples (2, n) of a take from `start` to before `stop`."""
    begin = max(start - FRAME_SAMPLES, 0) // STEP_SAMPLES * STEP_SAMPLES

    def read_later(reference: Reference, first: int, last: int) -> NDArray[np.float32]:
        return reference.read(first + begin, last + begin)

    moved = [
        Reference(
            begins=[each - begin for each in reference.begins],
            start=reference.start - begin,
            stop=reference.stop - begin,
            read=partial(read_later, reference),
        )
        for reference in references
    ]
    blocks = panned_blocks(blocks_of(take, begin, stop + FRAME_SAMPLES), moved, positions)
    return np.concatenate(list(blocks), axis=1)[:, start - begin : stop - begin]
