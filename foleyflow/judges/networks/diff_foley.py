"""Diff-Foley's alignment classifier: the probability that a spectrogram belongs to CAVP features.

The encoder of an image autoencoder turns the mel spectrogram into a small picture of latents; the
first half of a diffusion network reads it beside the features, and one number comes out. Tensor
names are those of the published file, less what only training needs.

Dimension letters: B batch, C channels, H mel rows, W time columns, L video features.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.judges.networks.slaney_mel import slaney_filters

RATE_HZ = 16_000
FFT_SAMPLES, HOP_SAMPLES = 1024, 256
BANDS, LOWEST_HZ, HIGHEST_HZ = 128, 125.0, 7600.0
MAGNITUDE_FLOOR = 1e-5
SPECTROGRAM_FRAMES, VIDEO_FEATURES = 512, 32  # 8.192 s; what 4 Hz gives in it, rounded down
SHORTEST_S = SPECTROGRAM_FRAMES * HOP_SAMPLES / RATE_HZ
LATENT_SCALE = 0.18215
LOG_VARIANCE_RANGE = (-30.0, 20.0)
GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class DiffFoleyConfig:
    """Shape of the networks; the defaults are the published ones, others are for tests.

    Attributes:
        coder_width: channels of the image encoder before it widens.
        coder_widths: factors of it, one per halving and one more.
        coder_blocks: blocks at each width.
        latents: channels of the latents.
        width: channels of the classifier before it widens.
        widths: factors of it, likewise.
        heads: of attention.
        features: of the video.
        most_features: that there are positions for.
    """

    coder_width: int = 128
    coder_widths: tuple[int, ...] = (1, 2, 4, 4)
    coder_blocks: int = 2
    latents: int = 4
    width: int = 128
    widths: tuple[int, ...] = (1, 2, 2)
    heads: int = 8
    features: int = 512
    most_features: int = 40


def _norm(channels: int, eps: float = 1e-6) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=eps)


# ------------------------------------------------------------------------ the image encoder


class _CoderBlock(nn.Module):
    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(narrow), _norm(wide)
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(narrow, wide, 1) if narrow != wide else None

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(maps)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return inner + (maps if self.nin_shortcut is None else self.nin_shortcut(maps))


class _CoderAttention(nn.Module):
    """Each place attends to all, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, maps: Tensor) -> Tensor:
        normed = self.norm(maps)
        rows = [layer(normed).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v)]
        mixed = functional.scaled_dot_product_attention(*rows)
        return maps + self.proj_out(mixed.transpose(1, 2).unflatten(2, maps.shape[2:]))


class _Halving(nn.Module):
    """A convolution of stride two, with zeros to the right and below alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.conv(functional.pad(maps, (0, 1, 0, 1)))


class _CoderStage(nn.Module):
    def __init__(self, narrow: int, wide: int, blocks: int, *, halves: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            _CoderBlock(wide if index else narrow, wide) for index in range(blocks)
        )
        self.downsample = _Halving(wide) if halves else None

    def forward(self, maps: Tensor) -> Tensor:
        for block in self.block:
            maps = block(maps)
        return maps if self.downsample is None else self.downsample(maps)


class _CoderMiddle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.block_2 = (_CoderBlock(channels, channels) for _ in range(2))
        self.attn_1 = _CoderAttention(channels)

    def forward(self, maps: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(maps)))


class _CoderEncoder(nn.Module):
    def __init__(self, config: DiffFoleyConfig) -> None:
        super().__init__()
        widths = [config.coder_width * factor for factor in (1, *config.coder_widths)]
        self.conv_in = nn.Conv2d(3, config.coder_width, 3, padding=1)
        last = len(config.coder_widths) - 1
        self.down = nn.ModuleList(
            _CoderStage(narrow, wide, config.coder_blocks, halves=index < last)
            for index, (narrow, wide) in enumerate(itertools.pairwise(widths))
        )
        self.mid = _CoderMiddle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latents, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.conv_in(pictures)
        for stage in self.down:
            maps = stage(maps)
        return self.conv_out(functional.silu(self.norm_out(self.mid(maps))))


class _Coder(nn.Module):
    def __init__(self, config: DiffFoleyConfig) -> None:
        super().__init__()
        self.encoder = _CoderEncoder(config)
        self.quant_conv = nn.Conv2d(2 * config.latents, 2 * config.latents, 1)


# ------------------------------------------------------------------------- the classifier


class _ResBlock(nn.Module):
    """Two convolutions, with the embedding of the diffusion's time between them."""

    def __init__(self, narrow: int, wide: int, embedding: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            _norm(narrow, 1e-5), nn.SiLU(), nn.Conv2d(narrow, wide, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, wide))
        self.out_layers = nn.Sequential(
            _norm(wide, 1e-5), nn.SiLU(), nn.Identity(), nn.Conv2d(wide, wide, 3, padding=1)
        )
        self.skip_connection = nn.Conv2d(narrow, wide, 1) if narrow != wide else nn.Identity()

    def forward(self, maps: Tensor, embedded: Tensor) -> Tensor:
        inner = self.in_layers(maps) + self.emb_layers(embedded)[:, :, None, None]
        return self.skip_connection(maps) + self.out_layers(inner)


