"""Decodes latents piece by piece, in constant memory, to the same samples as all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.mel_pca import FRAMES

SPECTRA_AHEAD = 2  # that reach back into the sound of the frames before them


def decode_stream(codec: Codec, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Sound of latents that arrive in pieces.

    Each decoded stretch has the codec's receptive field of latents on both sides, and tones go on
    from the stretch before, so that borders can't be heard; the ends of the sound are the ends of
    the first and the last piece.

    Args:
        codec: in eval mode.
        pieces: (1, T, C) standardised latents, any T.

    Yields:
        (1, n) sound; all together as long as all latents.

    Source: ours (method section D.5).
    """
    hop, context = codec.config.hop_samples, codec.context_frames
    held = torch.zeros(1, 0, codec.config.channels)
    before = 0  # frames at the start of `held` that are decoded already
    carry = codec.tones()
    settled = torch.zeros(0, 0)  # phases of the spectra at the start of `held` that are decided

    def decoded(ready: int) -> Tensor:
        """The sound of `held`, its phases decided for all that reaches into the first frames."""
        nonlocal settled
        log_size, phase = codec.spectra(held)
        begun, end = len(settled), FRAMES * ready + SPECTRA_AHEAD
        later = carry(log_size[0, begun:end], phase[0, begun:end])
        settled = torch.cat([settled, later]) if begun else later
        return codec.decoder.sound(log_size, torch.cat([settled, phase[0, end:]])[None])

    for piece in pieces:
        held = torch.cat([held.to(piece.device), piece], 1)
        ready = held.shape[1] - context
        if ready - before < 2 * context:
            continue
        yield decoded(ready)[:, before * hop : ready * hop]
        keep = max(0, ready - context)
        held, before, settled = held[:, keep:], ready - keep, settled[FRAMES * keep :]
    if held.shape[1] > before:
        yield decoded(held.shape[1])[:, before * hop :]
