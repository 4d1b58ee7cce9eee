"""ImageBind's trunks for images and audio, with the tensor names of the published checkpoint.

These are two of the six modalities of imagebind_huge; the tensors of the other four are ignored.
The original code is under CC BY-NC-SA: this is an independent implementation of the architecture.
The weights have their own licence.

Dimension letters: B batch, K tokens, W width, E width of the joint space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.attention import Mlp

NORM_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class TrunkShape:
    """Shape of one trunk."""

    width: int
    depth: int  # number of blocks
    heads: int
    joint: int = 1024  # width of the space that all modalities share


VISION_HUGE = TrunkShape(width=1280, depth=32, heads=16)
AUDIO_HUGE = TrunkShape(width=768, depth=12, heads=12)


class _Block(nn.Module):
    def __init__(self, shape: TrunkShape, *, bias_tokens: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(
            shape.width, shape.heads, add_bias_kv=bias_tokens, batch_first=True
        )
        self.norm_1 = nn.LayerNorm(shape.width, eps=NORM_EPS)
        self.mlp = Mlp(shape.width)
        self.norm_2 = nn.LayerNorm(shape.width, eps=NORM_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.norm_2(tokens))


class _Trunk(nn.Module):
    def __init__(self, shape: TrunkShape, *, first_norm: bool, bias_tokens: bool) -> None:
        super().__init__()
        first = nn.LayerNorm(shape.width, eps=NORM_EPS) if first_norm else nn.Identity()
        self.pre_transformer_layer = nn.Sequential(first)
        self.blocks = nn.Sequential(
            *(_Block(shape, bias_tokens=bias_tokens) for _ in range(shape.depth))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.blocks(self.pre_transformer_layer(tokens))


class _Positions(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))


class _Stem(nn.Module):
    """Patch embedding, class token and learned positions."""

    def __init__(self, projection: nn.Module, norm: nn.Module | None, patches: int, width: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        parts = {"proj": projection} if norm is None else {"proj": projection, "norm_layer": norm}
        self.rgbt_stem = nn.ModuleDict(parts)
        self.pos_embedding_helper = _Positions(1 + patches, width)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, W, rows, columns) projected patches to (B, 1 + rows * columns, W)."""
        tokens = patches.flatten(2).transpose(1, 2)
        if "norm_layer" in self.rgbt_stem:
            tokens = self.rgbt_stem["norm_layer"](tokens)
        class_token = self.cls_token.expand(len(tokens), -1, -1)
        return torch.cat([class_token, tokens], 1) + self.pos_embedding_helper.pos_embed


class _Modality(nn.Module):
    """Stem, trunk and head of one modality under their published names."""

    name: str

    def __init__(self, stem: _Stem, trunk: _Trunk, shape: TrunkShape) -> None:
        super().__init__()
        norm = nn.LayerNorm(shape.width, eps=NORM_EPS)
        projection = nn.Linear(shape.width, shape.joint, bias=False)
        head = nn.Sequential(norm, nn.Identity(), projection)  # Identity selects the class token
        self.modality_preprocessors = nn.ModuleDict({self.name: stem})
        self.modality_trunks = nn.ModuleDict({self.name: trunk})
        self.modality_heads = nn.ModuleDict({self.name: head})

    def tokens_of(self, patches: Tensor) -> Tensor:
        """(B, W, rows, columns) patches to (B, 1 + rows * columns, W) normalised tokens."""
        tokens = self.modality_preprocessors[self.name](patches)
        norm = self.get_submodule(f"modality_heads.{self.name}.0")
        return norm(self.modality_trunks[self.name](tokens))

    def embed(self, *inputs: Tensor) -> Tensor:
        """The inputs of `forward` to (B, E) of unit length in the joint space."""
        project = self.get_submodule(f"modality_heads.{self.name}.2")
        return functional.normalize(project(self(*inputs)[:, 0]), dim=-1)


class ImageBindVision(_Modality):
    """Images to a class token and patches of 14 x 14 in two frames, which a single image fills.

    Reference: Girdhar et al., CVPR 2023, imagebind_huge.
    """

    name = "vision"

    def __init__(self, shape: TrunkShape = VISION_HUGE, *, side: int = 224) -> None:
        # Index 0 of the published module pads still images in time and has no tensors
        projection = nn.Sequential(
            nn.Identity(), nn.Conv3d(3, shape.width, (2, 14, 14), stride=(2, 14, 14), bias=False)
        )
        stem = _Stem(projection, None, (side // 14) ** 2, shape.width)
        super().__init__(stem, _Trunk(shape, first_norm=True, bias_tokens=False), shape)
        self.side = side

    def forward(self, pictures: Tensor, following: Tensor | None = None) -> Tensor:
        """Normalised images (B, 3, S, S) to tokens (B, 1 + (S / 14)^2, W).

        `following` are the second images of clips of two; None for single images.
        """
        kernel = self.get_parameter("modality_preprocessors.vision.rgbt_stem.proj.1.weight")
        if following is None:  # for a repeated image, the sum of the kernels of both frames
            return self.tokens_of(functional.conv2d(pictures, kernel.sum(2), stride=14))
        clips = torch.stack([pictures, following], 2)
        return self.tokens_of(functional.conv3d(clips, kernel, stride=(2, 14, 14))[:, :, 0])


class ImageBindAudio(_Modality):
    """Two seconds of audio to tokens: patches of 16 x 16 with a stride of 10 over 128 mel bands.

    Reference: Girdhar et al., CVPR 2023, imagebind_huge.
    """

    name = "audio"

    def __init__(self, shape: TrunkShape = AUDIO_HUGE) -> None:
        projection = nn.Conv2d(1, shape.width, 16, stride=10, bias=False)
        stem = _Stem(projection, nn.LayerNorm(shape.width), 12 * 19, shape.width)
        super().__init__(stem, _Trunk(shape, first_norm=False, bias_tokens=True), shape)

    def forward(self, levels: Tensor) -> Tensor:
        """(B, 128, 204) normalised log-mel to (B, 1 + 12 * 19, W)."""
        projection = self.get_submodule("modality_preprocessors.audio.rgbt_stem.proj")
        return self.tokens_of(projection(levels[:, None]))


def select_modality(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The stem, trunk and head of one modality ("vision" or "audio") of the published tensors."""
    parts = tuple(f"modality_{kind}.{name}." for kind in ("preprocessors", "trunks", "heads"))
    return {key: value for key, value in tensors.items() if key.startswith(parts)}
