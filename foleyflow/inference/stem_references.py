"""The references of the stems of a result: each stem's cues generated alone."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.codec.interface import SoundCodec
from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.cue_levels import EARLY_S, HitLevels, correct_friction
from foleyflow.inference.rendering import regenerate_latents, seeded_frames
from foleyflow.inference.stems import MARGIN_SAMPLES, Reference, StemKind, StemPlan
from foleyflow.inference.stretches import Stretch, audible, changed_stretches
from foleyflow.inference.takes import Take
from foleyflow.inference.windows import WindowPlan
from foleyflow.library import PlacedSounds
from foleyflow.parallel.threads import torch_threads

NO_MATERIAL = "auto"  # name of the stem of the cues whose material is left to the model
LONGEST_PIECE_S = 20.0  # of a reference; a longer stretch is generated in several


def stem_plans(
    codec: SoundCodec,
    flow: FlowTransformer,
    take: Take,
    cues: CueSheet,
    *,
    by: StemKind,
    plan: WindowPlan,
    threads: int,
) -> list[StemPlan]:
    """The stems of a take by material or by cue, in the order of their first cues.

    Args:
        codec, flow: in eval mode.
        take: the sound.
        cues: of the take.
        by: "material" or "cue".
        plan: sizes of the windows.
        threads: torch threads per operation.

    Raises:
        ConfigError: `by` is something else, or the flow takes no cues.
    """
    if by not in get_args(StemKind):
        raise ConfigError(
            f"stems by {by!r}: expected material or cue", hint="material is one stem for each"
        )
    if not flow.config.cue_materials:
        raise ConfigError(
            "stems: this model generates from the video alone, without cues to split its sound by",
            hint="use a model whose flow has cue tracks",
        )
    groups: dict[str, list[int]] = {}
    for index, cue in enumerate(cues):
        if cue.enabled:
            name = cue_stem_name(cue, index + 1) if by == "cue" else material_stem_name(cue)
            groups.setdefault(name, []).append(index)
    plans = []
    for name, indices in groups.items():
        plans.append(
            StemPlan(
                name=name,
                cues=replace(cues, cues=tuple(cues[index] for index in indices)),
                reference=reference_of(
                    codec, flow, take, cues, indices, plan=plan, threads=threads
                ),
                is_complete=by == "material",
            )
        )
    return plans


def reference_of(
    codec: SoundCodec,
    flow: FlowTransformer,
    take: Take,
    cues: CueSheet,
    indices: Sequence[int],
    *,
    plan: WindowPlan,
    threads: int,
) -> Reference:
    """What some cues of a take alone sound like; arguments as in `stem_plans`.

    Args:
        indices: of the cues in `cues`.
    """
    # Recorded sounds of the library, and the other cues by the model
    placed, covered = take.placed, set[int]()
    if placed is not None:
        own = tuple(sound for sound in placed.sounds if sound.cue_index in indices)
        placed, covered = replace(placed, sounds=own), {sound.cue_index for sound in own}
    for_model = tuple(cues[index] for index in indices if index not in covered)
    alone = _CuesAlone(
        codec,
        flow,
        take,
        replace(cues, cues=for_model),
        placed=placed,
        plan=plan,
        threads=threads,
    )
    return alone.reference(replace(cues, cues=tuple(cues[index] for index in indices)))


def begin_samples(cues: CueSheet, rate_hz: int) -> list[int]:
    """The samples at which the sounds of cues begin."""
    return [max(round((cue.time_s - EARLY_S) * rate_hz), 0) for cue in cues]


def material_stem_name(cue: Cue) -> str:
    """The name of the stem of a cue's material: "wood", or "auto" without a material."""
    return re.sub(r"[^\w.-]", "_", cue.material or NO_MATERIAL)


def cue_stem_name(cue: Cue, number: int) -> str:
    """The name of the stem of a cue: "003_wood_1.250s" or "004_wood_roll_2.500s".

    `number` is the position of the cue in its sheet, disabled ones included, from 1 on.
    """
    kind = "" if cue.kind == "hit" else f"_{cue.kind}"
    return f"{number:03d}_{material_stem_name(cue)}{kind}_{cue.time_s:.3f}s"


