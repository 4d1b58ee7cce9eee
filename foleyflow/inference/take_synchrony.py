"""How well generated sounds fit their video, by the judge of synchrony that ships with foleyflow.

It serves to choose among finished takes. Nothing learns from it, and this is the only file of the
product that uses a judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foleyflow.inference.result import Generated
from foleyflow.inference.takes import sound_between
from foleyflow.judges.adapters import SyncJudge
from foleyflow.judges.interface import LONGEST_PAIR_S
from foleyflow.judges.networks.trained import load_sync
from foleyflow.judges.preprocessing import AudioPreprocessing
from foleyflow.judges.weights import SHIPPED, SHIPPED_JUDGES
from foleyflow.media import MediaInfo, read_frames
from foleyflow.signals import Frames, Waveform
from foleyflow.weights import read_record

PIECE_S = 8.0  # whose frames are in memory together


def synchrony_scores(
    results: Sequence[Generated], info: MediaInfo, *, folder: Path = SHIPPED
) -> list[float | None]:
    """The probability, 0..1, that the sound of each result is in sync with the video.

    It is the mean over pieces of the first minute; None if the video is too short.

    Args:
        results: of the video.
        info: the video.
        folder: of the judge.

    Raises:
        MediaError: the video can't be read.
    """
    component = SHIPPED_JUDGES[SyncJudge.name]
    judge = SyncJudge(load_sync(folder), read_record(folder, component).sha256)
    size_px, prepare = judge.video_preprocessing.size_px, AudioPreprocessing()
    scores: list[list[float]] = [[] for _ in results]
    start_s, duration_s = 0.0, min(info.duration_s, LONGEST_PAIR_S)
    while duration_s - start_s >= judge.shortest_s:
        # The last piece includes a rest that would be too short alone
        end_s = start_s + PIECE_S
        if duration_s - end_s < judge.shortest_s:
            end_s = duration_s
        pairs = list(read_frames(info.path, start_s=start_s, end_s=end_s, size=size_px, info=info))
        if pairs:
            frames = Frames(
                pixels=np.stack([pixels for _, pixels in pairs]),
                times_s=np.array([time_s - start_s for time_s, _ in pairs]),
            )
            for result, own in zip(results, scores, strict=True):
                rate_hz = result.sample_rate_hz
                first, last = round(start_s * rate_hz), round(end_s * rate_hz)
                samples = sound_between(result._take, first, min(last, result.sample_count))
                sound = Waveform(samples=samples[None], rate_hz=rate_hz)
                try:
                    own.append(judge.score(frames, prepare.apply(sound, judge.rate_hz)))
                except ValueError:  # too few frames at the end of the piece
                    continue
        start_s = end_s
    return [float(np.mean(own)) if own else None for own in scores]
