"""Synchformer: how far a sound is out of time with its video, in steps of 0.2 s from -2 to 2 s.

A vision transformer with divided attention looks at segments of 0.64 s, one like AST listens to
them, and a third one compares fourteen segments of both. Tensor names are those of the published
file, less the two-dimensional patch embedding, which is in the file and never used.

Dimension letters: B batch, S segments, D width, F and T places in frequency and time, G grid
places of a picture.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.spectrogram import mel_filters

RATE_HZ = 16_000
FRAME_RATE_HZ = 25.0
SEGMENT_SAMPLES, SEGMENT_FRAMES = 10_240, 16  # half of each is the step to the next
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 1024
BANDS, SPECTROGRAM_FRAMES = 128, 66
POWER_OFFSET = 1e-6
LEVEL_MEAN, LEVEL_SCALE = -4.2677393, 2 * 4.5689974
COMPARED_SEGMENTS = 14
LARGEST_OFFSET_S = 2.0
PATCH, STRIDE, PATCH_FRAMES = 16, 10, 2  # of pictures and spectrograms; of spectrograms; of videos


@dataclass(frozen=True, kw_only=True)
class SynchformerConfig:
    """Shape of the three transformers; the defaults are the published one's, others for tests.

    Attributes:
        width: of each token.
        depth: blocks of each of the two that look and listen.
        heads: of their attention.
        compare_depth, compare_heads: of the one that compares.
        side: of the pictures, pixels.
        classes: offsets on the grid.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    compare_depth: int = 3
    compare_heads: int = 8
    side: int = 224
    classes: int = 21

    @property
    def grid(self) -> int:
        """Places of a picture."""
        return (self.side // PATCH) ** 2

    @property
    def bands(self) -> int:
        """Places of a segment's spectrogram in frequency."""
        return (BANDS - PATCH) // STRIDE + 1

    @property
    def steps(self) -> int:
        """Places of a segment's spectrogram in time."""
        return (SPECTROGRAM_FRAMES - PATCH) // STRIDE + 1


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(tokens)))


class _DividedAttention(nn.Module):
    """Each place attends to some others and to the class token; that one attends to all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, places: int, *, over_time: bool) -> Tensor:
        """(B, 1 + T places, D), with places in the inner order, to the same."""
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        first = functional.scaled_dot_product_attention(query[:, :, :1], key, value)
        axis = 2 if over_time else 3  # of (B, heads, T, places, D / heads)
        grids = [part[:, :, 1:].unflatten(2, (-1, places)) for part in parts]
        rows = [grid.movedim(axis, -2) for grid in grids]  # what attends to itself comes last
        lone = [part[:, :, None, :1].expand(-1, -1, rows[0].shape[2], -1, -1) for part in parts]
        others = (
            torch.cat([alone, row], -2) for alone, row in zip(lone[1:], rows[1:], strict=True)
        )
        mixed = functional.scaled_dot_product_attention(rows[0], *others)
        rest = mixed.movedim(-2, axis).flatten(2, 3)
        return self.proj(torch.cat([first, rest], 2).transpose(1, 2).flatten(2))


class _DividedBlock(nn.Module):
    """Over time, over places, then a perceptron."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.attn = _DividedAttention(width, config.heads)
        self.timeattn = _DividedAttention(width, config.heads)
        self.mlp = _Mlp(width)
        self.places = config.grid

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.timeattn(self.norm3(tokens), self.places, over_time=True)
        tokens = tokens + self.attn(self.norm1(tokens), self.places, over_time=False)
        return tokens + self.mlp(self.norm2(tokens))


class _Gather(nn.TransformerEncoderLayer):
    """What a class token gathers from a row of tokens, (B, N, D) to (B, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(
            width,
            heads,
            dim_feedforward=4 * width,
            dropout=0.0,
            activation=functional.gelu,
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))

    def gather(self, tokens: Tensor) -> Tensor:
        with_token = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1)
        return self(with_token)[:, 0]


class _Projection(nn.Module):
    """A convolution under the name that its file has for it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.proj = layer


