"""Damage media files by a seed: blindly, or guided by the structure of the container.

A mutation changes the bytes of a file in place with a random generator and describes the change.
`mutate` applies a few of them; the result depends on its arguments alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from foleyflow.experiments.robustness.structure import ByteOrder, Field, Part, parts_of

# Values that damaged or hostile files have in integer fields.
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Changes of a time stamp, in its own ticks.
_JUMPS = (1, -1, 40, -40, 1000, -1000, 90_000, -90_000, 1_000_000, -1_000_000, 2**31, 2**32)
# A demuxer reads most of its settings from the first bytes of a file.
_HEAD_BYTES = 1024
_MOST_MUTATIONS = 3
_LONGEST_RUN_BYTES = 64

Mutation = Callable[[bytearray, np.random.Generator], str]


def mutate(
    data: bytes, rng: np.random.Generator, *, donors: Sequence[bytes]
) -> tuple[bytes, tuple[str, ...]]:
    """Damage a file of at least 32 bytes by one to three mutations.

    Args:
        data: the file.
        rng: selects the mutations, their places and values.
        donors: other files whose bytes a splice may use.

    Returns:
        The mutant, different from `data` and not empty, and descriptions of the changes.
    """
    names = [*_BLIND, *_STRUCTURED, "splice"]
    weights = np.array([1.0 if name in _BLIND else 2.0 for name in names])
    changes: list[str] = []
    mutant = bytearray(data)
    count = int(rng.integers(1, _MOST_MUTATIONS + 1))
    while len(changes) < count or bytes(mutant) == data:
        name = names[rng.choice(len(names), p=weights / weights.sum())]
        before = bytes(mutant)
        if name == "splice":
            change = _splice(mutant, rng, donors[int(rng.integers(len(donors)))])
        else:
            change = {**_BLIND, **_STRUCTURED}[name](mutant, rng)
        if len(mutant) < 32:
            mutant[:] = before
        elif bytes(mutant) != before:
            changes.append(f"{name}: {change}")
    return bytes(mutant), tuple(changes)


def _place(data: bytearray, rng: np.random.Generator, width: int = 1) -> int:
    """A random offset, often near the beginning of the file."""
    reach = len(data) - width
    if rng.random() < 0.4:
        reach = min(reach, _HEAD_BYTES)
    return int(rng.integers(0, reach + 1))


def _run_bytes(data: bytearray, rng: np.random.Generator) -> int:
    """A random length, short more often than long."""
    return int(min(2 ** rng.uniform(0, np.log2(_LONGEST_RUN_BYTES)), len(data)))


def _flip_bits(data: bytearray, rng: np.random.Generator) -> str:
    count = int(2 ** rng.uniform(0, 6))
    for _ in range(count):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return f"{count} bits"


def _overwrite_run(data: bytearray, rng: np.random.Generator) -> str:
    length = _run_bytes(data, rng)
    at = _place(data, rng, length)
    data[at : at + length] = rng.bytes(length)
    return f"{length} bytes at {at}"


def _zero_run(data: bytearray, rng: np.random.Generator) -> str:
    length = min(16 * _run_bytes(data, rng), len(data))
    at = _place(data, rng, length)
    data[at : at + length] = bytes(length)
    return f"{length} bytes at {at}"


def _overwrite_integer(data: bytearray, rng: np.random.Generator) -> str:
    width = int(rng.choice([1, 2, 4, 8]))
    order: ByteOrder = "big" if rng.random() < 0.5 else "little"
    at = _place(data, rng, width)
    return _put_extreme(data, rng, (at, width), order=order)


def _truncate(data: bytearray, rng: np.random.Generator) -> str:
    fraction = rng.uniform(0, 1) if rng.random() < 0.7 else rng.uniform(0.9, 1)
    del data[max(32, int(fraction * len(data))) :]
    return f"{len(data)} bytes are left"


def _append(data: bytearray, rng: np.random.Generator) -> str:
    length = 1 + 32 * _run_bytes(data, rng)
    data += rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    return f"{length} bytes"


def _delete_block(data: bytearray, rng: np.random.Generator) -> str:
    length = min(8 * _run_bytes(data, rng), len(data) // 2)
    at = _place(data, rng, length)
    del data[at : at + length]
    return f"{length} bytes at {at}"


def _repeat_block(data: bytearray, rng: np.random.Generator) -> str:
    length = 8 * _run_bytes(data, rng)
    at = _place(data, rng)
    data[at:at] = data[at : at + length]
    return f"{length} bytes at {at}"


def _swap_blocks(data: bytearray, rng: np.random.Generator) -> str:
    length = min(8 * _run_bytes(data, rng), len(data) // 4)
    a, b = (_place(data, rng, length) for _ in range(2))
    if abs(a - b) >= length:
        data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]
    return f"{length} bytes at {a} and {b}"


def _splice(data: bytearray, rng: np.random.Generator, donor: bytes) -> str:
    """Join the head of one file and the tail of another."""
    keep, take = rng.uniform(0.05, 0.95, size=2)
    at, donor_at = int(keep * len(data)), int(take * len(donor))
    data[at:] = donor[donor_at:]
    return f"from byte {at}, the bytes of another file from {donor_at}"


def _random_part(
    data: bytearray, rng: np.random.Generator, wanted: Callable[[Part], object]
) -> Part | None:
    found = [part for part in parts_of(data) if wanted(part)]
    return found[rng.integers(len(found))] if found else None


def _put_extreme(
    data: bytearray, rng: np.random.Generator, field: Field, *, order: ByteOrder
) -> str:
    at, width = field
    highest = (1 << 8 * width) - 1
    now = int.from_bytes(data[at : at + width], order)
    choices = [value for value in _EXTREMES if value <= highest]
    choices += [highest, highest >> 1]
    choices += [(now + 1) & highest, (now - 1) & highest, now * 2 & highest, now >> 1]
    value = choices[rng.integers(len(choices))]
    data[at : at + width] = value.to_bytes(width, order)
    return f"{width} bytes at {at} are {value:#x}"


def _resize_part(data: bytearray, rng: np.random.Generator) -> str:
    part = _random_part(data, rng, lambda part: part.size)
    return _put_extreme(data, rng, part.size, order=part.order) if part and part.size else ""


def _rename_part(data: bytearray, rng: np.random.Generator) -> str:
    part = _random_part(data, rng, lambda part: part.name)
    if part is None or part.name is None:
        return ""
    at, width = part.name
    other = _random_part(data, rng, lambda other: other.name and other.name[1] == width)
    if other is not None and other.name is not None and rng.random() < 0.5:
        data[at : at + width] = data[other.name[0] : other.name[0] + width]
    else:
        data[at + int(rng.integers(width))] ^= 1 << int(rng.integers(8))
    return f"at {at}"


def _delete_part(data: bytearray, rng: np.random.Generator) -> str:
    part = _random_part(data, rng, lambda part: part.end - part.start < len(data) // 2)
    if part is None:
        return ""
    del data[part.start : part.end]
    return f"{part.end - part.start} bytes at {part.start}"


def _repeat_part(data: bytearray, rng: np.random.Generator) -> str:
    part = _random_part(data, rng, lambda part: part.end - part.start < len(data) // 2)
    if part is None:
        return ""
    data[part.start : part.start] = data[part.start : part.end]
    return f"{part.end - part.start} bytes at {part.start}"


def _swap_parts(data: bytearray, rng: np.random.Generator) -> str:
    a = _random_part(data, rng, lambda part: part.is_leaf)
    b = _random_part(data, rng, lambda part: part.is_leaf)
    if a is None or b is None:
        return ""
    first, second = sorted((a, b), key=lambda part: part.start)
    if first.end > second.start:
        return ""
    data[first.start : second.end] = (
        data[second.start : second.end]
        + data[first.end : second.start]
        + data[first.start : first.end]
    )
    return f"at {first.start} and {second.start}"


def _overwrite_number_of_part(data: bytearray, rng: np.random.Generator) -> str:
    """Overwrite an integer in the body of a small part: a header or a table, not a coded frame."""
    part = _random_part(data, rng, lambda part: part.is_leaf and 0 < part.end - part.body <= 512)
    if part is None:
        return ""
    length = part.end - part.body
    width = int(rng.choice([1, 2, 4]))
    width = length if length in (1, 2, 3, 4, 8) and rng.random() < 0.5 else min(width, length)
    at = part.body + width * int(rng.integers(length // width))
    return _put_extreme(data, rng, (at, width), order=part.order)


def _damage_body(data: bytearray, rng: np.random.Generator) -> str:
    """Put noise or zeros into a part's body; its header stays."""
    part = _random_part(data, rng, lambda part: part.is_leaf and part.end > part.body)
    if part is None:
        return ""
    length = min(part.end - part.body, 16 * _run_bytes(data, rng))
    at = part.body + int(rng.integers(part.end - part.body - length + 1))
    data[at : at + length] = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    return f"{length} bytes at {at}"


