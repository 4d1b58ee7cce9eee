"""Read video and audio files, and write copies of videos with a new audio track.

This package handles files, time stamps and loudness; it imports nothing of the model.
"""

from foleyflow.media.loudness import LoudnessMeter, loudness_gain, loudness_lufs, peak_gain
from foleyflow.media.loudness_report import LoudnessReport, measure_report
from foleyflow.media.output_file import check_output
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.reader import (
    FrameStream,
    read_frames,
    read_frames_at,
    read_frames_at_rate,
    read_frames_with_aspect,
)
from foleyflow.media.sound_file import SoundFormat, sound_suffix, write_sound, write_wav
from foleyflow.media.wave_chunks import BroadcastInfo
from foleyflow.media.waveform import fit_blocks, read_sound_blocks, read_waveform
from foleyflow.media.writer import check_copy, default_suffix, mux

__all__ = [
    "BroadcastInfo",
    "FrameStream",
    "LoudnessMeter",
    "LoudnessReport",
    "MediaInfo",
    "SoundFormat",
    "check_copy",
    "check_output",
    "default_suffix",
    "fit_blocks",
    "loudness_gain",
    "loudness_lufs",
    "measure_report",
    "mux",
    "peak_gain",
    "probe",
    "read_frames",
    "read_frames_at",
    "read_frames_at_rate",
    "read_frames_with_aspect",
    "read_sound_blocks",
    "read_waveform",
    "sound_suffix",
    "write_sound",
    "write_wav",
]
