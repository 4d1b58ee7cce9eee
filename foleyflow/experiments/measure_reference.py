"""Measure whether generated hits follow a recorded one that the flow gets as known latents.

Each clip with an isolated hit gets the isolated hit of another clip as its reference. Hits that
leave everything but times and levels to the model are generated with and without it.

Dimension letters: L latent frames, C latent channels, Q cue channels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.cues.arrays import UNKNOWN, CueArrays
from foleyflow.cues.tracks import TrackLayout, condition_tracks
from foleyflow.data.clips import SimulatedClips
from foleyflow.experiments.reference_hits import (
    TAGGED_AFTER_S,
    TAGGED_BEFORE_S,
    IsolatedHit,
    SoundedHit,
    excerpt,
    isolated_hits,
    references_of,
    similarity,
)
from foleyflow.features.cue_labels import sheet_of_labels
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import Condition
from foleyflow.inference.cue_checks import left_to_reference
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.reference_sound import FADE_S
from foleyflow.judges.interface import MaterialJudge
from foleyflow.media import write_sound

BEFORE_FRAMES = 5  # latent frames before a hit
HIT_FRAMES = 24  # of a known hit
# Known frames before and after the generated ones; a window has 160 frames
LAYOUTS = {
    "hit before": (HIT_FRAMES, 0),
    "hit on both sides": (HIT_FRAMES, HIT_FRAMES),
    "1 s before": (48, 0),
    "2.7 s before": (136, 0),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownPiece:
    """A known sound: standardised latents (L, C), and its cue tracks (L, Q)."""

    latents: Tensor
    tracks: NDArray[np.float32]


def measure_reference(
    model: str,
    data: Path,
    *,
    split: str,
    clips: int,
    judge: MaterialJudge,
    steps: int,
    guidance: float | None,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Similarity of generated hits to their references, with and without these.

    Args:
        model: "embedded" or a model folder, whose flow takes cues.
        data: data set of simulated clips with videos.
        split: of the data set.
        clips: largest number of clips to choose hits from.
        judge: classifies sounds.
        steps, guidance: of the flow; None is the model's guidance.
        seed: of the choice of references, and of the noise.
        progress: called with the number of finished ways to generate, and of all.

    Returns:
        "hits", their number; "windows", way to generate one window without video -> `similarity`;
        "videos", the same for complete videos by `FoleyFlow.generate`. Of ways with a reference,
        "material_gain" and "ratio_change" compare with the first one without it.
    """
    flow = FoleyFlow.from_pretrained(model)
    source = SimulatedClips(data, split)
    rate_hz = flow.codec.config.rate_hz
    hits = isolated_hits(source, clips)
    references = references_of(hits, seed)
    trial = _WindowTrial(flow, steps=steps, guidance=guidance, seed=seed)
    videos = _VideoTrial(flow, source, steps=steps, guidance=guidance, seed=seed)
    groups = {"windows": trial.ways(), "videos": videos.ways()}
    done, total = 0, sum(map(len, groups.values()))
    report: dict[str, Any] = {"hits": len(hits)}
    for name, ways in groups.items():
        figures: dict[str, dict[str, Any]] = {}
        for way, generate in ways.items():
            made = [
                generate(number, hit, other)
                for number, (hit, other) in enumerate(zip(hits, references, strict=True))
            ]
            figures[way] = similarity(made, references, judge, rate_hz)
            done += 1
            progress(done, total)
        report[name] = {
            way: each | _changes(each, figures["no reference"]) for way, each in figures.items()
        }
    return report


def _changes(figures: dict[str, Any], without: dict[str, Any]) -> dict[str, float]:
    """What a reference changes in the two figures by which it is judged."""
    return {
        "material_gain": round(figures["material"] - without["material"], 3),
        "ratio_change": round(figures["ratio"] / without["ratio"] - 1, 3),
    }


Generate = Callable[[int, IsolatedHit, IsolatedHit], SoundedHit]


