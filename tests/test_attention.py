"""Attention with times in seconds: time differences, local heads, absent keys."""

from __future__ import annotations

import pytest
import torch

from foleyflow.attention import RotaryTime, TimedAttention

HEADS, WIDTH = 4, 32


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    return TimedAttention(WIDTH, HEADS).requires_grad_(False)


def tokens(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(2, count, WIDTH, generator=random)
    return values, torch.rand(2, count, generator=random).mul(4.0).sort(1).values


def attend(layer, queries, keys, *, present: torch.Tensor | None = None) -> torch.Tensor:
    """Attention between two pairs of tokens and times."""
    return layer(*queries, *keys, key_present=present)


def scores(query_times_s: torch.Tensor, key_times_s: torch.Tensor) -> torch.Tensor:
    rotary = RotaryTime(16)
    random = torch.Generator().manual_seed(3)
    query, key = (torch.randn(2, 2, count, 16, generator=random) for count in (3, 5))
    return rotary(query, query_times_s) @ rotary(key, key_times_s).mT


def test_scores_depend_on_time_differences_only():
    queries, keys = torch.rand(2, 3) * 4, torch.rand(2, 5) * 4
    plain = scores(queries, keys)
    for shift_s in (0.04, 3.3, -2.0, 8.0):
        moved = scores(queries + shift_s, keys + shift_s)
        torch.testing.assert_close(moved, plain, atol=2e-3, rtol=0)
    assert not torch.allclose(scores(queries + 0.04, keys), plain, atol=1e-2)


def test_rotation_preserves_norms_and_is_the_identity_at_zero():
    rotary = RotaryTime(16)
    heads = torch.randn(1, 2, 5, 16)
    torch.testing.assert_close(rotary(heads, torch.zeros(1, 5)), heads)
    turned = rotary(heads, torch.rand(1, 5))
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))


def test_the_order_of_keys_does_not_matter(attention):
    queries, keys = tokens(6, 0), tokens(9, 1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    mixed = attend(attention, queries, [each[:, order] for each in keys])
    torch.testing.assert_close(mixed, attend(attention, queries, keys), atol=1e-5, rtol=1e-4)


def test_absent_keys_are_ignored(attention):
    queries, keys = tokens(6, 0), tokens(9, 1)
    present = (torch.arange(9) % 3 > 0).expand(2, -1)
    plain = attend(attention, queries, keys, present=present)
    alone = attend(attention, queries, [each[:, present[0]] for each in keys])
    torch.testing.assert_close(plain, alone, atol=1e-5, rtol=1e-4)


def test_half_of_the_heads_are_limited_to_the_window():
    torch.manual_seed(0)
    local = TimedAttention(WIDTH, HEADS, window_s=0.5).requires_grad_(False)
    local.out = torch.nn.Identity()  # the concatenated heads
    times_s = torch.arange(10)[None] * 0.2
    queries, keys = torch.randn(1, 10, WIDTH), torch.randn(1, 10, WIDTH)
    far = (times_s[0] > times_s[0, 2] + 0.5).nonzero()[:, 0]
    changed = keys.clone()
    changed[:, far] += torch.randn(1, len(far), WIDTH)
    one, two = (attend(local, (queries, times_s), (k, times_s))[0, 2] for k in (keys, changed))
    half = WIDTH // 2
    assert torch.equal(one[:half], two[:half])
    assert not torch.allclose(one[half:], two[half:], atol=1e-3)


def test_a_query_without_keys_in_its_window_stays_finite():
    torch.manual_seed(0)
    local = TimedAttention(WIDTH, HEADS, window_s=0.5).requires_grad_(False)
    query = torch.randn(1, 1, WIDTH), torch.tensor([[9.0]])
    keys = torch.randn(1, 3, WIDTH), torch.tensor([[0.0, 0.1, 0.2]])
    out = attend(local, query, keys, present=torch.tensor([[True, False, False]]))
    assert bool(torch.isfinite(out).all())


@pytest.mark.parametrize("window_s", [None, 0.5])
def test_training_and_inference_agree_on_a_cpu(window_s):
    # With gradients, short sequences use matrix products instead of the fused kernel
    layer = TimedAttention(WIDTH, HEADS, window_s=window_s)
    queries, keys = tokens(6, 0), tokens(9, 1)
    present = torch.arange(9) < torch.tensor([[9], [5]])
    trained = attend(layer, queries, keys, present=present)
    with torch.no_grad():
        fused = attend(layer, queries, keys, present=present)
    assert trained.requires_grad and not fused.requires_grad
    torch.testing.assert_close(trained.detach(), fused, rtol=1e-5, atol=1e-6)
