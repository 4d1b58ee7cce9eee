"""CAVP's eye: 512 numbers for each of four frames a second, which Diff-Foley's classifier reads.

A ResNet-50 that sees time in its last two stages (SlowOnly). Tensor names are those of the
published file, of which only the video half is needed.

Dimension letters: B batch, C channels, T frames.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

FRAME_RATE_HZ = 4.0
SIDE_PX = 224
MOST_FRAMES = 40  # looked at together, 10 s; the published script's batch
FEATURES = 512
EXPANSION = 4


class _ConvNorm(nn.Module):
    """A convolution and its batch norm."""

    def __init__(
        self,
        narrow: int,
        wide: int,
        kernel: tuple[int, int, int],
        *,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            narrow,
            wide,
            kernel,
            stride=(1, stride, stride),
            padding=tuple(size // 2 for size in kernel),
            bias=False,
        )
        self.bn = nn.BatchNorm3d(wide)

    def forward(self, maps: Tensor) -> Tensor:
        return self.bn(self.conv(maps))


class _Bottleneck(nn.Module):
    def __init__(self, narrow: int, inner: int, *, stride: int, over_time: bool) -> None:
        super().__init__()
        wide = EXPANSION * inner
        self.conv1 = _ConvNorm(narrow, inner, (3 if over_time else 1, 1, 1))
        self.conv2 = _ConvNorm(inner, inner, (1, 3, 3), stride=stride)
        self.conv3 = _ConvNorm(inner, wide, (1, 1, 1))
        changes = stride != 1 or narrow != wide
        self.downsample = _ConvNorm(narrow, wide, (1, 1, 1), stride=stride) if changes else None

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.conv1(maps))
        inner = functional.relu(self.conv2(inner))
        own = maps if self.downsample is None else self.downsample(maps)
        return functional.relu(self.conv3(inner) + own)


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
                layers.append(_Bottleneck(narrow, inner, stride=stride, over_time=stage >= 2))
                narrow = EXPANSION * inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, video: Tensor) -> Tensor:
        maps = functional.relu(self.conv1(video))
        maps = functional.max_pool3d(maps, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return maps.mean((3, 4))


class Cavp(nn.Module):
    """The video half of CAVP, before its pooling over time.

    Source: Luo et al., NeurIPS 2023 (Diff-Foley); Feichtenhofer et al., ICCV 2019 (SlowOnly).
    """

    def __init__(
        self,
        width: int = 64,
        blocks: tuple[int, int, int, int] = (3, 4, 6, 3),
        features: int = FEATURES,
    ) -> None:
        """Builds the layers; the defaults are the published ones, others are for tests."""
        super().__init__()
        self.video_encoder = _SlowOnly(width, blocks)
        self.video_project_head = nn.Linear(width * 8 * EXPANSION, features)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of frames.

        Args:
            pixels: (T, 3, 224, 224) uint8 at 4 Hz, squashed to squares, at most 40 at once.

        Returns:
            (T, 512) of length one.
        """
        video = pixels.float()[None].transpose(1, 2) / 255
        features = self.video_project_head(self.video_encoder(video).transpose(1, 2))[0]
        return functional.normalize(features, dim=-1)
