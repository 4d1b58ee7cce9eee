"""The network of the flow: noisy latents, two flow times and a condition to a mean velocity.

A 1-D diffusion transformer. Every latent frame is modulated by the condition of its own moment
(adaLN-zero per token), positions are seconds, and latents that are already known (the end of the
stretch before) come in as context channels. With r = tau the output is the velocity of the
dynamic conditional flow (DCF); with r < tau that of its flow map (GDCF).

Dimension letters: B batch, L latent frames, C latent channels, S segments (L / 4), D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from foleyflow.attention import FeedForward, TimedAttention
from foleyflow.errors import ConfigError
from foleyflow.flow import preconditioning
from foleyflow.flow.path import PATHS


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """Shape of the flow's network; defaults are the tiny model's.

    Attributes:
        channels: latent channels.
        width, layers, heads: of the transformer.
        guide_width: of the aligned features that come in.
        latents_per_segment: latent frames per state of the aligner.
        latent_rate_hz: latent frames per second.
        material_names: labels a user can give; one more place is kept for "not given".
        static: use the clip's mean condition at every moment (an ablation).
        factorised: make every segment by itself, from its own noise and features, as eq. 5 reads
            to the letter (an ablation: what rings over a segment's border is cut there).
        predicts: "velocity" for the flow, "noise" for the diffusion baseline.
        events: see the track of events; False leaves timing to features alone, as in the paper.
        prior_path: a key of `path.PATHS`, that of the training: the network adds to the exact
            answer for Gaussian latents on it (preconditioning.py). "" for a network that says all
            by itself.
    """

    channels: int = 48
    width: int = 192
    layers: int = 4
    heads: int = 6
    guide_width: int = 192
    latents_per_segment: int = 4
    latent_rate_hz: float = 50.0
    material_names: tuple[str, ...] = ()
    static: bool = False
    factorised: bool = False
    predicts: Literal["velocity", "noise"] = "velocity"
    events: bool = True
    prior_path: str = ""

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width={self.width}, heads={self.heads}: expected heads of even width"
            )
        if self.predicts not in ("velocity", "noise"):
            raise ConfigError(f"predicts={self.predicts!r}: expected 'velocity' or 'noise'")
        if self.prior_path not in ("", *PATHS):
            raise ConfigError(
                f"prior_path={self.prior_path!r}: expected one of {', '.join(PATHS)}, or nothing"
            )
        if self.static and self.factorised:
            raise ConfigError(
                "static and factorised: expected one of them; without timing, segments by "
                "themselves would all be alike"
            )


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What guides a window's sound.

    Attributes:
        video: (B, L, guide_width) aligned video features at the latent frames' centres.
        states: (B, S, guide_width) the aligner's states with all audio hidden.
        events: (B, L) track of events, 1 where one starts (`moments.event_track`).
        material: (B,) int64, 0 for "not given", else 1 + class.
        context: (B, L, C) latents that are already known, zero elsewhere.
        known: (B, L) bool, True where `context` holds a latent.
    """

    video: Tensor
    states: Tensor
    events: Tensor
    material: Tensor
    context: Tensor
    known: Tensor

    def rows(self, chosen: Tensor) -> Condition:
        """The same for some of the rows (indices or a mask)."""
        return Condition(**{name: value[chosen] for name, value in vars(self).items()})

    def segments(self) -> Condition:
        """Every segment as a row of its own, (B * S) rows of L / S frames."""
        count = self.states.shape[1]
        folded = {name: fold(getattr(self, name), count) for name in ("video", "states", "events")}
        folded |= {name: fold(getattr(self, name), count) for name in ("context", "known")}
        return Condition(**folded, material=self.material.repeat_interleave(count))


def fold(value: Tensor, count: int) -> Tensor:
    """(B, L, ...) to (B * count, L / count, ...)."""
    return value.unflatten(1, (count, -1)).flatten(0, 1)


KEEP_ALL, DROP_TIMING, DROP_ALL = 0, 1, 2
# Radians per unit of flow time. The one-step objective differentiates by flow time, so a fast
# embedding enters its target; with 60 training blew up (with 12 it still needs a bound, see there).
FASTEST_RATE = 12.0
# How the names of tensors begin that know the latents: another codec's need others.
LATENT_TENSORS = ("enter.", "leave.", "latent_")


class ScalarEmbedding(nn.Module):
    """A number in about 0..1 to a vector: sinusoids, then two layers."""

    def __init__(self, width: int, *, zero: bool) -> None:
        super().__init__()
        rates = torch.exp(torch.linspace(math.log(0.5), math.log(FASTEST_RATE), 32))
        self.register_buffer("rates", rates, persistent=False)
        self.net = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        if zero:
            nn.init.zeros_(self.net[2].weight)
            nn.init.zeros_(self.net[2].bias)

    def forward(self, value: Tensor) -> Tensor:
        """(B,) to (B, D)."""
        angles = value.float()[:, None] * self.rates
        return self.net(torch.cat([angles.cos(), angles.sin()], -1))


class FlowBlock(nn.Module):
    """Attention and feed-forward network, both shifted, scaled and gated per token."""

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
        normed = (1 + scale_a) * self.attention_norm(tokens) + shift_a
        tokens = tokens + gate_a * self.attention(
            normed, normed, query_times_s=times_s, key_times_s=times_s
        )
        normed = (1 + scale_f) * self.feed_norm(tokens) + shift_f
        normed = normed + self.local(normed.transpose(1, 2)).transpose(1, 2)
        return tokens + gate_f * self.feed(normed)


class FlowTransformer(nn.Module):
    """u(x, r, tau | condition, w), with the standardisation of the latents it works on.

    Source: paper eqs. 5, 6 and 8; method sections C.1 and D.2.
    """

    latent_mean: Tensor
    latent_deviation: Tensor
    latent_scale: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.enter = nn.Conv1d(2 * config.channels + 1, width, 7, padding=3)
        self.unfold = nn.Linear(config.guide_width, config.latents_per_segment * 96)
        self.guide = nn.Sequential(
            nn.Conv1d(config.guide_width + 96 + 1, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(width, width, 3, padding=1),
        )
        self.overall = nn.Linear(config.guide_width, width)
        self.material = nn.Embedding(len(config.material_names) + 1, width)
        self.null_guide = nn.Parameter(torch.zeros(width))
        self.null_overall = nn.Parameter(torch.zeros(width))
        self.tau = ScalarEmbedding(width, zero=False)
        self.interval = ScalarEmbedding(width, zero=True)
        self.strength = ScalarEmbedding(width, zero=True)
        self.blocks = nn.ModuleList(FlowBlock(width, config.heads) for _ in range(config.layers))
        self.final_modulation = nn.Linear(width, 2 * width)
        self.final_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.leave = nn.Conv1d(width, config.channels, 7, padding=3)
        for layer in (self.final_modulation, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("latent_mean", torch.zeros(config.channels))
        self.register_buffer("latent_deviation", torch.ones(config.channels))
        self.register_buffer(
            "latent_scale", torch.ones(config.channels), persistent=bool(config.prior_path)
        )

    @torch.no_grad()
    def fit_latents_(self, latents: Tensor, scale: Tensor) -> None:
        """Measures (R, C) codec latents; standardised ones have the deviations `scale`, (C,)."""
        self.latent_mean.copy_(latents.mean(0))
        self.latent_deviation.copy_(latents.std(0).clamp_min(1e-3) / scale)
        self.latent_scale.copy_(scale)

    def standardise(self, latents: Tensor) -> Tensor:
        """Codec latents to the flow's own zero mean and deviation (`latent_scale`, mostly 1)."""
        return (latents - self.latent_mean) / self.latent_deviation

    def restore(self, latents: Tensor) -> Tensor:
        """Inverse of `standardise`."""
        return latents * self.latent_deviation + self.latent_mean

    def embed(self, condition: Condition, drop: Tensor | None = None) -> Tensor:
        """The condition of each latent frame.

        Args:
            condition: of B rows.
            drop: (B,) int, `KEEP_ALL`, `DROP_TIMING` (the clip's character stays) or `DROP_ALL`.

        Returns:
            (B, L, D).
        """
        segments = condition.states.shape[1]
        if self.config.factorised and segments > 1:
            alone = None if drop is None else drop.repeat_interleave(segments)
            return (
                self.embed(condition.segments(), alone).unflatten(0, (-1, segments)).flatten(1, 2)
            )
        states = self.unfold(condition.states).unflatten(-1, (self.config.latents_per_segment, -1))
        events = condition.events if self.config.events else torch.zeros_like(condition.events)
        parts = [condition.video, states.flatten(1, 2), events[..., None]]
        joined = torch.cat([p.to(parts[0].dtype) for p in parts], -1)
        if self.config.static:
            joined = joined.mean(1, keepdim=True).expand_as(joined)
        guide = self.guide(joined.transpose(1, 2)).transpose(1, 2)
        overall = self.overall(condition.video.mean(1)) + self.material(condition.material)
        if drop is not None:
            guide = torch.where((drop >= DROP_TIMING)[:, None, None], self.null_guide, guide)
            overall = torch.where((drop >= DROP_ALL)[:, None], self.null_overall, overall)
        return guide + overall[:, None]

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
        """Mean velocity between tau and r.

        Args:
            x: (B, L, C) standardised latents at flow time tau.
            r: (B,) where to, 0..tau.
            tau: (B,) where from, 0..1.
            guidance_scale: (B,) guidance w, at least 1; 1 is none.
            embedded: (B, L, D) from `embed`.
            condition: its context channels are used.

        Returns:
            (B, L, C) float32.
        """
        segments = condition.states.shape[1]
        if self.config.factorised and segments > 1:
            made = self(
                fold(x, segments),
                r=r.repeat_interleave(segments),
                tau=tau.repeat_interleave(segments),
                guidance_scale=guidance_scale.repeat_interleave(segments),
                embedded=fold(embedded, segments),
                condition=condition.segments(),
            )
            return made.unflatten(0, (-1, segments)).flatten(1, 2)
        known = condition.known[..., None].to(x.dtype)
        context, shown = condition.context.to(x.dtype), x
        factors = self._factors(r, tau)
        if factors is not None:
            shown, context = factors.inward * x, context / self.latent_scale
        channels = torch.cat([shown, context, known], -1)
        tokens = self.enter(channels.transpose(1, 2)).transpose(1, 2)
        scalars = self.tau(tau) + self.interval(tau - r) + self.strength(1 - 1 / guidance_scale)
        modulation = functional.silu(embedded + scalars[:, None])
        count = x.shape[1]
        times_s = (torch.arange(count, device=x.device) + 0.5) / self.config.latent_rate_hz
        times_s = times_s.expand(len(x), -1)
        for block in self.blocks:
            tokens = block(tokens, modulation, times_s)
        scale, shift = self.final_modulation(modulation).chunk(2, -1)
        tokens = (1 + scale) * self.final_norm(tokens) + shift
        made = self.leave(tokens.transpose(1, 2)).transpose(1, 2).float()
        return made if factors is None else factors.skip * x + factors.outward * made

    def _factors(self, r: Tensor, tau: Tensor) -> preconditioning.Preconditioning | None:
        """What the network's own part is put between."""
        path = self.config.prior_path
        if not path:
            return None
        if self.config.predicts == "noise":
            return preconditioning.for_noise(tau, self.latent_scale, path)
        return preconditioning.for_velocity(r, tau, self.latent_scale, path)
