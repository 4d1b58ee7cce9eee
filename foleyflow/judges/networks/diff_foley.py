"""Diff-Foley's alignment classifier: the probability that a spectrogram matches CAVP features.

The encoder of an image autoencoder turns the mel spectrogram into latents. The downsampling half of
a diffusion U-Net processes them with the features as context, and a linear layer gives one logit.
Tensor names are the published ones, without those that only training needs.

Dimension letters: B batch, C channels, H mel bands, W spectrogram frames, L video features.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.judges.networks.spectra import centred_stft, slaney_filters
from foleyflow.judges.networks.transformer import attend

RATE_HZ = 16_000
FFT_SAMPLES, HOP_SAMPLES = 1024, 256
BANDS, LOWEST_HZ, HIGHEST_HZ = 128, 125.0, 7600.0
MAGNITUDE_FLOOR = 1e-5
SPECTROGRAM_FRAMES, VIDEO_FEATURES = 512, 32  # 8.192 s; complete features at 4 Hz within it
USED_SAMPLES = SPECTROGRAM_FRAMES * HOP_SAMPLES
USED_S = USED_SAMPLES / RATE_HZ
LATENT_SCALE = 0.18215
LOG_VARIANCE_RANGE = (-30.0, 20.0)
GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class DiffFoleyConfig:
    """Shape of the networks; the defaults are the published shape, others are for tests.

    The factors are the channels of each stage as multiples of the first layer's width. All stages
    but the last halve the size.
    """

    encoder_width: int = 128
    encoder_factors: tuple[int, ...] = (1, 2, 4, 4)
    encoder_blocks: int = 2  # per stage
    latents: int = 4  # channels
    width: int = 128
    factors: tuple[int, ...] = (1, 2, 2)
    heads: int = 8
    features: int = 512  # width of the video features
    most_features: int = 40  # that have learned positions


def _norm(channels: int, eps: float = 1e-6) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=eps)


class _EncoderBlock(nn.Module):
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


class _EncoderAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, maps: Tensor) -> Tensor:
        normed = self.norm(maps)
        query, key, value = (
            layer(normed).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return maps + self.proj_out(mixed.transpose(1, 2).unflatten(2, maps.shape[2:]))


def _encoder_stage(narrow: int, wide: int, blocks: int, *, downsample: bool) -> nn.Module:
    widths = [narrow, *[wide] * blocks]
    layers = [_EncoderBlock(*pair) for pair in itertools.pairwise(widths)]
    parts = OrderedDict[str, nn.Module](block=nn.Sequential(*layers))
    if downsample:  # padded at the right and at the bottom only
        conv = nn.Conv2d(wide, wide, 3, stride=2)
        parts["downsample"] = nn.Sequential(OrderedDict(pad=nn.ZeroPad2d((0, 1, 0, 1)), conv=conv))
    return nn.Sequential(parts)


class _Encoder(nn.Module):
    def __init__(self, config: DiffFoleyConfig) -> None:
        super().__init__()
        widths = [config.encoder_width * factor for factor in (1, *config.encoder_factors)]
        self.conv_in = nn.Conv2d(3, config.encoder_width, 3, padding=1)
        last = len(config.encoder_factors) - 1
        self.down = nn.Sequential(
            *(
                _encoder_stage(narrow, wide, config.encoder_blocks, downsample=index < last)
                for index, (narrow, wide) in enumerate(itertools.pairwise(widths))
            )
        )
        self.mid = nn.Sequential(
            OrderedDict(
                block_1=_EncoderBlock(widths[-1], widths[-1]),
                attn_1=_EncoderAttention(widths[-1]),
                block_2=_EncoderBlock(widths[-1], widths[-1]),
            )
        )
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latents, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.mid(self.down(self.conv_in(images)))
        return self.conv_out(functional.silu(self.norm_out(maps)))


class _ResBlock(nn.Module):
    """Two convolutions with the embedded diffusion time added between them."""

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


class _CrossAttention(nn.Module):
    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = (nn.Linear(context_width, width, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        return self.to_out(
            attend(self.to_q(tokens), self.to_k(context), self.to_v(context), self.heads)
        )


class _GatedLinear(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        value, gate = self.proj(tokens).chunk(2, -1)
        return value * functional.gelu(gate)


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.attn1 = _CrossAttention(width, width, heads)
        self.attn2 = _CrossAttention(width, context_width, heads)
        layers = (_GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))
        self.ff = nn.ModuleDict({"net": nn.Sequential(*layers)})
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attn1(normed, normed)
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        return tokens + self.ff["net"](self.norm3(tokens))


class _SpatialTransformer(nn.Module):
    def __init__(self, channels: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.proj_in, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(channels, context_width, heads)])

    def forward(self, maps: Tensor, context: Tensor) -> Tensor:
        tokens = self.proj_in(self.norm(maps)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return maps + self.proj_out(tokens.transpose(1, 2).unflatten(2, maps.shape[2:]))


class _Layers(nn.ModuleList):
    """Layers in sequence; only some take the embedded time or the context."""

    def forward(self, maps: Tensor, embedded: Tensor, context: Tensor) -> Tensor:
        for layer in self:
            if isinstance(layer, _ResBlock):
                maps = layer(maps, embedded)
            elif isinstance(layer, _SpatialTransformer):
                maps = layer(maps, context)
            else:
                maps = layer(maps)
        return maps


class _Classifier(nn.Module):
    """The downsampling half of a diffusion U-Net, mean pooling and one logit."""

    def __init__(self, config: DiffFoleyConfig) -> None:
        super().__init__()
        width, context_width, heads = config.width, config.features, config.heads
        embedding = 4 * width
        # Sinusoidal embedding of the diffusion time 0: cosines, then sines
        self.time_zero = (1.0,) * (width // 2) + (0.0,) * (width // 2)
        self.time_embed = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )

        # Stages; all but the first have attention, all but the last end with a downsampling
        blocks = [_Layers([nn.Conv2d(config.latents, width, 3, padding=1)])]
        narrow = width
        for stage, factor in enumerate(config.factors):
            wide = factor * width
            layers: list[nn.Module] = [_ResBlock(narrow, wide, embedding)]
            layers += [_SpatialTransformer(wide, context_width, heads)] if stage else []
            blocks.append(_Layers(layers))
            if stage < len(config.factors) - 1:
                downsample = nn.Conv2d(wide, wide, 3, stride=2, padding=1)
                blocks.append(_Layers([nn.Sequential(OrderedDict(op=downsample))]))
            narrow = wide
        self.input_blocks = nn.ModuleList(blocks)

        # Middle and classification head
        self.middle_block = _Layers(
            [
                _ResBlock(narrow, narrow, embedding),
                _SpatialTransformer(narrow, context_width, heads),
                _ResBlock(narrow, narrow, embedding),
            ]
        )
        self.out = nn.Sequential(
            _norm(narrow, 1e-5), nn.SiLU(), nn.Conv2d(narrow, narrow // 2, 3, padding=1)
        )
        self.classifier = nn.Linear(narrow // 2, 1)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        """Latents (B, C, H, W) and context (B, L, features) to (B,) logits."""
        embedded = self.time_embed(latents.new_tensor(self.time_zero))[None]
        maps = latents
        for layers in (*self.input_blocks, self.middle_block):
            maps = layers(maps, embedded, context)
        return self.classifier(self.out(maps).mean((2, 3)))[:, 0]


class _Condition(nn.Module):
    def __init__(self, config: DiffFoleyConfig) -> None:
        super().__init__()
        self.embedder = nn.Sequential(nn.Linear(config.features, config.features))
        self.pos_emb = nn.Embedding(config.most_features, config.features)

    def forward(self, features: Tensor) -> Tensor:
        return self.embedder(features) + self.pos_emb.weight[: features.shape[1]]


class AlignmentClassifier(nn.Module):
    """Spectrogram and video features to the probability that they belong together.

    Reference: Luo et al., NeurIPS 2023 (Diff-Foley), section 4, and their evaluation/align_acc.py.
    """

    def __init__(self, config: DiffFoleyConfig | None = None) -> None:
        super().__init__()
        config = config or DiffFoleyConfig()
        quant_conv = nn.Conv2d(2 * config.latents, 2 * config.latents, 1)
        self.first_stage_model = nn.Sequential(
            OrderedDict(encoder=_Encoder(config), quant_conv=quant_conv)
        )
        self.model = _Classifier(config)
        self.cond_model = _Condition(config)

    def latents(
        self, spectrogram: Tensor, noise: Callable[[torch.Size], Tensor] = torch.zeros
    ) -> Tensor:
        """Sample the latents (C, H / 8, W / 8) of a spectrogram.

        Args:
            spectrogram: (H, W) from `mel_levels`, 0..1; used for all three colour channels.
            noise: returns standard normal numbers of a shape; zeros give the mean.
        """
        moments = self.first_stage_model(spectrogram.expand(1, 3, -1, -1))[0]
        mean, log_variance = moments.chunk(2)
        deviation = (0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE)).exp()
        return LATENT_SCALE * (mean + deviation * noise(mean.shape))

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        """Latents (C, H, W) and features (L, 512), L at most 40, to a () probability."""
        return self.model(latents[None], self.cond_model(features[None])).sigmoid()[0]


def repeat_features(features: Tensor) -> Tensor:
    """The first 32 features of a video, (N, 512) with N at least 1 to (32, 512).

    Fewer features are repeated from the first one. The published evaluation never pads them, since
    its clips last 10 s; this is what its authors' loaders do with shorter videos.

    Reference: Diff-Foley, `load_spec_and_feat` in evaluation/dataset.py and in
    training/stage2_ldm/adm/data/video_spec_dataset.py.
    """
    return features[torch.arange(VIDEO_FEATURES, device=features.device) % len(features)]


def mel_levels(sound: Tensor) -> Tensor:
    """Mel levels of the first 512 frames of a sound, over a range of 100 dB.

    The sound is (N,) float32 at 16 kHz; the script pads it with zeros to 10 s, which is more than
    the 512 frames reach. The levels, (128, 512), range from 0 (-80 dB and below) to 1 (20 dB and
    above).

    Reference: Diff-Foley's data_preprocess/wav2spec.py with librosa 0.8 (magnitudes, reflected
    ends, Slaney's mel), and the first 512 frames in its evaluation/dataset.py.
    """
    used = sound[: USED_SAMPLES + FFT_SAMPLES]
    padded = functional.pad(used, (0, USED_SAMPLES + FFT_SAMPLES - len(used)))
    window = torch.hann_window(FFT_SAMPLES, device=sound.device)
    spectrum = centred_stft(padded, window, fft_samples=FFT_SAMPLES, hop_samples=HOP_SAMPLES)
    filters = slaney_filters(
        bands=BANDS,
        window_samples=FFT_SAMPLES,
        rate_hz=RATE_HZ,
        low_hz=LOWEST_HZ,
        high_hz=HIGHEST_HZ,
    )
    mel = filters.to(sound.device).T @ spectrum.abs()[:, :SPECTROGRAM_FRAMES]
    levels = 20 * torch.log10(mel.clamp_min(MAGNITUDE_FLOOR)) - 20
    return ((levels + 100) / 100).clamp(0, 1)
