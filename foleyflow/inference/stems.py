"""Splits a sound into stems whose sum is the sound.

Each stem has a reference: what it alone would sound like. The short-time spectra of the sound are
shared out in proportion to the power of the references, bin by bin, so that the sound itself does
not change. Where all references are silent, everything belongs to the stem that began last.

`split_blocks_into_stems` works on streams of any number of channels and does not depend on the
origin of the references. `split_into_stems` stores its result, rounded to 24 bits.

Dimension letters: C channels, T frames, F frequency bins.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.temporary_bytes import TemporaryBytes
from foleyflow.media.sound_file import integer_levels
from foleyflow.media.waveform import fit_blocks, split_blocks
from foleyflow.spectrogram import istft, stft

StemKind = Literal["material", "cue"]

STEP_SAMPLES, FRAME_SAMPLES = 512, 2048  # 11 and 43 ms at 48 kHz
STEM_BLOCK_SAMPLES = 96 * STEP_SAMPLES
MARGIN_SAMPLES = 4 * STEP_SAMPLES  # around a block, so that its frames are complete
SILENT_LEVEL = 10 ** (-90 / 20)  # of a sine, relative to full scale; fainter references are silent
SILENT_POWER = (SILENT_LEVEL * FRAME_SAMPLES / 4) ** 2
STEM_BITS = 24


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a stem alone sounds like.

    Attributes:
        begins: ascending samples at which its sounds begin, at least one.
        start, stop: the reference is silent before and from these samples on.
        read: (first, last) -> (last - first,) float32 samples, zeros outside the reference. The
            ranges are read in order of time and overlap.
    """

    begins: Sequence[int]
    start: int
    stop: int
    read: Callable[[int, int], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class StemBlock:
    """A block of a sound and of its stems.

    Attributes:
        start: its first sample.
        mix: (C, n) float32, the sound.
        stems: index of a reference -> (C, n) float32; stems that are silent are left out.
        owners: (n,) index of the stem that began last, at each sample.
    """

    start: int
    mix: NDArray[np.float32]
    stems: dict[int, NDArray[np.float32]]
    owners: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StemPlan:
    """A stem before the sound is split.

    Attributes:
        name: for people and files.
        cues: of the stem.
        reference: of the stem.
        is_complete: whether the stem is as long as the sound, instead of from its first to its last
            sample that is not silent.
    """

    name: str
    cues: CueSheet
    reference: Reference
    is_complete: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Stem:
    """A part of a sound, with 24 bits.

    Attributes:
        name: for people and files, such as "wood" or "003_wood_1.250s".
        cues: of the stem.
        channels, rate_hz: of the stem.
        start_sample: position of its first sample in the sound; 0 for stems by material.
        sample_count: of the stem.
    """

    name: str
    cues: CueSheet
    channels: int
    rate_hz: int
    start_sample: int
    sample_count: int
    _bytes: TemporaryBytes = field(repr=False)
    _pieces: tuple[tuple[int, int, int], ...] = field(repr=False)  # sample, position, count

    @property
    def start_s(self) -> float:
        """Time of its first sample in the sound, seconds."""
        return self.start_sample / self.rate_hz

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The stem in (channels, n) float32 blocks, `sample_count` samples in total."""
        return fit_blocks(self._stored(), self.sample_count)

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The stem, (sample_count,) float32 in [-1, 1]; of stereo sound (2, sample_count)."""
        samples = np.concatenate(list(self.blocks()), axis=1)
        return samples[0] if self.channels == 1 else samples

    def _stored(self) -> Iterator[NDArray[np.float32]]:
        done = self.start_sample
        for first, position, count in self._pieces:
            if first > done:
                yield from fit_blocks([np.zeros((self.channels, 0), np.float32)], first - done)
            samples = self._bytes.read(position, count * self.channels, np.float32)
            yield samples.astype(np.float32).reshape(-1, self.channels).T
            done = first + count


def split_into_stems(
    mix: Iterable[NDArray[np.float32]],
    plans: Sequence[StemPlan],
    *,
    channels: int,
    rate_hz: int,
    sample_count: int,
) -> list[Stem]:
    """The stems of a sound, in the order of `plans`.

    At each sample, their sum is exactly the sound rounded to 24 bits.

    Args:
        mix: the sound in (channels, n) blocks.
        plans: of the stems; none gives no stems.
        channels, rate_hz, sample_count: of the sound.
    """
    if not plans:
        return []
    references = [plan.reference for plan in plans]
    spans = [
        (0, sample_count) if plan.is_complete else span
        for plan, span in zip(plans, stem_spans(references, sample_count), strict=True)
    ]
    stored, pieces = TemporaryBytes(), [list[tuple[int, int, int]]() for _ in plans]
    for block in split_blocks_into_stems(mix, references):
        for index, samples in _rounded(block).items():
            start, stop = spans[index]
            first, last = max(start, block.start), min(stop, block.start + samples.shape[1])
            if first < last:
                own = samples[:, first - block.start : last - block.start]
                pieces[index].append((first, stored.append(own.T), last - first))
    return [
        Stem(
            name=plan.name,
            cues=plan.cues,
            channels=channels,
            rate_hz=rate_hz,
            start_sample=start,
            sample_count=stop - start,
            _bytes=stored,
            _pieces=tuple(own),
        )
        for plan, (start, stop), own in zip(plans, spans, pieces, strict=True)
    ]


@torch.inference_mode()
def split_blocks_into_stems(
    mix: Iterable[NDArray[np.float32]], references: Sequence[Reference]
) -> Iterator[StemBlock]:
    """Yield the blocks of a sound together with those of its stems, whose sum they are.

    The sum equals the sound up to the rounding of float32. All channels are shared out equally.

    Args:
        mix: (C, n) float32 blocks.
        references: of the stems, at least one.
    """
    owned = sorted((begin, index) for index, each in enumerate(references) for begin in each.begins)
    begins, owners = [begin for begin, _ in owned], np.array([index for _, index in owned])

    def owners_at(samples: NDArray[np.int64]) -> NDArray[np.int64]:
        places = np.searchsorted(begins, samples, side="right") - 1
        return np.asarray(owners[np.maximum(places, 0)])

    for start, count, samples in _with_margins(mix):
        first, last = start - MARGIN_SAMPLES, start - MARGIN_SAMPLES + samples.shape[1]
        centres = np.arange(first, last, STEP_SAMPLES) + STEP_SAMPLES // 2
        frame_owners = owners_at(centres)
        # Power of the references that sound here, or own a frame
        active = set(frame_owners.tolist())
        active |= {
            index
            for index, each in enumerate(references)
            if each.start < last and each.stop > first
        }
        powers = {}
        for index in sorted(active):
            reference = references[index]
            power = torch.zeros(len(centres), FRAME_SAMPLES // 2 + 1)
            if reference.start < last and reference.stop > first:
                power = _spectra(reference.read(first, last)[None])[0].abs().square()
            power[torch.from_numpy(frame_owners == index)] += SILENT_POWER
            powers[index] = power
        # Shares of the sound
        total, spectra = sum(powers.values(), torch.zeros(1)), _spectra(samples)
        stems = {
            index: _sound(spectra * (power / total))[:, MARGIN_SAMPLES : MARGIN_SAMPLES + count]
            for index, power in powers.items()
        }
        yield StemBlock(
            start=start,
            mix=samples[:, MARGIN_SAMPLES : MARGIN_SAMPLES + count],
            stems=stems,
            owners=owners_at(np.arange(start, start + count)),
        )


def stem_spans(references: Sequence[Reference], sample_count: int) -> list[tuple[int, int]]:
    """First and last samples outside of which each stem of a sound is silent, at least 1 apart."""
    begins = sorted(begin for each in references for begin in each.begins)
    spans = []
    for each in references:
        # Its reference and all that it owns, widened by the spread of a frame
        firsts = [0 if begin == begins[0] else begin for begin in each.begins]
        afters = [bisect.bisect_right(begins, begin) for begin in each.begins]
        lasts = [begins[after] if after < len(begins) else sample_count for after in afters]
        start = min(each.start, *firsts) - FRAME_SAMPLES
        stop = max(each.stop, *lasts) + FRAME_SAMPLES
        start = min(max(start, 0), sample_count - 1)
        spans.append((start, max(min(stop, sample_count), start + 1)))
    return spans


def _with_margins(
    blocks: Iterable[NDArray[np.float32]],
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """First sample, length and samples of equal blocks, these with a margin at both sides."""
    start, before, block = 0, None, None
    for after in split_blocks(blocks, STEM_BLOCK_SAMPLES):
        if block is not None:
            yield start, block.shape[1], _joined(before, block, after)
            start += block.shape[1]
            before = block
        block = after
    if block is not None:
        yield start, block.shape[1], _joined(before, block, None)


def _joined(
    before: NDArray[np.float32] | None,
    block: NDArray[np.float32],
    after: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """A block between its neighbours, with zeros where there is none and up to complete hops."""
    margin = np.zeros((block.shape[0], MARGIN_SAMPLES), np.float32)
    left = margin if before is None else before[:, -MARGIN_SAMPLES:]
    right = margin if after is None else after[:, :MARGIN_SAMPLES]
    filled = MARGIN_SAMPLES - right.shape[1] + -block.shape[1] % STEP_SAMPLES
    return np.pad(np.concatenate([left, block, right], axis=1), ((0, 0), (0, filled)))


def _spectra(samples: NDArray[np.float32]) -> Tensor:
    """(C, n) samples to (C, T, F)."""
    return stft(
        torch.from_numpy(np.ascontiguousarray(samples)),
        window_samples=FRAME_SAMPLES,
        hop_samples=STEP_SAMPLES,
    )


def _sound(spectra: Tensor) -> NDArray[np.float32]:
    """(C, T, F) to (C, n) samples."""
    return istft(spectra, window_samples=FRAME_SAMPLES, hop_samples=STEP_SAMPLES).numpy()


def _rounded(block: StemBlock) -> dict[int, NDArray[np.float32]]:
    """The stems of a block in steps of 24 bits, so that their sum is the rounded sound.

    The rest of rounding, a few steps, goes to the stem that owns the sample.
    """
    stems = {index: integer_levels(samples, STEM_BITS) for index, samples in block.stems.items()}
    rest = integer_levels(block.mix, STEM_BITS) - sum(stems.values())
    for index, levels in stems.items():
        levels += np.where(block.owners == index, rest, 0).astype(np.int32)
    scale = np.float32(2.0 ** (STEM_BITS - 1))
    return {index: levels.astype(np.float32) / scale for index, levels in stems.items()}
