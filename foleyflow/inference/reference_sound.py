"""A recorded hit whose timbre the flow continues.

The latents of the recording precede every window as known context, like those of the window before
it. The flow was trained to continue known sounds, so that hits with nothing but a time and a level
sound like the recorded one.

Dimension letters: K latent frames of the recording, L of a window, C latent channels, Q cue
channels, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foleyflow.codec.interface import SoundCodec
from foleyflow.cues.arrays import arrays_of
from foleyflow.cues.cue import NOMINAL_PEAK, Cue
from foleyflow.cues.tracks import TrackLayout, condition_tracks
from foleyflow.errors import DataError
from foleyflow.flow.transformer import Condition, FlowTransformer
from foleyflow.library.measuring import FAINTEST_PEAK, LOSSY_SUFFIXES, find_onset, read_sound
from foleyflow.media.waveform import fit_length, resample_blocks
from foleyflow.signals import Waveform

BEFORE_S, AFTER_S = 0.1, 0.38  # of silence before the onset, and of sound after it
FADE_S = 0.02  # at the end
LEVEL_DB = -6.0  # of the hit, on the scale of cues


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceSound:
    """A recorded hit as known context of a flow.

    Attributes:
        latents: (1, K, C) standardised, complete segments of the aligner.
        tracks: (K, Q) cue tracks of the hit.
    """

    latents: Tensor
    tracks: NDArray[np.float32]

    @property
    def frames(self) -> int:
        """K."""
        return len(self.tracks)

    def before(self, condition: Condition) -> Condition:
        """A condition (1, L) with the recording before it, (1, K + L), and without its video.

        The recording has no video, and a flow learns windows with video or without.
        """
        count, device = self.frames, condition.context.device
        segments = count * condition.states.shape[1] // condition.known.shape[1]
        latents = self.latents.to(device)
        tracks = torch.from_numpy(self.tracks)[None].to(device)
        is_known = torch.ones(1, count, dtype=torch.bool, device=device)
        return Condition(
            video=torch.zeros_like(_longer(condition.video, count)),
            states=torch.zeros_like(_longer(condition.states, segments)),
            cues=torch.cat([tracks, condition.cues], 1),
            has_video=torch.zeros_like(condition.has_video),
            context=torch.cat([latents, condition.context], 1),
            known=torch.cat([is_known, condition.known], 1),
        )


def read_reference(
    path: str | Path, codec: SoundCodec, flow: FlowTransformer, *, material: str | None = None
) -> ReferenceSound:
    """The first hit of a sound file as known context.

    Args:
        path: a sound file.
        codec, flow: in eval mode; the flow takes cues.
        material: of the struck object, one of the flow's; None if it is not known.

    Raises:
        MediaError: the file can't be read.
        DataError: it is silent, or some samples are not finite.
    """
    path = Path(path)
    sound = read_sound(path)
    onset = find_onset(sound.mono(), sound.rate_hz, is_lossy=path.suffix.lower() in LOSSY_SUFFIXES)
    if onset is None or float(np.abs(sound.mono()[onset:]).max(initial=0.0)) < FAINTEST_PEAK:
        raise DataError(
            f"{path}: is silent, expected a recorded hit", hint="choose another reference"
        )
    return reference_of_hit(sound, onset / sound.rate_hz, codec, flow, material=material)


@torch.inference_mode()
def reference_of_hit(
    sound: Waveform,
    onset_s: float,
    codec: SoundCodec,
    flow: FlowTransformer,
    *,
    material: str | None = None,
) -> ReferenceSound:
    """The hit of a sound at `onset_s` as known context; see `read_reference`."""
    rate_hz, hop = codec.config.rate_hz, codec.config.hop_samples
    step = hop * flow.config.latents_per_segment
    count = math.ceil((BEFORE_S + AFTER_S) * rate_hz / step) * step
    # The hit alone, after silence
    first = max(round(onset_s * sound.rate_hz), 0)
    cut = sound.mono()[first : first + math.ceil(AFTER_S * sound.rate_hz)]
    hit = np.concatenate(
        [block[0] for block in resample_blocks([cut[None]], sound.rate_hz, rate_hz)]
    )
    before = round(BEFORE_S * rate_hz)
    hit = fit_length(hit, count - before)
    # Its level, and silence at the end
    hit = hit * np.float32(NOMINAL_PEAK * 10 ** (LEVEL_DB / 20) / np.abs(hit).max())
    fade = round(FADE_S * rate_hz)
    hit[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    samples = np.concatenate([np.zeros(before, np.float32), hit])
    # Latents and cue tracks
    device = next(flow.parameters()).device
    latents = flow.standardise(codec.encode(torch.from_numpy(samples)[None].to(device)))
    cue = Cue(time_s=BEFORE_S, level_db=LEVEL_DB, material=material)
    tracks = condition_tracks(
        arrays_of([cue], flow.config.cue_materials),
        count // hop,
        rate_hz=flow.config.latent_rate_hz,
        layout=TrackLayout(materials=len(flow.config.cue_materials)),
    )
    return ReferenceSound(latents=latents.float(), tracks=tracks)


def _longer(values: Tensor, count: int) -> Tensor:
    """(1, L, D) with `count` more frames before it."""
    return torch.cat([values.new_zeros(1, count, values.shape[2]), values], 1)