class _Attention(nn.Module):
    def __init__(self, width: int, seen: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = (nn.Linear(seen, width, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        parts = [
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(tokens), self.to_k(seen), self.to_v(seen))
        ]
        mixed = functional.scaled_dot_product_attention(*parts)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class _Gated(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        value, gate = self.proj(tokens).chunk(2, -1)
        return value * functional.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            _Gated(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(tokens)


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, seen: int, heads: int) -> None:
        super().__init__()
        self.attn1 = _Attention(width, width, heads)
        self.attn2 = _Attention(width, seen, heads)
        self.ff = _FeedForward(width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attn1(normed, normed)
        tokens = tokens + self.attn2(self.norm2(tokens), seen)
        return tokens + self.ff(self.norm3(tokens))


class _SpatialTransformer(nn.Module):
    """Places attend to each other and to the video's features."""

    def __init__(self, channels: int, seen: int, heads: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.proj_in, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(channels, seen, heads)])

    def forward(self, maps: Tensor, seen: Tensor) -> Tensor:
        tokens = self.proj_in(self.norm(maps)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, seen)
        return maps + self.proj_out(tokens.transpose(1, 2).unflatten(2, maps.shape[2:]))


class _Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.op(maps)


class _Backbone(nn.Module):
    """The first half of a diffusion network, a pooling and one logit."""

    def __init__(self, config: DiffFoleyConfig) -> None:
        super().__init__()
        width, seen, heads = config.width, config.features, config.heads
        embedding = 4 * width
        self.time_embed = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        blocks = [nn.ModuleList([nn.Conv2d(config.latents, width, 3, padding=1)])]
        narrow = width
        for level, factor in enumerate(config.widths):
            wide = factor * width
            layers: list[nn.Module] = [_ResBlock(narrow, wide, embedding)]
            layers += [_SpatialTransformer(wide, seen, heads)] if level else []
            blocks.append(nn.ModuleList(layers))
            if level < len(config.widths) - 1:
                blocks.append(nn.ModuleList([_Downsample(wide)]))
            narrow = wide
        self.input_blocks = nn.ModuleList(blocks)
        self.middle_block = nn.ModuleList(
            [
                _ResBlock(narrow, narrow, embedding),
                _SpatialTransformer(narrow, seen, heads),
                _ResBlock(narrow, narrow, embedding),
            ]
        )
        self.out = nn.Sequential(
            _norm(narrow, 1e-5), nn.SiLU(), nn.Conv2d(narrow, narrow // 2, 3, padding=1)
        )
        self.classifier = nn.Linear(narrow // 2, 1)

    def forward(self, latents: Tensor, seen: Tensor) -> Tensor:
        """(B, C, H, W) and (B, L, features) to (B,) logits, at the diffusion's time 0."""
        half = self.time_embed[0].in_features // 2
        start = torch.cat([latents.new_ones(half), latents.new_zeros(half)])  # cosines, sines
        embedded = self.time_embed(start)[None]
        maps = latents
        for layers in (*self.input_blocks, self.middle_block):
            maps = _passed(layers, maps, embedded, seen)
        return self.classifier(self.out(maps).mean((2, 3)))[:, 0]


def _passed(layers: Sequence[nn.Module], maps: Tensor, embedded: Tensor, seen: Tensor) -> Tensor:
    for layer in layers:
        if isinstance(layer, _ResBlock):
            maps = layer(maps, embedded)
        elif isinstance(layer, _SpatialTransformer):
            maps = layer(maps, seen)
        else:
            maps = layer(maps)
    return maps


class _Condition(nn.Module):
    def __init__(self, config: DiffFoleyConfig) -> None:
        super().__init__()
        self.embedder = nn.Sequential(nn.Linear(config.features, config.features))
        self.pos_emb = nn.Embedding(config.most_features, config.features)

    def forward(self, features: Tensor) -> Tensor:
        return self.embedder(features) + self.pos_emb.weight[: features.shape[1]]


class AlignmentClassifier(nn.Module):
    """Spectrogram and video features to a probability.

    Source: Luo et al., NeurIPS 2023 (Diff-Foley), section 4 and their evaluation/align_acc.py.
    """

    def __init__(self, config: DiffFoleyConfig | None = None) -> None:
        super().__init__()
        config = config or DiffFoleyConfig()
        self.first_stage_model = _Coder(config)
        self.model = _Backbone(config)
        self.cond_model = _Condition(config)

    def latents(
        self, spectrogram: Tensor, noise: Callable[[torch.Size], Tensor] = torch.zeros
    ) -> Tensor:
        """A draw of the latents of a spectrogram.

        Args:
            spectrogram: (H, W) of `mel_levels`, 0..1; shown in all three colours.
            noise: a shape to as many standard normal numbers; zeros give the mean.

        Returns:
            (C, H / 8, W / 8).
        """
        coder = self.first_stage_model
        moments = coder.quant_conv(coder.encoder(spectrogram.expand(1, 3, -1, -1)))[0]
        mean, log_variance = moments.chunk(2)
        deviation = (0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE)).exp()
        return LATENT_SCALE * (mean + deviation * noise(mean.shape))

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        """Whether a sound belongs to a video.

        Args:
            latents: (C, H, W) of `latents`.
            features: (L, 512) of CAVP, L at most 40.

        Returns:
            () probability, 0..1.
        """
        return self.model(latents[None], self.cond_model(features[None])).sigmoid()[0]


def mel_levels(sound: Tensor) -> Tensor:
    """The first 512 frames of a sound's mel spectrogram, as levels of 100 dB.

    Args:
        sound: (N,) float32 at 16 kHz, N at least 131,072.

    Returns:
        (128, 512), 0 (-80 dB and below) to 1 (20 dB and above).

    Raises:
        ValueError: a sound that is too short.

    Source: Diff-Foley's wav2spec.py on librosa 0.8: magnitudes, mirrored ends, Slaney's mel.
    """
    if len(sound) < SPECTROGRAM_FRAMES * HOP_SAMPLES:
        raise ValueError(
            f"{len(sound)} samples at {RATE_HZ} Hz, Diff-Foley's classifier needs at least "
            f"{SPECTROGRAM_FRAMES * HOP_SAMPLES}"
        )
    heard = sound[: SPECTROGRAM_FRAMES * HOP_SAMPLES + FFT_SAMPLES]
    filled = functional.pad(heard, (0, SPECTROGRAM_FRAMES * HOP_SAMPLES + FFT_SAMPLES - len(heard)))
    spectrum = torch.stft(
        filled,
        FFT_SAMPLES,
        hop_length=HOP_SAMPLES,
        window=torch.hann_window(FFT_SAMPLES, device=sound.device),
        center=True,
        return_complex=True,
    )
    mel = _filters().to(sound.device).T @ spectrum.abs()[:, :SPECTROGRAM_FRAMES]
    levels = 20 * torch.log10(mel.clamp_min(MAGNITUDE_FLOOR)) - 20
    return ((levels + 100) / 100).clamp(0, 1)


@functools.cache
def _filters() -> Tensor:
    return slaney_filters(
        bands=BANDS,
        window_samples=FFT_SAMPLES,
        rate_hz=RATE_HZ,
        low_hz=LOWEST_HZ,
        high_hz=HIGHEST_HZ,
    )
