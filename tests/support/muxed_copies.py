"""Copies of a video: with a silent audio track, or with changed packets."""

from __future__ import annotations

import av
import numpy as np
import pytest
from support.media_files import shown

from foleyflow import clock
from foleyflow.media import mux, probe

RATE_HZ = 48_000


def quiet_copy(video, output, **settings):
    """Mux silence as long as the video, and return descriptions of what was lost."""
    info = probe(video)
    count = clock.count_at(info.duration_s, RATE_HZ)
    silence = np.zeros((1, count), np.float32)
    return mux(video, output, [silence], rate_hz=RATE_HZ, n_samples=count, info=info, **settings)


def assert_same_frames(video, output, *, tolerance_s=2e-3):
    before, after = shown(video), shown(output)
    assert after.pictures == before.pictures
    np.testing.assert_allclose(
        after.times_s - after.times_s[0], before.times_s - before.times_s[0], atol=tolerance_s
    )
    start_s, end_s = after.sound_s
    if output.suffix != ".avi":  # its sound begins with the file, and with silence if necessary
        # The decoder of Windows Media audio returns nothing for its first 2,048 samples.
        slack_s = 0.05 if output.suffix in (".wmv", ".asf") else 0.03
        assert start_s == pytest.approx(after.times_s[0], abs=slack_s)
    assert end_s - after.times_s[0] == pytest.approx(probe(video).duration_s, abs=0.06)


def copy_packets(source, target, *, change=lambda number, packet: packet, attachment=None):
    """Copy a video's packets; `change(number, packet)` returns a packet, or None to drop it."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as sink:
        stream = reader.streams.video[0]
        copy = sink.add_stream_from_template(stream, opaque=True)
        if attachment is not None:
            sink.add_attachment(*attachment)
        packets = [packet for packet in reader.demux(stream) if packet.size]
        for number, packet in enumerate(packets):
            changed = change(number, packet)
            if changed is not None:
                changed.stream = copy
                sink.mux(changed)
    return target
