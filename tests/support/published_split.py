"""A list whose test split has every kind of broken clip, with its files."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.small_vggsound import BROKEN, make_clip, video_id

TRAIN = (0, 1, 2, 3)  # 59 shows and sounds the same as 3
TEST = (4, *BROKEN)
COPY_OF_4 = "copy-of-004"  # a second test clip with the pictures and the sound of clip 4
ABSENT = {45: "no file", 46: "unreadable", 47: "unreadable", 48: "no sound"}


def make_published_split(folder: Path) -> tuple[Path, Path]:
    """Write the csv and the folder of clips."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    rows = []
    for number in TRAIN + TEST:
        start_s, split = 7 * number, "test" if number in TEST else "train"
        rows.append(f"{video_id(number)},{start_s},thing number {number},{split}")
        make_clip(number, clips / f"{video_id(number)}_{start_s:06d}.mp4")
    rows.append(f"{COPY_OF_4},0,thing number 4,test")
    shutil.copy(clips / f"{video_id(4)}_000028.mp4", clips / f"{COPY_OF_4}_000000.mp4")
    listing = folder / "vggsound.csv"
    listing.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return listing, clips
