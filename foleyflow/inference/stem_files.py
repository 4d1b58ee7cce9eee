"""Writes the stems of a result as Broadcast Wave files into a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from foleyflow.errors import MediaError
from foleyflow.inference.stems import Stem
from foleyflow.media import BroadcastInfo, check_output, write_sound
from foleyflow.system.atomic_files import draft_prefix

STEMS_SUFFIX = ".stems"
_SOUND_SUFFIX = ".wav"


def stem_folder(output: Path) -> Path:
    """The folder of the stems of an output."""
    return output.with_suffix(STEMS_SUFFIX)


def check_stem_folder(folder: Path, *, overwrite: bool) -> None:
    """Checks that the folder of stems can be written.

    Raises:
        MediaError: it exists and `overwrite` is not set, or it can't be written.
    """
    if not folder.is_dir():
        check_output(folder, overwrite=False)
    elif not overwrite:
        raise MediaError(f"{folder}: already exists", hint="use --overwrite to replace its stems")
    elif not os.access(folder, os.W_OK | os.X_OK):
        raise MediaError(f"{folder}: not allowed to write there", hint="choose another folder")


def write_stems(
    folder: Path, stems: Sequence[Stem], *, origin_s: float = 0.0, overwrite: bool = False
) -> list[Path]:
    """Writes each stem as NAME.wav with 24 bits, and returns the paths.

    The folder appears complete. Of an existing one, the sound files are replaced.

    Args:
        folder: of the files.
        stems: with different names.
        origin_s: time code of the start of the clip, seconds since midnight. With the start of the
            stem, it is the time reference of the file.
        overwrite: replace an existing folder.

    Raises:
        MediaError: the folder exists, or a file can't be written.
    """
    check_stem_folder(folder, overwrite=overwrite)
    draft = folder.with_name(draft_prefix(folder) + ".part")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(draft)
    draft.mkdir()
    try:
        for stem in stems:
            origin = round(origin_s * stem.rate_hz)
            info = BroadcastInfo(
                description=stem.name, time_reference_samples=origin + stem.start_sample
            )
            path = draft / (stem.name + _SOUND_SUFFIX)
            write_sound(path, stem.blocks(), stem.rate_hz, format="bwf", broadcast=info)
        if folder.is_dir():
            for old in folder.glob(f"*{_SOUND_SUFFIX}"):
                old.unlink()
            for new in draft.iterdir():
                os.replace(new, folder / new.name)
        else:
            os.replace(draft, folder)
    finally:
        with contextlib.suppress(OSError):  # it was renamed
            shutil.rmtree(draft)
    return [folder / (stem.name + _SOUND_SUFFIX) for stem in stems]
