"""Read when a video shows its frames, without decoding them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foleyflow.media.input_file import discard_others, open_input, read_packets
from foleyflow.media.presentation_times import PresentationTimes
from foleyflow.media.probe import MediaInfo

_ROUNDING_S = 1e-6


def read_frame_times(info: MediaInfo) -> NDArray[np.float64]:
    """Return the seconds after the first shown frame at which frames are shown, in order.

    A container that stores only decoding times, such as AVI, gives these.

    Raises:
        MediaError: the file can't be read.
    """
    record = PresentationTimes(by_decoding_time=info.container == "avi")
    with open_input(info.path) as container:
        stream = container.streams[info.video_index]
        discard_others(container, stream)
        for packet in read_packets(container, [stream]):
            record.add(packet)
    times_s = np.fromiter(record.times_s(), np.float64) + (record.first_s or 0.0)
    times_s = np.unique(times_s[np.isfinite(times_s)]) - info.start_s
    if info.container == "avi" and len(times_s):
        times_s -= times_s[0]
    inside = (times_s > -_ROUNDING_S) & (times_s < info.duration_s)
    return np.maximum(times_s[inside], 0.0)