class _CuesAlone:
    """The sound of some cues of a take alone, generated stretch by stretch."""

    def __init__(
        self,
        codec: SoundCodec,
        flow: FlowTransformer,
        take: Take,
        cues: CueSheet,
        *,
        placed: PlacedSounds | None,
        plan: WindowPlan,
        threads: int,
    ) -> None:
        self._codec, self._flow, self._take, self._cues = codec, flow, take, cues
        self._placed, self._plan, self._threads = placed, plan, threads
        rate_hz, total = codec.config.latent_rate_hz, len(take.latents)
        self._pieces: list[tuple[int, int]] = []  # latent frames
        stretches = changed_stretches(CueSheet(), cues, duration_s=take.analysis.duration_s)
        for stretch in stretches:
            first = min(math.floor(stretch.start_s * rate_hz), total - 1)
            last = min(max(math.ceil(stretch.end_s * rate_hz), first + 1), total)
            step = math.ceil(LONGEST_PIECE_S * rate_hz)
            self._pieces += [(at, min(at + step, last)) for at in range(first, last, step)]
        self._sounds: dict[int, NDArray[np.float32]] = {}  # of the pieces that may be read again

    def reference(self, cues: CueSheet) -> Reference:
        """The reference of the stem of `cues`, those of the model and of the library."""
        rate_hz, hop = self._codec.config.rate_hz, self._codec.config.hop_samples
        extents = [(begin * hop, end * hop) for begin, end in self._pieces]
        if self._placed is not None:
            extents += [(sound.start_sample, sound.end_sample) for sound in self._placed.sounds]
        return Reference(
            begins=begin_samples(cues, rate_hz),
            start=min(start for start, _ in extents),
            stop=max(stop for _, stop in extents),
            read=self._read,
        )

    def _read(self, first: int, last: int) -> NDArray[np.float32]:
        samples, hop = np.zeros(last - first, np.float32), self._codec.config.hop_samples
        if self._placed is not None:
            begin = max(first, 0)
            samples[begin - first :] = self._placed.samples(begin, last)
        for number, (begin, end) in enumerate(self._pieces):
            start, stop = max(begin * hop, first), min(end * hop, last)
            if start >= stop:
                if end * hop <= first:
                    self._sounds.pop(number, None)
                continue
            if number not in self._sounds:
                cues = tuple(audible(cue) for cue in self._cues)
                self._sounds[number] = self._take.alone.get(
                    (cues, begin, end), partial(self._generate, begin, end)
                )
            own = self._sounds[number][start - begin * hop : stop - begin * hop]
            samples[start - first : stop - first] += own
            if end * hop <= last - 2 * MARGIN_SAMPLES:  # the next range begins later
                del self._sounds[number]
        return samples

    @torch.inference_mode()
    def _generate(self, first: int, last: int) -> NDArray[np.float32]:
        """The sound of the latent frames from `first` to before `last`, before the gain."""
        with torch_threads(self._threads):
            return self._generated(first, last)

    def _generated(self, first: int, last: int) -> NDArray[np.float32]:
        codec, flow, take = self._codec, self._flow, self._take
        rate_hz, hop = codec.config.rate_hz, codec.config.hop_samples
        arrays = arrays_of(self._cues, flow.config.cue_materials)
        latents = regenerate_latents(
            flow,
            take.analysis.windows,
            arrays,
            None,
            first=first,
            last=last,
            plan=self._plan,
            sampling=take.sampling,
            seeded=seeded_frames(
                self._cues, rate_hz=take.analysis.rate_hz, frames=len(take.latents)
            ),
        )
        decoded = codec.decode(flow.restore(latents))[0].float().cpu().numpy()
        # Levels as in the complete sound
        piece = Stretch(start_s=first * hop / rate_hz, end_s=last * hop / rate_hz)
        hits = self._cues.hits.filter(lambda cue: piece.start_s <= cue.time_s < piece.end_s)
        levels = HitLevels(
            hits, rate_hz, first_sample=first * hop, frictions=self._cues.enabled.frictions
        )
        friction = correct_friction([decoded], arrays, rate_hz=rate_hz, first_sample=first * hop)
        return np.concatenate(list(levels.correct(friction)))
