"""Mel filters as the published judges have them: triangles on the mel axis, not on the hertz axis.

A judge must be fed what it was trained on. Published encoders need the same filters, so they are
ground.
"""

from foleyflow.spectrogram import mel_triangles

__all__ = ["mel_triangles"]
