"""The sound of a clip with everything that a further edit of its cues needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.codec.interface import SoundCodec
from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.sheet import CueSheet
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.alone_sounds import AloneSounds
from foleyflow.inference.analysis import Analysis
from foleyflow.inference.cue_levels import HitGain, HitLevels, correct_friction
from foleyflow.inference.latent_spool import LatentPatch, LatentSpool
from foleyflow.inference.rendering import Sampling, generate_latents, seeded_frames
from foleyflow.inference.silence import silence_between
from foleyflow.inference.sound_spool import (
    SoundPatch,
    SoundSpool,
    StereoSpool,
    added_blocks,
    decode_latents,
    patched_blocks,
)
from foleyflow.inference.windows import WindowPlan
from foleyflow.library import PlacedSounds
from foleyflow.parallel.threads import torch_threads
from foleyflow.system.stopwatch import Stopwatch

SILENT_PEAK = 1e-3  # of full scale; a sound that stays below counts as silent


@dataclass(frozen=True, kw_only=True, eq=False)
class Take:
    """What a further edit of a result needs.

    Attributes:
        analysis: of the video.
        sampling: settings of the flow.
        latents, latent_patches: of the clip, and of its edited stretches in order of the edits.
        sound, sound_patches: the same for its sound; patches have the final gain.
        gain: of the sound.
        hit_gains: corrections of the levels of the hits, in order of time.
        placed: sounds of a library, which `sound` contains; None without a library.
        panned, panned_patches: the stereo sound with the final gain, and its edited stretches; None
            for a mono result.
        alone: sounds of cues alone, which edits of the take share.
    """

    analysis: Analysis
    sampling: Sampling
    latents: LatentSpool
    sound: SoundSpool
    gain: float
    hit_gains: tuple[HitGain, ...]
    placed: PlacedSounds | None = None
    latent_patches: tuple[LatentPatch, ...] = ()
    sound_patches: tuple[SoundPatch, ...] = ()
    panned: StereoSpool | None = None
    panned_patches: tuple[SoundPatch, ...] = ()
    alone: AloneSounds = field(default_factory=AloneSounds)

    def warnings(self) -> list[str]:
        """Warnings about the level of the sound."""
        peaks = [patch.peak for patch in self.sound_patches]
        peak = max([float(self.sound.levels.max(initial=0.0)) * self.gain, *peaks])
        if peak < SILENT_PEAK:
            return ["the generated sound is silent (check the cues, or try another seed)"]
        if max(peaks, default=0.0) >= 1.0:
            return ["an edited stretch was too loud and was clipped (generate the sound again)"]
        return []


def blocks_of(take: Take, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.float32]]:
    """The present mono samples of a take from `start` to before `stop`, in (1, n) blocks."""
    blocks = take.sound.blocks(take.gain, start=start, stop=stop)
    return patched_blocks(blocks, _shifted(take.sound_patches, start))


def stereo_blocks_of(
    take: Take, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """The present stereo samples of a take from `start` to before `stop`, in (2, n) blocks."""
    if take.panned is None:
        raise ValueError("the take is mono")
    blocks = take.panned.blocks(start=start, stop=stop)
    return patched_blocks(blocks, _shifted(take.panned_patches, start))


def sound_between(take: Take, start: int, stop: int) -> NDArray[np.float32]:
    """The present mono samples (n,) of a take from `start` to before `stop`."""
    return np.concatenate([block[0] for block in blocks_of(take, start, stop)])


def stereo_between(take: Take, start: int, stop: int) -> NDArray[np.float32]:
    """The present stereo samples (2, n) of a take from `start` to before `stop`."""
    return np.concatenate(list(stereo_blocks_of(take, start, stop)), axis=1)


def _shifted(patches: Sequence[SoundPatch], start: int) -> list[SoundPatch]:
    return [replace(patch, start=patch.start - start) for patch in patches]


def generate_take(
    codec: SoundCodec,
    flow: FlowTransformer,
    analysis: Analysis,
    cues: CueSheet,
    *,
    plan: WindowPlan,
    sampling: Sampling,
    loudness_lufs: float | None,
    threads: int,
    stopwatch: Stopwatch,
    placed: PlacedSounds | None = None,
    progress: Callable[[float], None] | None = None,
) -> Take:
    """Cues to latents to sound.

    Args:
        codec, flow: in eval mode.
        analysis: of the video.
        cues: of the clip, with materials that the flow knows, without those of a library.
        plan: sizes of the windows.
        sampling: settings of the flow.
        loudness_lufs: target integrated loudness, or None to keep the generated level.
        threads: torch threads per operation.
        stopwatch: receives the parts "flow" and "codec".
        placed: sounds of a library for other cues, which are added to the generated sound.
        progress: called with the seconds of sound whose latents are generated.
    """
    latents, rate_hz = LatentSpool(codec.config.channels), codec.config.rate_hz
    frames = len(analysis.curves.onsets)
    arrays = arrays_of(cues, flow.config.cue_materials)
    pieces = generate_latents(
        flow,
        analysis.windows,
        arrays,
        plan=plan,
        sampling=sampling,
        seeded=seeded_frames(cues, rate_hz=analysis.rate_hz, frames=frames),
        stopwatch=stopwatch,
    )
    if progress is not None:
        pieces = _reported(pieces, analysis.rate_hz, progress)
    levels = HitLevels(cues.enabled.hits, rate_hz, frictions=cues.enabled.frictions)

    def finish(blocks: Iterable[NDArray[np.float32]]) -> Iterable[NDArray[np.float32]]:
        corrected = levels.correct(correct_friction(blocks, arrays, rate_hz=rate_hz))
        if flow.config.cue_materials:
            corrected = silence_between(corrected, cues, rate_hz=rate_hz)
        return corrected if placed is None else added_blocks(corrected, placed.blocks())

    with torch_threads(threads):
        sound = decode_latents(
            codec,
            map(flow.restore, latents.collect(pieces)),
            finish,
            stopwatch,
        )
    return Take(
        analysis=analysis,
        sampling=sampling,
        latents=latents,
        sound=sound,
        gain=sound.gain(loudness_lufs),
        hit_gains=tuple(levels.gains),
        placed=placed,
    )


def _reported(
    pieces: Iterable[Tensor], rate_hz: float, progress: Callable[[float], None]
) -> Iterator[Tensor]:
    """The same pieces (1, T, C); calls `progress` with the seconds before the end of each."""
    frames = 0
    for piece in pieces:
        frames += piece.shape[1]
        progress(frames / rate_hz)
        yield piece
