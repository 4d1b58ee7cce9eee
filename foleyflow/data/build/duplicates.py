"""Which clips show and sound the same as one before them in the list.

Uploads are uploaded again: such a clip in the test split would have been learnt. Pictures are
compared by hashes of 64 bits, a few for each clip; clips that share one are looked at closely.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from foleyflow.data.build.examination import ClipReport
from foleyflow.data.build.listing import ListedClip

LARGEST_DIFFERENCE = 0.08  # share of the pictures' bits
LOUDNESS_DB = 1.5  # mean difference of loudness over the clip
LARGEST_GROUP = 256  # clips that share a hash: a picture that common says nothing


def duplicates(rows: Sequence[ListedClip], reports: Sequence[ClipReport]) -> dict[int, str]:
    """Clips that are another one again.

    Test and validation clips come first, whatever their place in the list: it is the training clip
    that goes.

    Args:
        rows: of the list.
        reports: what was found of each; only those without a reason count.

    Returns:
        index -> reason, "duplicate of KEY".

    Source: ours.
    """
    order = sorted(
        (index for index, report in enumerate(reports) if not report.reason),
        key=lambda index: (rows[index].split == "train", index),
    )
    by_hash: dict[tuple[int, str], list[int]] = defaultdict(list)
    by_key: dict[str, int] = {}
    found: dict[int, str] = {}
    for index in order:
        report = reports[index]
        words = [(place, word) for place, word in enumerate(report.fingerprint) if word]
        near = {other for word in words for other in by_hash[word]}
        same = by_key.get(rows[index].key)
        if same is None:
            same = next((k for k in sorted(near) if _alike(report, reports[k])), None)
        if same is not None:
            found[index] = f"duplicate of {rows[same].key}"
            continue
        by_key[rows[index].key] = index
        for word in words:
            if len(by_hash[word]) < LARGEST_GROUP:
                by_hash[word].append(index)
    return found


def _alike(one: ClipReport, other: ClipReport) -> bool:
    different = total = 0
    for first, second in zip(one.fingerprint, other.fingerprint, strict=True):
        if bool(first) != bool(second):
            return False
        if first:
            different += (int(first, 16) ^ int(second, 16)).bit_count()
            total += 64
    apart = np.abs(np.subtract(one.loudness, other.loudness)).mean()
    return different <= LARGEST_DIFFERENCE * total and bool(apart <= LOUDNESS_DB)
