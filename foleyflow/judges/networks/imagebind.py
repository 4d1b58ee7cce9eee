"""ImageBind's vision and audio halves: embeddings of videos and sounds in one joint space.

The trunks are those of `encoders.imagebind`, here with the tensor names of the published file.
Videos and sounds are sampled as in av-benchmark.
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
END_COPIES = 1  # of the last frame, in av-benchmark's video_dataset.py
SOUND_CLIP_S, SOUND_CLIPS = 2.0, 3
SHORTEST_S = 4.0  # two frames
OTHER_MODALITIES = ("text", "depth", "thermal", "imu")


class ImageBind(nn.Module):
    """The vision and audio halves of imagebind_huge; arguments of other shapes are for tests.

    Reference: Girdhar et al., CVPR 2023.
    """

    def __init__(
        self, vision: ImageBindVision | None = None, audio: ImageBindAudio | None = None
    ) -> None:
        super().__init__()
        vision, audio = vision or ImageBindVision(), audio or ImageBindAudio()
        self.side = vision.side  # of the square crops, pixels
        # In tuples, so that no tensor has a second name
        self._halves, self._front_end = (vision, audio), (FrozenSound(audio, IMAGEBIND_SOUND),)
        for kind in ("preprocessors", "trunks", "heads"):
            name = f"modality_{kind}"
            halves = {half.name: getattr(half, name)[half.name] for half in (vision, audio)}
            setattr(self, name, nn.ModuleDict(halves))

    def encode_video(self, pixels: Tensor) -> Tensor:
        """Mean unit embedding (E,) over pairs of consecutive frames and three square crops of each.

        The frames are (T, 3, H, W) uint8 RGB at 0.5 Hz, T at least 2, the shorter side `side`.
        """
        if len(pixels) < 2:
            raise ValueError(f"{len(pixels)} frames at {FRAME_RATE_HZ} Hz, ImageBind needs 2")
        mean, deviation = (
            torch.tensor(values, device=pixels.device)[:, None, None]
            for values in (CLIP_PICTURES.mean, CLIP_PICTURES.deviation)
        )
        frames = (pixels / 255 - mean) / deviation
        vision = self._halves[0]
        views = [vision.embed(crop[:-1], crop[1:]) for crop in three_crops(frames, self.side)]
        return torch.stack(views).mean((0, 1))

    def encode_audio(self, sound: Tensor) -> Tensor:
        """Mean unit embedding (E,) over three evenly spaced excerpts of 2 s.

        The sound is (N,) float32 at 16 kHz, N at least 32,000.
        """
        count = round(SOUND_CLIP_S * RATE_HZ)
        if len(sound) < count:
            raise ValueError(f"{len(sound)} samples at {RATE_HZ} Hz, ImageBind needs {count}")
        starts = torch.linspace(0, len(sound) - count, SOUND_CLIPS).long().tolist()
        excerpts = torch.stack([sound[start : start + count] for start in starts])
        front_end = self._front_end[0].levels.to(sound.device)  # no part of the published file
        levels = front_end(excerpts, frames=IMAGEBIND_SOUND.frames)
        return self._halves[1].embed(levels.transpose(1, 2)).mean(0)

    def compare(self, video: Tensor, sound: Tensor) -> float:
        """Cosine similarity of the results of `encode_video` and `encode_audio`, -1..1."""
        return float(functional.cosine_similarity(video, sound, dim=0))


def three_crops(frames: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Square crops (..., side, side) of frames at the start, middle and end of their longer side.

    The shorter side of the frames, (..., H, W), is `side`.

    Reference: PyTorchVideo's uniform_crop, as ImageBind's SpatialCrop uses it.
    """
    height, width = frames.shape[-2:]
    axis = -1 if width >= height else -2
    longest = max(height, width)
    starts = (0, -(-(longest - side) // 2), longest - side)
    first, middle, last = (frames.narrow(axis, start, side) for start in starts)
    return first, middle, last
