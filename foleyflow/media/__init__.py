"""Read video and audio files, and write copies of videos with a new audio track.

This package handles files, time stamps and loudness; it imports nothing of the model.
"""

from foleyflow.media.loudness import LoudnessMeter, loudness_gain, loudness_lufs, peak_gain
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.reader import (
    FrameStream,
    read_frames,
    read_frames_at,
    read_frames_at_rate,
    read_frames_with_aspect,
)
from foleyflow.media.waveform import fit_blocks, read_sound_blocks, read_waveform
from foleyflow.media.writer import check_copy, check_output, default_suffix, mux, write_wav

__all__ = [
    "FrameStream",
    "LoudnessMeter",
    "MediaInfo",
    "check_copy",
    "check_output",
    "default_suffix",
    "fit_blocks",
    "loudness_gain",
    "loudness_lufs",
    "mux",
    "peak_gain",
    "probe",
    "read_frames",
    "read_frames_at",
    "read_frames_at_rate",
    "read_frames_with_aspect",
    "read_sound_blocks",
    "read_waveform",
    "write_wav",
]
