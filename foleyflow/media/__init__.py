"""Video in, muxed file out: the only room that imports `av`.

Knows files, time stamps and sound levels; knows no model.
"""

from foleyflow.media.frames import frame_blocks, keep_at_rate, stack_frames
from foleyflow.media.loudness import (
    LoudnessMeter,
    guard_peak,
    loudness_gain,
    loudness_lufs,
    normalise_loudness,
    peak_gain,
)
from foleyflow.media.probe import MediaInfo, probe
from foleyflow.media.reader import (
    DecodeCounts,
    FrameStream,
    read_frames,
    read_pictures,
    read_shaped_frames,
)
from foleyflow.media.waveform import (
    fit_blocks,
    fit_length,
    read_sound_blocks,
    read_waveform,
    resample_blocks,
)
from foleyflow.media.writer import (
    MuxReport,
    check_copy,
    check_output,
    default_suffix,
    mux,
    write_wav,
)

__all__ = [
    "DecodeCounts",
    "FrameStream",
    "LoudnessMeter",
    "MediaInfo",
    "MuxReport",
    "check_copy",
    "check_output",
    "default_suffix",
    "fit_blocks",
    "fit_length",
    "frame_blocks",
    "guard_peak",
    "keep_at_rate",
    "loudness_gain",
    "loudness_lufs",
    "mux",
    "normalise_loudness",
    "peak_gain",
    "probe",
    "read_frames",
    "read_pictures",
    "read_shaped_frames",
    "read_sound_blocks",
    "read_waveform",
    "resample_blocks",
    "stack_frames",
    "write_wav",
]
