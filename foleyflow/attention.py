"""Layers that the networks share: attention with positions in seconds, and feed-forward networks.

Tokens of different streams (video frames at their presentation time stamps, audio segments and
latent frames at their centres) attend to each other on one clock; there are no learned positions
and no position indices.

Dimension letters: B batch, Q queries, K keys, H heads, E width of a head, D = H * E.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

FASTEST_HZ = 12.5
SLOWEST_HZ = 1.0 / 16.0
MOST_SCORES = 256 * 256  # per head, that training on a CPU keeps in memory


class RotaryTime(nn.Module):
    """Rotary embedding of time in seconds, with frequencies from 12.5 Hz down to 1/16 Hz.

    Reference: Su et al. 2021 (RoPE); docs/method.md, section 1.3.
    """

    angular: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        frequencies_hz = torch.logspace(
            math.log10(FASTEST_HZ), math.log10(SLOWEST_HZ), head_width // 2
        )
        self.register_buffer("angular", 2.0 * math.pi * frequencies_hz, persistent=False)

    def forward(self, heads: Tensor, times_s: Tensor) -> Tensor:
        """Rotate (B, H, K, E) by times (B, K) in seconds, in float32."""
        angles = (times_s.float()[..., None] * self.angular)[:, None]
        cosine, sine = angles.cos(), angles.sin()
        even, odd = heads.float().chunk(2, -1)
        return torch.cat([even * cosine - odd * sine, even * sine + odd * cosine], -1)


class TimedAttention(nn.Module):
    """Multi-head attention over tokens with times.

    Queries and keys are RMS-normalised. With `window_s`, the first half of the heads attends only
    to keys within that distance in time.
    """

    def __init__(self, width: int, heads: int, *, window_s: float | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.window_s = window_s
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.query_norm = nn.RMSNorm(width // heads)
        self.key_norm = nn.RMSNorm(width // heads)
        self.rotary = RotaryTime(width // heads)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        queries: Tensor,
        query_times_s: Tensor,
        keys: Tensor | None = None,
        key_times_s: Tensor | None = None,
        *,
        key_present: Tensor | None = None,
    ) -> Tensor:
        """Attend from queries (B, Q, D) to keys (B, K, D), with times (B, Q) and (B, K).

        Without keys, it is self-attention. `key_present` (B, K) is False for padding. Returns
        (B, Q, D).
        """
        if keys is None or key_times_s is None:
            keys, key_times_s = queries, query_times_s

        def split(tokens: Tensor) -> Tensor:
            return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        key, value = self.key_value(keys).chunk(2, -1)
        query = self.rotary(self.query_norm(split(self.query(queries)).float()), query_times_s)
        key = self.rotary(self.key_norm(split(key).float()), key_times_s)
        value = split(value)
        bias = self._bias(query_times_s, key_times_s, key_present, value.dtype)
        mixed = _attend(query.to(value.dtype), key.to(value.dtype), value, bias)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _bias(
        self,
        query_times_s: Tensor,
        key_times_s: Tensor,
        key_present: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor | None:
        if key_present is None and self.window_s is None:
            return None
        shape = (len(query_times_s), self.heads, query_times_s.shape[1], key_times_s.shape[1])
        # Large finite numbers instead of -inf: a query without any key in its window must stay
        # finite. Padding is lower than keys outside the window, so that such a query ignores it.
        bias = torch.zeros(shape, dtype=torch.float32, device=query_times_s.device)
        if self.window_s is not None:
            distance_s = (query_times_s[:, :, None] - key_times_s[:, None, :]).abs()
            bias[:, : self.heads // 2] = (distance_s > self.window_s).float()[:, None] * -1e4
        if key_present is not None:
            bias = bias + (~key_present).float()[:, None, None, :] * -3e4
        return bias.to(dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention of queries (B, H, Q, E) to keys and values (B, H, K, E).

    On a CPU, the backward pass of the fused kernel takes several times as long as that of two
    matrix products, so short sequences with gradients use the latter.
    """
    scores = query.shape[2] * key.shape[2]
    is_trained = torch.is_grad_enabled() and value.requires_grad
    if not is_trained or value.device.type != "cpu" or scores > MOST_SCORES:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    logits = (query @ key.transpose(2, 3)).float() * query.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias
    return logits.softmax(-1).to(value.dtype) @ value


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Mlp(nn.Sequential):
    """The same network as `FeedForward`, with the tensor names of published checkpoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = FeedForward(width)
