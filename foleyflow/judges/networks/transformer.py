"""Attention layers that several published networks share.

Dimension letters: B batch, N tokens, D width, H heads, E = D / H.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class QkvAttention(nn.Module):
    """Self-attention with one linear layer for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to the same shape."""
        return self.merge(functional.scaled_dot_product_attention(*self.split(tokens)))

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of (B, N, D) tokens, each (B, H, N, E)."""
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]

    def merge(self, mixed: Tensor) -> Tensor:
        """Attention output (B, H, N, E) to (B, N, D)."""
        return self.proj(mixed.transpose(1, 2).flatten(2))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Multi-head attention of queries (B, N, D) to keys and values (B, K, D), without a mask.

    Reference: Vaswani et al. 2017, equation 1.
    """
    query, key, value = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)
    )
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)
