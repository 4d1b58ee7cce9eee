"""Synchformer: the offset between a sound and its video, from -2 to 2 s in steps of 0.2 s.

Segments of 0.64 s are encoded by two transformers: the video's has divided attention, the sound's
is an audio spectrogram transformer (AST). A third compares fourteen segments of both. Tensor
names are the published ones; the two-dimensional patch embedding of the published file is never
used and is left out.

Dimension letters: B batch, S segments, D width, F and T patches in frequency and time, G patches
of a frame.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.attention import FeedForward, Mlp
from foleyflow.judges.networks.spectra import centred_power
from foleyflow.judges.networks.transformer import QkvAttention, attend
from foleyflow.spectrogram import mel_filters

RATE_HZ = 16_000
FRAME_RATE_HZ = 25.0
END_COPIES = 3  # of the last frame at most, in av-benchmark's video_dataset.py
SEGMENT_SAMPLES, SEGMENT_FRAMES = 10_240, 16  # the step between segments is half of each
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 1024
BANDS, SPECTROGRAM_FRAMES = 128, 66
POWER_OFFSET = 1e-6
LEVEL_MEAN, LEVEL_SCALE = -4.2677393, 2 * 4.5689974
COMPARED_SEGMENTS = 14
LARGEST_OFFSET_S = 2.0
PATCH = 16  # side of the patches of frames and spectrograms
STRIDE = 10  # of the patches of spectrograms
PATCH_FRAMES = 2  # of the patches of videos

_cached_mel_filters = functools.cache(mel_filters)


@dataclass(frozen=True, kw_only=True)
class SynchformerConfig:
    """Shape of the transformers; the defaults are the published shape, others are for tests."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    compare_depth: int = 3
    compare_heads: int = 8
    side: int = 224  # of the frames, pixels
    classes: int = 21

    @property
    def grid(self) -> int:
        """Number of patches of a frame."""
        return (self.side // PATCH) ** 2

    @property
    def bands(self) -> int:
        """Number of patches of a segment's spectrogram in frequency."""
        return (BANDS - PATCH) // STRIDE + 1

    @property
    def steps(self) -> int:
        """Number of patches of a segment's spectrogram in time."""
        return (SPECTROGRAM_FRAMES - PATCH) // STRIDE + 1


class _DividedAttention(QkvAttention):
    """Attention over time or over a frame; the class token attends to all tokens."""

    def __init__(self, config: SynchformerConfig, *, over_time: bool) -> None:
        super().__init__(config.width, config.heads)
        self.patches = config.grid
        self.over_time = over_time

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 1 + T G, D) with the G patches of a frame next to each other, to the same shape."""
        parts = self.split(tokens)
        query, key, value = parts
        class_output = functional.scaled_dot_product_attention(query[:, :, :1], key, value)

        # Move the attended axis of (B, heads, T, G, D / heads) to the last place but one
        axis = 2 if self.over_time else 3
        grids = [part[:, :, 1:].unflatten(2, (-1, self.patches)) for part in parts]
        grids = [grid.movedim(axis, -2) for grid in grids]

        # Keys and values include those of the class token
        class_key, class_value = (
            part[:, :, None, :1].expand(-1, -1, grids[0].shape[2], -1, -1) for part in parts[1:]
        )
        mixed = functional.scaled_dot_product_attention(
            grids[0], torch.cat([class_key, grids[1]], -2), torch.cat([class_value, grids[2]], -2)
        )
        patch_outputs = mixed.movedim(-2, axis).flatten(2, 3)
        return self.merge(torch.cat([class_output, patch_outputs], 2))


class _DividedBlock(nn.Module):
    """Attention over time, then over each frame, then an MLP."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width, eps=1e-6) for _ in range(3))
        self.attn = _DividedAttention(config, over_time=False)
        self.timeattn = _DividedAttention(config, over_time=True)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.timeattn(self.norm3(tokens))
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _Pool(nn.TransformerEncoderLayer):
    """Pools tokens into a class token by one transformer layer."""

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

    def pool(self, tokens: Tensor) -> Tensor:
        """(B, S, N, D) to (B, S, D)."""
        flat = tokens.flatten(0, 1)
        with_token = torch.cat([self.cls_token.expand(len(flat), -1, -1), flat], 1)
        return self(with_token)[:, 0].unflatten(0, tokens.shape[:2])


