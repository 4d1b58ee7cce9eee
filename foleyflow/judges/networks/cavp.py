"""CAVP's video encoder: 512-dimensional features at 4 Hz for Diff-Foley's classifier.

A ResNet-50 with temporal convolutions in its last two stages (SlowOnly). Tensor names are the
published ones; the audio half is left out.

Dimension letters: B batch, C channels, T frames.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

FRAME_RATE_HZ = 4.0
SIDE_PX = 224
MOST_FRAMES = 40  # encoded together, 10 s; the batch of the published script
FEATURES = 512
EXPANSION = 4


class _ConvNorm(nn.Module):
    def __init__(
        self, narrow: int, wide: int, kernel: tuple[int, int, int], *, stride: int = 1
    ) -> None:
        super().__init__()
        time, height, width = kernel
        self.conv = nn.Conv3d(
            narrow,
            wide,
            kernel,
            stride=(1, stride, stride),
            padding=(time // 2, height // 2, width // 2),
            bias=False,
        )
        self.bn = nn.BatchNorm3d(wide)

    def forward(self, maps: Tensor) -> Tensor:
        return self.bn(self.conv(maps))


class _Bottleneck(nn.Module):
    def __init__(self, narrow: int, inner: int, *, stride: int, temporal: bool) -> None:
        super().__init__()
        wide = EXPANSION * inner
        self.conv1 = _ConvNorm(narrow, inner, (3 if temporal else 1, 1, 1))
        self.conv2 = _ConvNorm(inner, inner, (1, 3, 3), stride=stride)
        self.conv3 = _ConvNorm(inner, wide, (1, 1, 1))
        changes = stride != 1 or narrow != wide
        self.downsample = _ConvNorm(narrow, wide, (1, 1, 1), stride=stride) if changes else None

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.conv1(maps))
        inner = functional.relu(self.conv2(inner))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return functional.relu(self.conv3(inner) + shortcut)


class _SlowOnly(nn.Module):
    """(B, 3, T, 224, 224) to (B, C, T)."""

    def __init__(self, width: int, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(3, width, (1, 7, 7), stride=2)
        narrow = width
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            layers = []
            for index in range(count):
                stride = 2 if stage and not index else 1
                layers.append(_Bottleneck(narrow, inner, stride=stride, temporal=stage >= 2))
                narrow = EXPANSION * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, video: Tensor) -> Tensor:
        maps = functional.relu(self.conv1(video))
        maps = functional.max_pool3d(maps, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        for stage in range(1, 5):
            maps = self.get_submodule(f"layer{stage}")(maps)
        return maps.mean((3, 4))


class Cavp(nn.Module):
    """CAVP's video half without pooling over time; other shapes than the default are for tests.

    Reference: Luo et al., NeurIPS 2023 (Diff-Foley); Feichtenhofer et al., ICCV 2019 (SlowOnly).
    """

    def __init__(
        self,
        width: int = 64,
        blocks: tuple[int, int, int, int] = (3, 4, 6, 3),
        features: int = FEATURES,
    ) -> None:
        super().__init__()
        self.video_encoder = _SlowOnly(width, blocks)
        self.video_project_head = nn.Linear(width * 8 * EXPANSION, features)

    def forward(self, pixels: Tensor) -> Tensor:
        """Frames (T, 3, 224, 224) uint8 at 4 Hz, T at most 40, to (T, 512) of unit length."""
        video = pixels.float()[None].transpose(1, 2) / 255
        features = self.video_project_head(self.video_encoder(video).transpose(1, 2))[0]
        return functional.normalize(features, dim=-1)
