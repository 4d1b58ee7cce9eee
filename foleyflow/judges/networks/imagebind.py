"""ImageBind's eye and ear side by side: where a clip and a sound lie in their common space.

The trunks are those of `encoders.imagebind`; here they stand under the names of the one published
file, and see and hear clips as av-benchmark shows them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.encoders.catalogue import CLIP_PICTURES, IMAGEBIND_FILE, IMAGEBIND_SOUND
from foleyflow.encoders.frozen import FrozenSound
from foleyflow.encoders.imagebind import ImageBindAudio, ImageBindVision

PUBLISHED_FILE = IMAGEBIND_FILE
RATE_HZ = 16_000
FRAME_RATE_HZ = 0.5
SOUND_CLIP_S, SOUND_CLIPS = 2.0, 3
SHORTEST_S = 4.0  # two pictures
OTHER_MODALITIES = ("text", "depth", "thermal", "imu")


class ImageBind(nn.Module):
    """The two halves of imagebind_huge that pictures and sound need.

    Source: Girdhar et al., CVPR 2023.
    """

    def __init__(
        self, vision: ImageBindVision | None = None, audio: ImageBindAudio | None = None
    ) -> None:
        """Builds the published shapes; other ones are for tests."""
        super().__init__()
        self.side = (eye := vision or ImageBindVision()).side  # of the squares, pixels
        ear = audio or ImageBindAudio()
        # Kept in tuples, so that each tensor has its published name alone.
        self._halves, self._hearing = (eye, ear), (FrozenSound(ear, IMAGEBIND_SOUND),)
        for kind in ("preprocessors", "trunks", "heads"):
            name = f"modality_{kind}"
            halves = {half.name: getattr(half, name)[half.name] for half in (eye, ear)}
            setattr(self, name, nn.ModuleDict(halves))

    def watch(self, pixels: Tensor) -> Tensor:
        """Where a film lies.

        Args:
            pixels: (T, 3, H, W) uint8 RGB at 0.5 Hz, T at least 2, the shorter side `side`.

        Returns:
            (E,): the mean over pairs of neighbouring pictures, each seen in three squares, of
            embeddings of length one.

        Raises:
            ValueError: fewer than two pictures.
        """
        if len(pixels) < 2:
            raise ValueError(f"{len(pixels)} pictures at {FRAME_RATE_HZ} Hz, ImageBind needs 2")
        mean, deviation = (
            torch.tensor(values)[:, None, None]
            for values in (CLIP_PICTURES.mean, CLIP_PICTURES.deviation)
        )
        pictures = (pixels / 255 - mean) / deviation
        eye = self._halves[0]
        views = [
            eye.embed(square[:-1], square[1:]) for square in three_squares(pictures, self.side)
        ]
        return torch.stack(views).mean((0, 1))

    def listen(self, sound: Tensor) -> Tensor:
        """Where a sound lies.

        Args:
            sound: (N,) float32 at 16 kHz, N at least 32,000.

        Returns:
            (E,): the mean over three stretches of 2 s, evenly spread, of embeddings of length one.

        Raises:
            ValueError: less than 2 s.
        """
        count = round(SOUND_CLIP_S * RATE_HZ)
        if len(sound) < count:
            raise ValueError(f"{len(sound)} samples at {RATE_HZ} Hz, ImageBind needs {count}")
        starts = torch.linspace(0, len(sound) - count, SOUND_CLIPS).long().tolist()
        stretches = torch.stack([sound[start : start + count] for start in starts])
        levels = self._hearing[0].levels(stretches, frames=IMAGEBIND_SOUND.frames).transpose(1, 2)
        return self._halves[1].embed(levels).mean(0)

    def compare(self, seen: Tensor, heard: Tensor) -> float:
        """Cosine of what `watch` and what `listen` gave, -1..1."""
        return float(functional.cosine_similarity(seen, heard, dim=0))


def three_squares(pictures: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both ends and the middle of pictures along their longer side.

    Args:
        pictures: (..., H, W), the shorter side being `side`.
        side: of the squares.

    Returns:
        three (..., side, side): left (or upper), middle, right (or lower).

    Source: PyTorchVideo's uniform_crop, as ImageBind's SpatialCrop uses it.
    """
    height, width = pictures.shape[-2:]
    along = -1 if width >= height else -2
    longest = max(height, width)
    starts = (0, -(-(longest - side) // 2), longest - side)
    first, middle, last = (pictures.narrow(along, start, side) for start in starts)
    return first, middle, last
