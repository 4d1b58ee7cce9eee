"""Streaming decoder: decodes latents in pieces, in constant memory, to the same samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.interface import SoundCodec
from foleyflow.codec.mel_pca import FRAMES

SPECTRA_AHEAD = 2  # spectra after a piece whose windows reach back into it


def decode_stream(codec: SoundCodec, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Decode (1, T, C) standardised latents that arrive in pieces to pieces of (1, n) audio.

    Each piece is decoded with the codec's receptive field of latents on both sides, and phases are
    propagated across pieces, so that the audio is that of `Codec.decode` for all latents. Codecs
    of other kinds have a `decode_pieces` of their own.
    """
    if not isinstance(codec, Codec):
        yield from codec.decode_pieces(pieces)
        return
    hop, context = codec.config.hop_samples, codec.context_frames
    held = torch.zeros(1, 0, codec.config.channels)
    done = 0  # frames at the start of `held` that are decoded already
    process = codec.phase_processor() if codec.decodes_spectra else None
    final_phase = torch.zeros(0, 0)  # phases of the spectra at the start of `held` that are final

    def decoded(ready: int) -> Tensor:
        """Audio of `held`; phases become final for all spectra that reach into `ready` frames."""
        nonlocal final_phase
        if process is None:
            return codec.decode(held)
        spectra = codec.spectra(held)
        log_magnitude, phase = spectra.log_magnitudes, spectra.phase
        begin, end = len(final_phase), FRAMES * ready + SPECTRA_AHEAD
        later = process(log_magnitude[0, begin:end], phase[0, begin:end])
        final_phase = torch.cat([final_phase, later]) if begin else later
        phase = torch.cat([final_phase, phase[0, end:]])[None]
        return codec.spectral_decoder.synthesise(spectra._replace(phase=phase))

    for piece in pieces:
        held = torch.cat([held.to(piece.device), piece], 1)
        ready = held.shape[1] - context
        if ready - done < 2 * context:
            continue
        yield decoded(ready)[:, done * hop : ready * hop]
        # Keep the left context of the next piece
        drop = max(0, ready - context)
        held, done, final_phase = held[:, drop:], ready - drop, final_phase[FRAMES * drop :]
    if held.shape[1] > done:
        yield decoded(held.shape[1])[:, done * hop :]
