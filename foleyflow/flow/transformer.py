"""The flow's network: a 1-D diffusion transformer from noisy latents to a mean velocity.

Each latent frame is modulated by the condition at its own time (adaLN-zero per token). Positions
are in seconds. Known latents (of the previous window, or around an edited stretch) enter as context
channels. With r = tau the output is the velocity of the flow; with r < tau it is the mean velocity
of its flow map.

Dimension letters: B batch, L latent frames, C latent channels, S segments (L / 4), T tokens, Q cue
channels, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.attention import FeedForward, TimedAttention
from foleyflow.cues.tracks import TrackLayout
from foleyflow.errors import ConfigError
from foleyflow.flow import preconditioning
from foleyflow.flow.path import PATHS

# Condition dropout: nothing, the timing (the clip's global condition stays), or everything.
KEEP_ALL, DROP_TIMING, DROP_ALL = 0, 1, 2
# Highest angular rate of the flow-time embedding, radians per unit of flow time: outputs change
# smoothly between the flow times of training.
MAX_TIME_RATE = 12.0
# Prefixes of the tensors that depend on the codec's latents; they are reinitialised for another.
LATENT_TENSORS = ("input_conv.", "output_conv.", "latent_")
SEGMENT_CHANNELS = 96  # channels per latent frame that the aligner's states are expanded to


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Shape of the flow's network; the defaults are those of the tiny model."""

    channels: int = 64  # latent channels; recipes set it to the codec's
    width: int = 192
    layers: int = 4
    heads: int = 6
    frames_per_token: int = 1  # latent frames that are one token of the transformer
    condition_width: int = 192  # width of the aligner's features
    latents_per_segment: int = 4  # latent frames per segment of the aligner
    latent_rate_hz: float = 50.0  # latent frames per second
    static: bool = False  # use the mean condition of the window in every frame (an ablation)
    # Generate each segment independently from its own noise and condition, a literal reading of
    # eq. 5 (an ablation; sounds are cut at segment borders)
    factorised: bool = False
    predicts: Literal["velocity", "noise"] = "velocity"  # noise for the diffusion baseline
    # Materials of the cue tracks (`cues.tracks`), in the order of their classes; without any, the
    # network has no cue tracks, as in the paper
    cue_materials: tuple[str, ...] = ()
    default_guidance: float = 2.5  # scale of classifier-free guidance in generation
    # Path of the training (a key of `path.PATHS`) if the network learns a residual to the exact
    # solution for Gaussian latents (preconditioning.py), else ""
    prior_path: str = ""
    # Without it, the network generates from the cues alone: the features of an adapted aligner are
    # not those that it was trained with (docs/adapt.md)
    uses_video: bool = True

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width={self.width}, heads={self.heads}: expected heads of even width"
            )
        if self.predicts not in ("velocity", "noise"):
            raise ConfigError(f"predicts={self.predicts!r}: expected 'velocity' or 'noise'")
        if self.prior_path not in ("", *PATHS):
            raise ConfigError(
                f"prior_path={self.prior_path!r}: expected one of {', '.join(PATHS)}, or ''"
            )
        if self.frames_per_token < 1 or self.latents_per_segment % self.frames_per_token:
            raise ConfigError(
                f"frames_per_token={self.frames_per_token}: expected a divisor of "
                f"latents_per_segment={self.latents_per_segment}"
            )
        if not (self.uses_video or self.cue_materials):
            raise ConfigError(
                "uses_video=false without cue_materials: expected a network with cue tracks, which "
                "can replace the video"
            )
        if self.static and self.factorised:
            raise ConfigError(
                "static and factorised are both set: expected at most one of them; without timing, "
                "all independent segments would get the same condition"
            )

    @property
    def cue_channels(self) -> int:
        """Channels of the cue tracks."""
        return TrackLayout(materials=len(self.cue_materials)).channels if self.cue_materials else 0


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The condition and the context of a window."""

    video: Tensor  # (B, L, condition_width) video features at the centres of the latent frames
    states: Tensor  # (B, S, condition_width) the aligner's states with all audio masked
    cues: Tensor  # (B, L, Q) tracks of the cues (`cues.tracks.condition_tracks`)
    has_video: Tensor  # (B,) bool, False where `video` and `states` are not given
    context: Tensor  # (B, L, C) known latents, zero elsewhere
    known: Tensor  # (B, L) bool, True where `context` holds a latent

    def rows(self, chosen: Tensor) -> Condition:
        """The condition of some samples of the batch (indices or a mask)."""
        return Condition(**{name: value[chosen] for name, value in vars(self).items()})

    def split_segments(self) -> Condition:
        """The condition with each segment as a sample of its own: B * S samples of L / S frames."""
        count = self.states.shape[1]
        parts = {
            name: split_time(value, count) for name, value in vars(self).items() if value.ndim > 1
        }
        clips = {
            name: value.repeat_interleave(count)
            for name, value in vars(self).items()
            if value.ndim == 1
        }
        return Condition(**parts, **clips)


def split_time(value: Tensor, count: int) -> Tensor:
    """(B, L, ...) to (B * count, L / count, ...)."""
    return value.unflatten(1, (count, -1)).flatten(0, 1)


class ScalarEmbedding(nn.Module):
    """Sinusoidal embedding of a scalar of about 0..1, followed by two linear layers."""

    rates: Tensor

    def __init__(self, width: int, *, zero: bool) -> None:
        super().__init__()
        rates = torch.exp(torch.linspace(math.log(0.5), math.log(MAX_TIME_RATE), 32))
        self.register_buffer("rates", rates, persistent=False)
        first, last = nn.Linear(64, width), nn.Linear(width, width)
        self.net = nn.Sequential(first, nn.SiLU(), last)
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, value: Tensor) -> Tensor:
        """(B,) to (B, D)."""
        angles = value.float()[:, None] * self.rates
        return self.net(torch.cat([angles.cos(), angles.sin()], -1))


class FlowBlock(nn.Module):
    """Attention and feed-forward network with per-token shift, scale and gate (adaLN-zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = TimedAttention(width, heads)
        self.local = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.feed_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.feed = FeedForward(width)

    def forward(self, tokens: Tensor, condition: Tensor, times_s: Tensor) -> Tensor:
        """(B, L, D) tokens and (B, L, D) condition (after SiLU) to (B, L, D)."""
        scale_a, shift_a, gate_a, scale_f, shift_f, gate_f = self.modulation(condition).chunk(6, -1)
        # Self-attention
        normed = (1 + scale_a) * self.attention_norm(tokens) + shift_a
        tokens = tokens + gate_a * self.attention(normed, times_s)
        # Feed-forward network behind a depthwise convolution
        normed = (1 + scale_f) * self.feed_norm(tokens) + shift_f
        normed = normed + self.local(normed.transpose(1, 2)).transpose(1, 2)
        return tokens + gate_f * self.feed(normed)


class FlowTransformer(nn.Module):
    """The network u(x, r, tau | condition, w), with the standardisation of its latents.

    Reference: paper eqs. 5, 6 and 8; adaLN-zero as in Peebles & Xie 2023 (DiT).
    """

    latent_mean: Tensor
    latent_deviation: Tensor
    latent_scale: Tensor
    trained_intervals: Tensor
    trained_guidance: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        width, frames = config.width, config.frames_per_token
        # The kernel reaches 3 latent frames beyond a token
        self.input_conv = nn.Conv1d(
            2 * config.channels + 1, width, frames + 6, stride=frames, padding=3
        )
        self.unfold = nn.Linear(
            config.condition_width, config.latents_per_segment * SEGMENT_CHANNELS
        )
        self.frame_condition = nn.Sequential(
            nn.Conv1d(config.condition_width + SEGMENT_CHANNELS, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(width, width, frames + 2, stride=frames, padding=1),
        )
        self.cue_condition = None
        if config.cue_channels:
            self.cue_condition = nn.Sequential(
                nn.Conv1d(config.cue_channels, width, 5, padding=2),
                nn.SiLU(),
                nn.Conv1d(width, width, frames + 4, stride=frames, padding=2),
                nn.SiLU(),
                nn.Conv1d(width, width, 3, padding=1),
            )
            self.no_video = nn.Parameter(torch.zeros(width))
        self.global_condition = nn.Linear(config.condition_width, width)
        self.null_frame_condition = nn.Parameter(torch.zeros(width))
        self.null_global_condition = nn.Parameter(torch.zeros(width))
        self.tau = ScalarEmbedding(width, zero=False)
        self.interval = ScalarEmbedding(width, zero=True)
        self.guidance_scale = ScalarEmbedding(width, zero=True)
        self.blocks = nn.ModuleList(FlowBlock(width, config.heads) for _ in range(config.layers))
        self.final_modulation = nn.Linear(width, 2 * width)
        self.final_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.output_conv = nn.Conv1d(width, frames * config.channels, 7, padding=3)
        for layer in (self.final_modulation, self.output_conv):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.register_buffer("latent_mean", torch.zeros(config.channels))
        self.register_buffer("latent_deviation", torch.ones(config.channels))
        self.register_buffer(
            "latent_scale", torch.ones(config.channels), persistent=bool(config.prior_path)
        )
        # 1 if the network was trained on intervals r < tau, and with guidance scales above 1. Flow
        # matching trains neither embedding.
        self.register_buffer("trained_intervals", torch.zeros((), dtype=torch.int64))
        self.register_buffer("trained_guidance", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit_latents_(self, latents: Tensor, scale: Tensor) -> None:
        """Fit the standardisation to (R, C) codec latents, to standard deviations `scale` (C,)."""
        self.latent_mean.copy_(latents.mean(0))
        self.latent_deviation.copy_(latents.std(0).clamp_min(1e-3) / scale)
        self.latent_scale.copy_(scale)

    def record_training_(self, *, guidance: bool) -> None:
        """Record a training on intervals r < tau, and with guidance scales above 1."""
        self.trained_intervals.fill_(1)
        if guidance:
            self.trained_guidance.fill_(1)

    def standardise(self, latents: Tensor) -> Tensor:
        """Codec latents to zero mean and a standard deviation of `latent_scale` per channel."""
        return (latents - self.latent_mean) / self.latent_deviation

    def restore(self, latents: Tensor) -> Tensor:
        """Inverse of `standardise`."""
        return latents * self.latent_deviation + self.latent_mean

    def embed(self, condition: Condition, drop: Tensor | None = None) -> Tensor:
        """Embed the condition of each token, (B, T, D).

        `drop` is (B,) int of `KEEP_ALL`, `DROP_TIMING` or `DROP_ALL`; None keeps everything.
        """
        segments = condition.states.shape[1]
        if self.config.factorised and segments > 1:
            drops = None if drop is None else drop.repeat_interleave(segments)
            embedded = self.embed(condition.split_segments(), drops)
            return embedded.unflatten(0, (-1, segments)).flatten(1, 2)
        # Per-frame condition from video features and the segments' states
        states = self.unfold(condition.states).unflatten(-1, (self.config.latents_per_segment, -1))
        joined = torch.cat([condition.video, states.flatten(1, 2).to(condition.video.dtype)], -1)
        if self.config.static:
            joined = joined.mean(1, keepdim=True).expand_as(joined)
        frames = self.frame_condition(joined.transpose(1, 2)).transpose(1, 2)
        # Global condition from the mean video features
        clip = self.global_condition(condition.video.mean(1))
        # Cue tracks, which can replace the video
        if self.cue_condition is not None:
            has_video = (condition.has_video & self.config.uses_video)[:, None, None]
            cues = self.cue_condition(condition.cues.to(frames.dtype).transpose(1, 2))
            frames = torch.where(has_video, frames, self.no_video) + cues.transpose(1, 2)
            clip = torch.where(has_video[:, 0], clip, torch.zeros_like(clip))
        # Learned null embeddings where the condition is dropped
        if drop is not None:
            timing_dropped = (drop >= DROP_TIMING)[:, None, None]
            frames = torch.where(timing_dropped, self.null_frame_condition, frames)
            clip = torch.where((drop >= DROP_ALL)[:, None], self.null_global_condition, clip)
        return frames + clip[:, None]

    def forward(
        self,
        x: Tensor,
        *,
        r: Tensor,
        tau: Tensor,
        guidance_scale: Tensor,
        embedded: Tensor,
        condition: Condition,
    ) -> Tensor:
        """Mean velocity between the flow times tau and r, (B, L, C) float32.

        Args:
            x: (B, L, C) standardised latents at flow time tau.
            r, tau: (B,) end and start of the interval, 0 <= r <= tau <= 1.
            guidance_scale: (B,) guidance scale w, at least 1; 1 means no guidance.
            embedded: (B, T, D) from `embed`.
            condition: only its context channels are used.
        """
        segments = condition.states.shape[1]
        if self.config.factorised and segments > 1:
            output = self(
                split_time(x, segments),
                r=r.repeat_interleave(segments),
                tau=tau.repeat_interleave(segments),
                guidance_scale=guidance_scale.repeat_interleave(segments),
                embedded=split_time(embedded, segments),
                condition=condition.split_segments(),
            )
            return output.unflatten(0, (-1, segments)).flatten(1, 2)
        # Input: preconditioned latents, context and the mask of known frames
        known = condition.known[..., None].to(x.dtype)
        context, scaled = condition.context.to(x.dtype), x
        factors = self._preconditioning(r, tau)
        if factors is not None:
            scaled, context = factors.inward * x, context / self.latent_scale
        channels = torch.cat([scaled, context, known], -1)
        tokens = self.input_conv(channels.transpose(1, 2)).transpose(1, 2)
        # Modulation by flow times, guidance scale and condition
        scalars = self.tau(tau) + self.interval(tau - r)
        scalars = scalars + self.guidance_scale(1 - 1 / guidance_scale)
        modulation = functional.silu(embedded + scalars[:, None])
        # Transformer blocks, with positions in seconds
        token_rate_hz = self.config.latent_rate_hz / self.config.frames_per_token
        centres = torch.arange(tokens.shape[1], device=x.device) + 0.5
        times_s = (centres / token_rate_hz).expand(len(x), -1)
        for block in self.blocks:
            tokens = block(tokens, modulation, times_s)
        # Modulated output layer, then the exact solution for Gaussian latents
        scale, shift = self.final_modulation(modulation).chunk(2, -1)
        tokens = (1 + scale) * self.final_norm(tokens) + shift
        output = self.output_conv(tokens.transpose(1, 2)).transpose(1, 2).float()
        output = output.reshape(x.shape)
        return output if factors is None else factors.skip * x + factors.outward * output

    def _preconditioning(self, r: Tensor, tau: Tensor) -> preconditioning.Preconditioning | None:
        path = self.config.prior_path
        if not path:
            return None
        if self.config.predicts == "noise":
            return preconditioning.for_noise(tau, self.latent_scale, path)
        return preconditioning.for_velocity(r, tau, self.latent_scale, path)
