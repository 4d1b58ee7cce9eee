"""Report pictures of the gallery: small PNG files in few colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foleyflow.experiments.palette_images import drawing_palette, with_palette
from foleyflow.inference.report import (
    ACCENT,
    DOTS_PER_INCH,
    HEIGHT_PX,
    SECOND,
    WIDTH_PX,
    draw_report,
    report_pictures,
)
from foleyflow.inference.report_cues import COLOURS, INK, PALE
from foleyflow.inference.result import Generated
from foleyflow.signals import Waveform
from foleyflow.system.atomic_files import draft_of

SCALE = 0.7  # of the report
PICTURE_PX = (round(SCALE * WIDTH_PX), round(SCALE * HEIGHT_PX))
LIMIT_BYTES = 120_000
STRIP_FRAMES = 6
# Colours of the frames and of the spectrograms; the first pair that gives a small file is used
COLOUR_COUNTS = ((96, 36), (64, 24), (48, 16), (32, 10))


def plot_picture(path: Path, result: Generated, true: Waveform, *, title: str) -> None:
    """Write the report of a result and of the true sound as a PNG of `PICTURE_PX`.

    The file is at most `LIMIT_BYTES` long, except for very noisy sounds, and appears complete or
    not at all.
    """
    # The report, drawn smaller
    frames = report_pictures(result.info, STRIP_FRAMES)
    figure = draw_report(
        pictures=frames,
        generated=result.as_waveform(),
        cues=result.cues,
        reference=true,
        reference_name="true",
        title=title,
    )
    figure.set_dpi(SCALE * DOTS_PER_INCH)
    canvas = cast(Any, figure.canvas)  # that of the Agg backend
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    # Its nearest colours in a palette
    strip = np.concatenate([picture for _, picture in frames], axis=1)
    with draft_of(path) as draft:
        for counts in COLOUR_COUNTS:
            small = with_palette(pixels, _palette(strip, *counts))
            small.save(draft, format="png", optimize=True)
            if draft.stat().st_size <= LIMIT_BYTES:
                break


def _palette(
    strip: NDArray[np.uint8], frame_colours: int, spectrum_colours: int
) -> NDArray[np.uint8]:
    """(at most 256, 3): colours of text, cues, waveforms and spectrograms, and of the frames."""
    inks = (INK, PALE, ACCENT, SECOND, "black", *COLOURS.values())
    drawn = drawing_palette(inks, spectrum_colours)
    seen = np.array(Image.fromarray(strip).quantize(frame_colours).getpalette(), np.uint8)
    return np.concatenate([drawn, seen.reshape(-1, 3)[:frame_colours]])
