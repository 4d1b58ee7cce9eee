"""Generates stretches of a result again, and replaces its samples there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.interface import SoundCodec
from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.tracks import EARLIER_S
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.cue_levels import AFFECTED_S, HitLevels, correct_friction
from foleyflow.inference.latent_spool import LatentPatch
from foleyflow.inference.rendering import SeededFrames, regenerate_latents, seeded_frames
from foleyflow.inference.silence import silence_between, sounding_between
from foleyflow.inference.sound_spool import SoundPatch
from foleyflow.inference.stretches import Stretch, changed_stretches, cues_between
from foleyflow.inference.takes import Take, sound_between
from foleyflow.inference.windows import WindowPlan
from foleyflow.library import PlacedSounds, split_cues
from foleyflow.library.planned_sound import PlannedSound
from foleyflow.parallel.threads import torch_threads

FADE_S = 0.01  # between the old and the new sound at both ends of a stretch


def edit_take(
    codec: SoundCodec,
    flow: FlowTransformer,
    take: Take,
    old: CueSheet,
    new: CueSheet,
    *,
    plan: WindowPlan,
    threads: int,
) -> Take:
    """The take with other cues; see `Generated.rerender`.

    Args:
        codec, flow: in eval mode.
        take: the sound of the cues `old`.
        plan: sizes of the windows.
        threads: torch threads per operation.
    """
    if take.placed is not None:
        placed = take.placed.with_cues(new)
        old, new = (split_cues(sheet, placed.library)[0] for sheet in (old, new))
        take = _with_placed(take, take.placed, placed)
    seeded = seeded_frames(new, rate_hz=take.analysis.rate_hz, frames=len(take.latents))
    with torch_threads(threads):
        for stretch in changed_stretches(old, new, duration_s=take.analysis.duration_s):
            take = rerender_stretch(codec, flow, take, new, stretch, plan=plan, seeded=seeded)
    return take


def regenerate_range(
    codec: SoundCodec,
    flow: FlowTransformer,
    take: Take,
    cues: CueSheet,
    stretch: Stretch,
    *,
    seed: int,
    plan: WindowPlan,
    threads: int,
) -> Take:
    """The take with a stretch generated again by another seed; see `Generated.regenerate`.

    Args:
        codec, flow: in eval mode.
        take: the sound before.
        cues: of the new sound.
        stretch: which samples to replace.
        seed: of the stretch; further edits of cues use the seed of the take again, and sounds of a
            library always do.
        plan: sizes of the windows.
        threads: torch threads per operation.
    """
    if take.placed is not None:
        placed = placed_within(take.placed, cues, stretch)
        take, cues = replace(take, placed=placed), split_cues(cues, placed.library)[0]
    with torch_threads(threads):
        edited = rerender_stretch(
            codec,
            flow,
            replace(take, sampling=replace(take.sampling, seed=seed)),
            cues,
            stretch,
            plan=plan,
            seeded=seeded_frames(cues, rate_hz=take.analysis.rate_hz, frames=len(take.latents)),
        )
    return replace(edited, sampling=take.sampling)


@torch.inference_mode()
def rerender_stretch(
    codec: SoundCodec,
    flow: FlowTransformer,
    take: Take,
    cues: CueSheet,
    stretch: Stretch,
    *,
    plan: WindowPlan,
    seeded: Sequence[SeededFrames],
) -> Take:
    """The take with a stretch generated again for other cues of the clip.

    Samples outside the stretch are those of `take`. Only cues near the stretch are looked at, so
    that an edit of a long clip takes no longer than that of a short one.
    """
    hop, rate_hz = codec.config.hop_samples, codec.config.rate_hz
    total = len(take.latents)
    first = min(math.floor(stretch.start_s * codec.config.latent_rate_hz), total - 1)
    last = min(math.ceil(stretch.end_s * codec.config.latent_rate_hz), total)
    # Complete groups of frames that are decoded together; `total` is one of their ends
    group = codec.frames_per_group
    first, last = first // group * group, -(-last // group) * group
    if stretch.end_s >= take.analysis.duration_s:
        last = total  # the last frame reaches beyond the clip

    def read(begin: int, end: int) -> torch.Tensor:
        return take.latents.read(begin, end, take.latent_patches)

    # Latents of the stretch
    reach_s = plan.length * flow.config.latents_per_segment / rate_hz * hop + EARLIER_S
    near = cues_between(cues, stretch.start_s - reach_s, stretch.end_s + reach_s)
    arrays = arrays_of(near, flow.config.cue_materials)
    new = regenerate_latents(
        flow,
        take.analysis.windows,
        arrays,
        read,
        first=first,
        last=last,
        plan=plan,
        sampling=take.sampling,
        seeded=seeded,
    )
    latent_patch = LatentPatch(start=first, latents=new.cpu())
    # Sound of the stretch, decoded with the codec's receptive field on both sides
    begin, end = max(first - codec.context_frames, 0), min(last + codec.context_frames, total)
    latents = take.latents.read(begin, end, (*take.latent_patches, latent_patch)).to(new.device)
    decoded = codec.decode(flow.restore(latents))[0].float().cpu().numpy()
    # Levels of its cues, after the gain of the last hit before them
    later = cues_between(near.enabled.hits, stretch.start_s, stretch.end_s + AFFECTED_S)
    earlier = [gain for gain in take.hit_gains if gain.time_s < stretch.start_s]
    levels = HitLevels(
        later,
        rate_hz,
        first_sample=begin * hop,
        gains=earlier.copy(),
        frictions=near.enabled.frictions,
    )
    friction = correct_friction([decoded], arrays, rate_hz=rate_hz, first_sample=begin * hop)
    corrected = levels.correct(friction)
    if flow.config.cue_materials:
        sounding = sounding_between(cues, begin * hop / rate_hz, end * hop / rate_hz)
        corrected = silence_between(corrected, sounding, rate_hz=rate_hz, first_sample=begin * hop)
    decoded = np.concatenate(list(corrected))
    inside = [gain for gain in levels.gains if stretch.start_s <= gain.time_s < stretch.end_s]
    after = [gain for gain in take.hit_gains if gain.time_s >= stretch.end_s]
    start = round(stretch.start_s * rate_hz)
    stop = last * hop if last == total else round(stretch.end_s * rate_hz)
    samples = decoded[start - begin * hop : stop - begin * hop]
    if take.placed is not None:
        samples = samples + take.placed.samples(start, stop)
    samples = faded(
        sound_between(take, start, stop),
        np.clip(samples * np.float32(take.gain), -1.0, 1.0),
        round(FADE_S * rate_hz),
        at_start=start > 0,
        at_end=last < total,
    )
    # Earlier patches that the new ones cover completely have no effect
    take = _patched(take, start, samples)
    return replace(
        take,
        latent_patches=(
            *(p for p in take.latent_patches if p.start < first or p.end > last),
            latent_patch,
        ),
        hit_gains=(*earlier, *inside, *after),
    )


def _with_placed(take: Take, old: PlacedSounds, new: PlacedSounds) -> Take:
    """The take with other sounds of its library, where they differ."""
    gain = np.float32(take.gain)
    for start, stop in old.changed_samples(new):
        change = new.samples(start, stop) - old.samples(start, stop)
        samples = np.clip(sound_between(take, start, stop) + gain * change, -1.0, 1.0)
        take = _patched(take, start, samples)
    return replace(take, placed=new)


def placed_within(old: PlacedSounds, cues: CueSheet, stretch: Stretch) -> PlacedSounds:
    """The sounds of a library for cues that differ within a stretch; all others stay the same.

    The choice of a file depends on the cue before it, so a new plan differs outside as well.
    """

    def key(planned: PlannedSound) -> tuple[int, str, str]:
        return planned.start_sample, planned.sound.material, planned.sound.kind

    kept = {key(planned): planned for planned in old.sounds}
    new = old.with_cues(cues)
    sounds = []
    for planned in new.sounds:
        if not stretch.start_s <= planned.start_sample / old.rate_hz < stretch.end_s:
            before = kept.get(key(planned), planned)
            planned = replace(before, cue_index=planned.cue_index)
        sounds.append(planned)
    return replace(new, sounds=tuple(sounds))


def _patched(take: Take, start: int, samples: NDArray[np.float32]) -> Take:
    """The take with other samples from `start` on."""
    patch = SoundPatch(start=start, samples=samples)
    visible = (p for p in take.sound_patches if p.start < start or p.end > patch.end)
    return replace(take, sound_patches=(*visible, patch))


def faded(
    old: NDArray[np.float32],
    new: NDArray[np.float32],
    count: int,
    *,
    at_start: bool,
    at_end: bool,
) -> NDArray[np.float32]:
    """The new samples, faded from the old ones at the start and to them at the end, if wanted.

    Both are (n,) or (channels, n). A fade has `count` samples, or fewer in a short stretch.
    """
    length = new.shape[-1]
    count = min(count, length // 2)
    weight = np.ones(length, np.float32)
    ramp = (np.arange(count, dtype=np.float32) + 0.5) / max(count, 1)
    if at_start:
        weight[:count] = ramp
    if at_end:
        weight[length - count :] = ramp[::-1]
    return old + weight * (new - old)