class _VideoEncoder(nn.Module):
    """Motionformer with divided attention, pooled to one token per two frames."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width, kernel = config.width, (PATCH_FRAMES, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid + 1, width))
        self.temp_embed = nn.Parameter(torch.zeros(1, SEGMENT_FRAMES // PATCH_FRAMES, width))
        self.patch_embed_3d = nn.ModuleDict({"proj": nn.Conv3d(3, width, kernel, stride=kernel)})
        self.blocks = nn.ModuleList(_DividedBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.spatial_attn_agg = _Pool(width, config.heads)

    def forward(self, segments: Tensor) -> Tensor:
        """(B, 3, 16, side, side) from -1 to 1, to (B, 8, D)."""
        patches = self.patch_embed_3d["proj"](segments).flatten(3).permute(0, 2, 3, 1)
        placed = patches + self.pos_embed[:, None, 1:] + self.temp_embed[:, :, None]  # (B, T, G, D)
        class_token = (self.cls_token + self.pos_embed[:, :1]).expand(len(segments), -1, -1)
        tokens = torch.cat([class_token, placed.flatten(1, 2)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.spatial_attn_agg.pool(self.norm(tokens[:, 1:]).unflatten(1, placed.shape[1:3]))


class _AstAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict(
            {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        )
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (layer(tokens) for layer in self.attention.values())
        return self.output["dense"](attend(query, key, value, self.heads))


class _AstLayer(nn.Module):
    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        self.attention = _AstAttention(width, config.heads)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        self.output = nn.ModuleDict({"dense": nn.Linear(4 * width, width)})
        self.layernorm_before = nn.LayerNorm(width, eps=1e-12)
        self.layernorm_after = nn.LayerNorm(width, eps=1e-12)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.layernorm_before(tokens))
        inner = functional.gelu(self.intermediate["dense"](self.layernorm_after(tokens)))
        return tokens + self.output["dense"](inner)


class _AstEmbeddings(nn.Module):
    """(B, 128, 66) to (B, 2 + F T, D)."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(
            torch.zeros(1, config.bands * config.steps + 2, width)
        )
        projection = nn.Conv2d(1, width, PATCH, stride=STRIDE)
        self.patch_embeddings = nn.ModuleDict({"projection": projection})

    def forward(self, spectrograms: Tensor) -> Tensor:
        patches = self.patch_embeddings["projection"](spectrograms[:, None]).flatten(2)
        heads = [
            token.expand(len(patches), -1, -1)
            for token in (self.cls_token, self.distillation_token)
        ]
        return torch.cat([*heads, patches.transpose(1, 2)], 1) + self.position_embeddings


class _Ast(nn.Module):
    """The audio spectrogram transformer, (B, 128, 66) to (B, F T, D)."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        self.embeddings = _AstEmbeddings(config)
        layers = nn.Sequential(*(_AstLayer(config) for _ in range(config.depth)))
        self.encoder = nn.ModuleDict({"layer": layers})
        self.layernorm = nn.LayerNorm(config.width, eps=1e-12)

    def forward(self, spectrograms: Tensor) -> Tensor:
        tokens = self.encoder["layer"](self.embeddings(spectrograms))
        return self.layernorm(tokens)[:, 2:]


class _AudioEncoder(nn.Module):
    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        self.ast = _Ast(config)
        self.freq_attn_agg = _Pool(config.width, config.heads)
        self.grid = (config.bands, config.steps)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """(B, 128, 66) to (B, 6, D)."""
        return self.freq_attn_agg.pool(
            self.ast(spectrograms).unflatten(1, self.grid).transpose(1, 2)
        )


class _CompareAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.key, self.query, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.proj(
            attend(self.query(tokens), self.key(tokens), self.value(tokens), self.heads)
        )


class _CompareBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _CompareAttention(width, heads)
        self.mlp = FeedForward(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.ln1(tokens))
        return tokens + self.mlp(self.ln2(tokens))


class _Comparison(nn.Module):
    """A transformer over offset, video, separator and audio tokens; the first gives the offset."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        width = config.width
        per_segment = SEGMENT_FRAMES // PATCH_FRAMES + config.steps
        positions = torch.zeros(1, 2 + COMPARED_SEGMENTS * per_segment, width)
        self.vis_in_lnorm, self.aud_in_lnorm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.OFF_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.MOD_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_emb_cfg = nn.ParameterDict({"pos_emb": nn.Parameter(positions)})
        self.blocks = nn.Sequential(
            *(_CompareBlock(width, config.compare_heads) for _ in range(config.compare_depth))
        )
        self.ln_f = nn.LayerNorm(width)
        self.off_head = nn.Linear(width, config.classes)

    def forward(self, video: Tensor, sound: Tensor) -> Tensor:
        offset, separator = (
            token.expand(len(video), -1, -1) for token in (self.OFF_tok, self.MOD_tok)
        )
        parts = [offset, self.vis_in_lnorm(video), separator, self.aud_in_lnorm(sound)]
        tokens = torch.cat(parts, 1) + self.pos_emb_cfg["pos_emb"]
        return self.off_head(self.ln_f(self.blocks(tokens))[:, 0])