class _Vision(nn.Module):
    """Motionformer with divided attention, then one token per two frames."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width, kernel = config.width, (PATCH_FRAMES, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid + 1, width))
        self.temp_embed = nn.Parameter(torch.zeros(1, SEGMENT_FRAMES // PATCH_FRAMES, width))
        self.patch_embed_3d = _Projection(nn.Conv3d(3, width, kernel, stride=kernel))
        self.blocks = nn.ModuleList(_DividedBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.spatial_attn_agg = _Gather(width, config.heads)

    def forward(self, segments: Tensor) -> Tensor:
        """(B, 3, 16, side, side) from -1 to 1, to (B, 8, D)."""
        patches = self.patch_embed_3d.proj(segments).flatten(3).permute(0, 2, 3, 1)  # (B, T, G, D)
        placed = patches + self.pos_embed[:, None, 1:] + self.temp_embed[:, :, None]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(segments), -1, -1)
        tokens = torch.cat([first, placed.flatten(1, 2)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        steps = self.norm(tokens[:, 1:]).unflatten(1, placed.shape[1:3])
        return self.spatial_attn_agg.gather(steps.flatten(0, 1)).unflatten(0, steps.shape[:2])


class _SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))


class _Dense(nn.Module):
    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.dense = nn.Linear(narrow, wide)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = _SelfAttention(width)
        self.output = _Dense(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        inner = self.attention
        return self.output.dense(
            attended(inner.query(tokens), inner.key(tokens), inner.value(tokens), self.heads)
        )


class _Layer(nn.Module):
    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        self.attention = _Attention(width, config.heads)
        self.intermediate = _Dense(width, 4 * width)
        self.output = _Dense(4 * width, width)
        self.layernorm_before = nn.LayerNorm(width, eps=1e-12)
        self.layernorm_after = nn.LayerNorm(width, eps=1e-12)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.layernorm_before(tokens))
        inner = functional.gelu(self.intermediate.dense(self.layernorm_after(tokens)))
        return tokens + self.output.dense(inner)


class _PatchEmbeddings(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(1, width, PATCH, stride=STRIDE)


class _Embeddings(nn.Module):
    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(
            torch.zeros(1, config.bands * config.steps + 2, width)
        )
        self.patch_embeddings = _PatchEmbeddings(width)


class _Encoder(nn.Module):
    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.depth))


class _Ast(nn.Module):
    """The audio spectrogram transformer, (B, 128, 66) to (B, F T, D)."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.layernorm = nn.LayerNorm(config.width, eps=1e-12)

    def forward(self, spectrograms: Tensor) -> Tensor:
        inputs = self.embeddings
        patches = inputs.patch_embeddings.projection(spectrograms[:, None]).flatten(2)
        heads = [
            token.expand(len(patches), -1, -1)
            for token in (inputs.cls_token, inputs.distillation_token)
        ]
        tokens = torch.cat([*heads, patches.transpose(1, 2)], 1) + inputs.position_embeddings
        for layer in self.encoder.layer:
            tokens = layer(tokens)
        return self.layernorm(tokens)[:, 2:]


class _Audio(nn.Module):
    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        self.ast = _Ast(config)
        self.freq_attn_agg = _Gather(config.width, config.heads)
        self.places = (config.bands, config.steps)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """(B, 128, 66) to (B, 6, D)."""
        steps = self.ast(spectrograms).unflatten(1, self.places).transpose(1, 2)  # (B, T, F, D)
        return self.freq_attn_agg.gather(steps.flatten(0, 1)).unflatten(0, steps.shape[:2])


class _CompareAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.key, self.query, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.proj(
            attended(self.query(tokens), self.key(tokens), self.value(tokens), self.heads)
        )


class _CompareBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _CompareAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.ln1(tokens))
        return tokens + self.mlp(self.ln2(tokens))


class _Positions(nn.Module):
    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.pos_emb = nn.Parameter(torch.zeros(1, count, width))


