"""Build a small data set; in a process of its own the build can be killed.

python killable_building.py CSV CLIPS OUT STAGE COUNT    SIGKILLs itself in examining or packing
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.small_vggsound import CLIP_S, SEGMENT_S, sounds_like_a_chord

from foleyflow.data.build.builder import BuildSettings, build
from foleyflow.data.build.examination import ExamineSettings
from foleyflow.data.build.listing import ListedClip, read_vggsound

SETTINGS = BuildSettings(
    examine=ExamineSettings(duration_s=CLIP_S, filter_test=True),
    shard_clips=8,
    tagger="sounds_like_a_chord",
)


def rows_of(csv: Path) -> list[ListedClip]:
    """The rows of the small list."""
    return read_vggsound(csv, validation=0.2, segment_s=SEGMENT_S)


def build_small(csv: Path, clips: Path, out: Path, **stops: Callable[[int, int], None]) -> Any:
    """Build the small VGGSound on one thread."""
    return build(rows_of(csv), clips, out, SETTINGS, music=sounds_like_a_chord, workers=1, **stops)


if __name__ == "__main__":
    csv, clips, out = (Path(argument) for argument in sys.argv[1:4])

    def kill(done: int, total: int) -> None:
        """Kill this process once COUNT items are done."""
        if done >= int(sys.argv[5]):
            os.kill(os.getpid(), signal.SIGKILL)

    build_small(csv, clips, out, **{sys.argv[4]: kill})