class Synchformer(nn.Module):
    """Encoders of video and sound, and the transformer that compares them.

    Reference: Iashin et al., ICASSP 2024; v-iashin/Synchformer, model 24-01-04T16-39-21.
    """

    def __init__(self, config: SynchformerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SynchformerConfig()
        self.vfeat_extractor = _VideoEncoder(config)
        self.afeat_extractor = _AudioEncoder(config)
        self.vproj = nn.Linear(config.width, config.width)
        self.aproj = nn.Linear(config.width, config.width)
        self.transformer = _Comparison(config)

    @property
    def offsets_s(self) -> Tensor:
        """(classes,) offsets of the logits, seconds."""
        return torch.linspace(-LARGEST_OFFSET_S, LARGEST_OFFSET_S, self.config.classes)

    def spectrogram(self, segments: Tensor) -> Tensor:
        """Normalised log-mel power of segments, (B, 10240) to (B, 128, 66).

        The last frame is zero before the normalisation.

        Reference: av-benchmark with torchaudio's MelSpectrogram (power, HTK mel, reflected ends).
        """
        window = torch.hann_window(WINDOW_SAMPLES, device=segments.device)
        power = centred_power(segments, window, fft_samples=FFT_SAMPLES, hop_samples=HOP_SAMPLES)
        filters = _cached_mel_filters(
            bands=BANDS, window_samples=FFT_SAMPLES, rate_hz=RATE_HZ, low_hz=0.0, high_hz=8000.0
        )
        levels = torch.log(filters.to(power.device).T @ power + POWER_OFFSET)
        padded = functional.pad(levels, (0, SPECTROGRAM_FRAMES - levels.shape[-1]))
        return (padded - LEVEL_MEAN) / LEVEL_SCALE

    def encode_video(self, pixels: Tensor) -> Tensor:
        """Features of the segments of a video, (N, 3, side, side) uint8 at 25 Hz to (S, 8, D).

        S is (N - 16) // 8 + 1. Segments are encoded one by one, to limit memory.
        """
        segments = pixels.unfold(0, SEGMENT_FRAMES, SEGMENT_FRAMES // 2)  # (S, 3, side, side, 16)
        return torch.cat(
            [
                self.vfeat_extractor(segment.movedim(-1, 1)[None].float() / 127.5 - 1.0)
                for segment in segments
            ]
        )

    def encode_audio(self, sound: Tensor) -> Tensor:
        """Features of the segments of a sound, (N,) float32 at 16 kHz to (S, 6, D)."""
        segments = sound.unfold(0, SEGMENT_SAMPLES, SEGMENT_SAMPLES // 2)
        return self.afeat_extractor(self.spectrogram(segments))

    def compare(self, video: Tensor, sound: Tensor) -> Tensor:
        """(classes,) logits of `offsets_s` from features of fourteen segments of both."""
        tokens = self.vproj(video).flatten(0, 1), self.aproj(sound).flatten(0, 1)
        return self.transformer(tokens[0][None], tokens[1][None])[0]
