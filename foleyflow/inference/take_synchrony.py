"""How well a generated sound fits its video, by the judge of synchrony that ships with foleyflow.

It serves to choose among finished takes. Nothing learns from it, and this is the only file of the
product that uses a judge.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foleyflow.inference.result import Generated
from foleyflow.judges.adapters import SyncJudge
from foleyflow.judges.interface import LONGEST_PAIR_S
from foleyflow.judges.networks.trained import load_sync
from foleyflow.judges.weights import SHIPPED, SHIPPED_JUDGES
from foleyflow.media import MediaInfo, fit_blocks, read_frames
from foleyflow.media.waveform import resample_blocks
from foleyflow.signals import Frames
from foleyflow.weights import read_record


class TakeSynchrony:
    """Scores takes of one video, whose frames are read once; the first minute counts."""

    def __init__(self, info: MediaInfo, folder: Path = SHIPPED) -> None:
        component = SHIPPED_JUDGES[SyncJudge.name]
        self._judge = SyncJudge(load_sync(folder), read_record(folder, component).sha256)
        self._frames: Frames | None = None
        if info.duration_s >= self._judge.shortest_s:
            size_px = self._judge.video_preprocessing.size_px
            used = list(read_frames(info.path, end_s=LONGEST_PAIR_S, size=size_px, info=info))
            if used:
                self._frames = Frames(
                    pixels=np.stack([pixels for _, pixels in used]),
                    times_s=np.array([time_s for time_s, _ in used]),
                )

    def score(self, result: Generated) -> float | None:
        """The probability, 0..1, that the sound is in sync; None if the clip is too short."""
        if self._frames is None:
            return None
        count = min(result.sample_count, round(LONGEST_PAIR_S * result.sample_rate_hz))
        blocks = fit_blocks(result.blocks(), count)
        if result.sample_rate_hz != self._judge.rate_hz:
            blocks = resample_blocks(blocks, result.sample_rate_hz, self._judge.rate_hz)
        samples = np.concatenate([block[0] for block in blocks])
        try:
            return self._judge.score(self._frames, samples)
        except ValueError:  # the judge finds the video too short by its frames
            return None