def _jump_times(data: bytearray, rng: np.random.Generator) -> str:
    """Move one time stamp, or all from one to the last."""
    timed = [part for part in parts_of(data) if part.time]
    if not timed:
        return ""
    begin = int(rng.integers(len(timed)))
    stop = len(timed) if rng.random() < 0.4 else begin + 1
    jump = _JUMPS[rng.integers(len(_JUMPS))]
    for part in timed[begin:stop]:
        at, width = part.time or (0, 0)
        value = int.from_bytes(data[at : at + width], part.order) + jump
        data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, part.order)
    return f"{stop - begin} time stamps by {jump}"


_BLIND: dict[str, Mutation] = {
    "flip bits": _flip_bits,
    "overwrite bytes": _overwrite_run,
    "zero bytes": _zero_run,
    "overwrite integer": _overwrite_integer,
    "truncate": _truncate,
    "append": _append,
    "delete block": _delete_block,
    "repeat block": _repeat_block,
    "swap blocks": _swap_blocks,
}
_STRUCTURED: dict[str, Mutation] = {
    "resize part": _resize_part,
    "rename part": _rename_part,
    "delete part": _delete_part,
    "repeat part": _repeat_part,
    "swap parts": _swap_parts,
    "overwrite number of a part": _overwrite_number_of_part,
    "damage body": _damage_body,
    "jump times": _jump_times,
}