class _Compare(nn.Module):
    """Both rows of tokens between two of its own; the first one is asked for the offset."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        per_segment = SEGMENT_FRAMES // PATCH_FRAMES + config.steps
        self.vis_in_lnorm, self.aud_in_lnorm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.OFF_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.MOD_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_emb_cfg = _Positions(2 + COMPARED_SEGMENTS * per_segment, width)
        self.blocks = nn.Sequential(
            *(_CompareBlock(width, config.compare_heads) for _ in range(config.compare_depth))
        )
        self.ln_f = nn.LayerNorm(width)
        self.off_head = nn.Linear(width, config.classes)

    def forward(self, video: Tensor, sound: Tensor) -> Tensor:
        own = [token.expand(len(video), -1, -1) for token in (self.OFF_tok, self.MOD_tok)]
        rows = [own[0], self.vis_in_lnorm(video), own[1], self.aud_in_lnorm(sound)]
        tokens = torch.cat(rows, 1) + self.pos_emb_cfg.pos_emb
        return self.off_head(self.ln_f(self.blocks(tokens))[:, 0])


class Synchformer(nn.Module):
    """The three of them.

    Source: Iashin et al., ICASSP 2024; layout of v-iashin/Synchformer, model 24-01-04T16-39-21.
    """

    def __init__(self, config: SynchformerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SynchformerConfig()
        self.vfeat_extractor = _Vision(config)
        self.afeat_extractor = _Audio(config)
        self.vproj = nn.Linear(config.width, config.width)
        self.aproj = nn.Linear(config.width, config.width)
        self.transformer = _Compare(config)

    @property
    def offsets_s(self) -> Tensor:
        """(classes,) seconds that the logits stand for."""
        return torch.linspace(-LARGEST_OFFSET_S, LARGEST_OFFSET_S, self.config.classes)

    def spectrogram(self, segments: Tensor) -> Tensor:
        """Normalised log-mel power of segments of sound.

        Args:
            segments: (B, 10240) float32 at 16 kHz.

        Returns:
            (B, 128, 66); the last frame is of zeros before it is normalised.

        Source: as av-benchmark, by torchaudio's MelSpectrogram: power, HTK mel, mirrored ends.
        """
        spectrum = torch.stft(
            segments,
            FFT_SAMPLES,
            hop_length=HOP_SAMPLES,
            win_length=WINDOW_SAMPLES,
            window=torch.hann_window(WINDOW_SAMPLES, device=segments.device),
            center=True,
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        levels = torch.log(_filters().to(power.device).T @ power + POWER_OFFSET)
        filled = functional.pad(levels, (0, SPECTROGRAM_FRAMES - levels.shape[-1]))
        return (filled - LEVEL_MEAN) / LEVEL_SCALE

    def watch(self, pixels: Tensor) -> Tensor:
        """Features of the segments of a video, one after the other: each is much to look at.

        Args:
            pixels: (N, 3, side, side) uint8 at 25 Hz.

        Returns:
            (S, 8, D), S = (N - 16) // 8 + 1.
        """
        runs = pixels.unfold(0, SEGMENT_FRAMES, SEGMENT_FRAMES // 2)  # (S, 3, side, side, 16)
        return torch.cat(
            [self.vfeat_extractor(run.movedim(-1, 1)[None].float() / 127.5 - 1.0) for run in runs]
        )

    def listen(self, sound: Tensor) -> Tensor:
        """Features of the segments of a sound.

        Args:
            sound: (N,) float32 at 16 kHz.

        Returns:
            (S, 6, D), S = (N - 10240) // 5120 + 1.
        """
        segments = sound.unfold(0, SEGMENT_SAMPLES, SEGMENT_SAMPLES // 2)
        return self.afeat_extractor(self.spectrogram(segments))

    def compare(self, video: Tensor, sound: Tensor) -> Tensor:
        """Logits of `offsets_s` for fourteen segments of both.

        Args:
            video: (14, 8, D) of `watch`.
            sound: (14, 6, D) of `listen`.

        Returns:
            (classes,).
        """
        rows = self.vproj(video).flatten(0, 1), self.aproj(sound).flatten(0, 1)
        return self.transformer(rows[0][None], rows[1][None])[0]


@functools.cache
def _filters() -> Tensor:
    return mel_filters(
        bands=BANDS, window_samples=FFT_SAMPLES, rate_hz=RATE_HZ, low_hz=0.0, high_hz=8000.0
    )


def attended(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention of many heads without a mask.

    Args:
        query, key, value: (B, N, D).
        heads: a divisor of D.

    Returns:
        (B, N, D).

    Source: Vaswani et al. 2017, equation 1.
    """
    parts = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
    return functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
