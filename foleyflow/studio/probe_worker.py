"""Examines an uploaded file in a process of its own with limits of memory and time.

    python -m foleyflow.studio.probe_worker FILE LIMIT_S MEMORY_BYTES [HIT SUFFIX]

prints one JSON object: {"duration_s", "container", "suffix"}, or {"error", "hint"}. With HIT, it
writes the first hit of a sound file there instead; SUFFIX is that of the name of the sound.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from foleyflow.errors import FoleyflowError, MediaError
from foleyflow.media import default_suffix, probe, read_frames_at
from foleyflow.studio.first_hit import write_first_hit
from foleyflow.studio.limits import limit_this_process, worker_options

LONGEST_S = 30.0
LARGEST_BYTES = 4 * 2**30
SAMPLED = 3  # frames that have to be decodable
PICTURE_PIXELS = 64


def examine(path: Path) -> dict[str, Any]:
    """What a process with limits finds about a file.

    Raises:
        MediaError: the file is not a video that can be used, or examining it takes too much.
    """
    return _examined(path)


def cut_hit(path: Path, hit: Path, *, suffix: str) -> None:
    """Writes the first hit of a sound file to `hit`, in a process with limits.

    Args:
        path: the sound file.
        hit: the wave file to write.
        suffix: of the name of the sound.

    Raises:
        MediaError: the file has no sound that can be used, or reading it takes too much.
    """
    _examined(path, str(hit), suffix)


def _examined(path: Path, *options: str) -> dict[str, Any]:
    limits = str(LONGEST_S), str(LARGEST_BYTES)
    command = [sys.executable, "-m", __name__, str(path), *limits, *options]
    hint = "check that the file plays; it may be damaged"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=2 * LONGEST_S,
            stdin=subprocess.DEVNULL,
            check=False,
            **worker_options(),
        )
    except subprocess.TimeoutExpired as error:
        raise MediaError("the file takes too long to read", hint=hint) from error
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise MediaError(
            "the file can't be read within the limits of time and memory", hint=hint
        ) from error
    if "error" in found:
        raise MediaError(found["error"], hint=found["hint"])
    return found


def _examine_here(path: Path, *options: str) -> dict[str, Any]:
    try:
        if options:
            hit, suffix = options
            write_first_hit(path, Path(hit), suffix=suffix)
            return {}
        info = probe(path)
        times_s = [info.duration_s * k / SAMPLED for k in range(SAMPLED)]
        for time_s in times_s:
            read_frames_at(path, [time_s], height=PICTURE_PIXELS, info=info)
    except FoleyflowError as error:
        # The name of the temporary file means nothing to the user
        text = str(error).removeprefix(f"{path}: ").replace(str(path), "the file")
        return {"error": text, "hint": error.hint or ""}
    return {
        "duration_s": info.duration_s,
        "container": info.container,
        "suffix": default_suffix(path),
    }


def _main() -> None:
    path, limit_s, memory_bytes = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    limit_this_process(memory_bytes, processor_s=limit_s)
    sys.stdout.write(json.dumps(_examine_here(path, *sys.argv[4:])))


if __name__ == "__main__":
    _main()