class _WindowTrial:
    """Generates the window around a hit, from its cues and known latents without video."""

    def __init__(self, flow: FoleyFlow, *, steps: int, guidance: float | None, seed: int) -> None:
        self._flow, self._codec, self._path = flow.flow, flow.codec, flow.path
        self._frames = flow.plan.length * flow.flow.config.latents_per_segment
        self._steps, self._seed = steps, seed
        self._guidance = flow.flow.config.default_guidance if guidance is None else guidance
        self._layout = TrackLayout(materials=len(flow.materials))

    def ways(self) -> dict[str, Generate]:
        """Name -> (number, hit, reference) -> sound."""

        def with_known(layout: tuple[int, int], *, exact: bool, material: bool = False) -> Generate:
            def generate(number: int, hit: IsolatedHit, other: IsolatedHit) -> SoundedHit:
                names = ("materials",) if material else ()
                before, after = (
                    self.piece(other, frames, exact=exact, names=names) if frames else None
                    for frames in layout
                )
                cues = _like(hit.cues, other, names)
                return self.generate(number, hit, cues, before=before, after=after)

            return generate

        def with_attributes(*names: str) -> Generate:
            def generate(number: int, hit: IsolatedHit, other: IsolatedHit) -> SoundedHit:
                return self.generate(number, hit, _like(hit.cues, other, names))

            return generate

        attributes = ("materials", "strikers", "pitches_hz", "decays_s")
        layouts = {name: layout for name, layout in LAYOUTS.items() if sum(layout) < self._frames}
        return {
            "no reference": with_attributes(),
            "codec": lambda number, hit, other: self.coded(other),
            "material": with_attributes("materials"),
            "material, pitch, decay, striker": with_attributes(*attributes),
            **{name: with_known(layout, exact=False) for name, layout in layouts.items()},
            **{
                f"{name}, its cues exact": with_known(layout, exact=True)
                for name, layout in layouts.items()
            },
            "hit before and material": with_known((HIT_FRAMES, 0), exact=False, material=True),
        }

    def piece(
        self, hit: IsolatedHit, frames: int, *, exact: bool, names: tuple[str, ...] = ()
    ) -> KnownPiece:
        """Some latent frames of a clip, with a hit near the start, as a known sound.

        Args:
            hit: of the clip.
            frames: L.
            exact: give all attributes of its cues, instead of times, levels and those of `names`.
            names: attributes, see `_like`.
        """
        hop, rate_hz = self._codec.config.hop_samples, self._codec.config.rate_hz
        first = self._first_frame(hit)
        if frames > HIT_FRAMES:
            first = max(min(first, len(hit.sound) // hop - frames), 0)
        sounded = SoundedHit(sound=hit.sound, time_s=first * hop / rate_hz)
        samples = excerpt(sounded, 0.0, frames * hop / rate_hz, rate_hz)
        fade = round(FADE_S * rate_hz)
        samples[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        with torch.inference_mode():
            latents = self._codec.encode(torch.from_numpy(samples)[None])
            latents = self._flow.standardise(latents)[0]
        cues = hit.cues if exact else _like(hit.cues, hit, names)
        return KnownPiece(latents=latents, tracks=self._tracks(cues, first, frames))

    def coded(self, hit: IsolatedHit) -> SoundedHit:
        """The true sound through the codec: the nearest that a flow can come."""
        piece = self.piece(hit, len(hit.sound) // self._codec.config.hop_samples, exact=True)
        return SoundedHit(sound=self._decode(piece.latents[None]), time_s=hit.time_s)

    def generate(
        self,
        number: int,
        hit: IsolatedHit,
        cues: CueArrays,
        *,
        before: KnownPiece | None = None,
        after: KnownPiece | None = None,
    ) -> SoundedHit:
        """The sound of a window that begins shortly before a hit, or with a known sound.

        Args:
            number: of the noise.
            hit: of the clip.
            cues: of the clip.
            before, after: known sounds at both ends of the window.
        """
        config, count = self._flow.config, self._frames
        head, tail = (0 if piece is None else len(piece.tracks) for piece in (before, after))
        first = self._first_frame(hit)
        parts = [
            None if before is None else before.tracks,
            self._tracks(cues, first, count - head - tail),
            None if after is None else after.tracks,
        ]
        tracks = np.concatenate([part for part in parts if part is not None])
        context = torch.zeros(1, count, config.channels)
        known = torch.zeros(1, count, dtype=torch.bool)
        if before is not None:
            context[0, :head], known[0, :head] = before.latents, True
        if after is not None:
            context[0, count - tail :], known[0, count - tail :] = after.latents, True
        condition = Condition(
            video=torch.zeros(1, count, config.condition_width),
            states=torch.zeros(1, count // config.latents_per_segment, config.condition_width),
            cues=torch.from_numpy(tracks)[None],
            has_video=torch.zeros(1, dtype=torch.bool),
            context=context,
            known=known,
        )
        generator = torch.Generator().manual_seed(self._seed + number)
        noise = torch.randn(1, count, config.channels, generator=generator)
        with torch.inference_mode():
            latents = sample(
                self._flow,
                condition,
                noise,
                steps=self._steps,
                guidance=self._guidance,
                path=self._path,
            )
        time_s = hit.time_s + (head - first) / config.latent_rate_hz
        return SoundedHit(sound=self._decode(latents), time_s=time_s)

    def _first_frame(self, hit: IsolatedHit) -> int:
        return int(hit.time_s * self._flow.config.latent_rate_hz) - BEFORE_FRAMES

    def _tracks(self, cues: CueArrays, first: int, frames: int) -> NDArray[np.float32]:
        """The tracks of the cues that begin within some latent frames of a clip."""
        rate_hz = self._flow.config.latent_rate_hz
        cues = cues.shift(-first / rate_hz)
        cues = cues.take((cues.times_s >= 0) & (cues.times_s < frames / rate_hz))
        return condition_tracks(cues, frames, rate_hz=rate_hz, layout=self._layout)

    @torch.inference_mode()
    def _decode(self, latents: Tensor) -> NDArray[np.float32]:
        decoded: Tensor = self._codec.decode(self._flow.restore(latents))[0]
        return decoded.float().numpy()


class _VideoTrial:
    """Generates complete videos by the exact times and levels of their cues."""

    def __init__(
        self,
        flow: FoleyFlow,
        source: SimulatedClips,
        *,
        steps: int,
        guidance: float | None,
        seed: int,
    ) -> None:
        self._flow, self._source, self._seed = flow, source, seed
        self._settings: dict[str, Any] = {"steps": steps, "guidance": guidance}

    def ways(self) -> dict[str, Generate]:
        """Name -> (number, hit, reference) -> sound."""
        return {
            "no reference": lambda number, hit, other: self.generate(number, hit),
            "material": lambda number, hit, other: self.generate(
                number, hit, material=other.material
            ),
            "reference": lambda number, hit, other: self.generate(number, hit, other),
            "reference and material": lambda number, hit, other: self.generate(
                number, hit, other, material=other.material
            ),
        }

    def generate(
        self,
        number: int,
        hit: IsolatedHit,
        other: IsolatedHit | None = None,
        material: str | None = None,
    ) -> SoundedHit:
        """The sound of a clip, with the hit of another clip as the reference, if any."""
        rate_hz = self._flow.codec.config.rate_hz
        cues = left_to_reference(sheet_of_labels(self._source.labels(hit.clip)))
        with self._source.files(hit.clip) as (video, _), tempfile.TemporaryDirectory() as folder:
            path = None
            if other is not None:
                recorded = SoundedHit(sound=other.sound, time_s=other.time_s)
                samples = excerpt(recorded, TAGGED_BEFORE_S, TAGGED_AFTER_S, rate_hz)
                path = write_sound(Path(folder) / "reference.wav", [samples[None]], rate_hz)
            result = self._flow.generate(
                video,
                cues=cues,
                seed=self._seed + number,
                material=material,
                loudness_lufs=None,
                reference=path,
                **self._settings,
            )
        return SoundedHit(sound=result.waveform, time_s=hit.time_s)


def _like(cues: CueArrays, hit: IsolatedHit, names: tuple[str, ...]) -> CueArrays:
    """The cues with some attributes of a hit, and without the other ones.

    `names` are among materials, strikers, pitches_hz and decays_s.
    """
    changes: dict[str, Any] = {}
    for name in ("materials", "strikers", "pitches_hz", "decays_s"):
        column = getattr(cues, name)
        unknown = UNKNOWN if column.dtype == np.int64 else np.nan
        value = getattr(hit.cues, name)[hit.index] if name in names else unknown
        changes[name] = np.full_like(column, value)
    return replace(cues, **changes)
