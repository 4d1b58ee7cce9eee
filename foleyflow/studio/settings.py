"""Settings of the studio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_FOLDER = Path("~/foleyflow-studio")
# Settings of the sound that projects of earlier versions lack
LATER_SETTINGS: Mapping[str, Any] = {
    "stereo": False,
    "library_variation": True,
    "reference": None,  # the id of a recording of the project
    "reference_material": None,
}
EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"


@dataclass(frozen=True, kw_only=True)
class StudioSettings:
    """How the studio is started.

    Attributes:
        folder: of the projects.
        videos: folder of videos that projects may refer to without a copy; None allows none.
        library: folder of recorded sounds; None for none.
        model, device, threads: see `FoleyFlow.from_pretrained`.
        upload_bytes: largest size of an upload.
        duration_s: longest video.
        first_stretch_s: of a longer video, this part is analysed first.
    """

    folder: Path
    videos: Path | None = None
    library: Path | None = None
    model: str = "embedded"
    device: str = "auto"
    threads: int = 0
    upload_bytes: int = 20 * 2**30
    duration_s: float = 4 * 3600.0
    first_stretch_s: float = 20.0
