"""Find clips that show and sound the same as another clip of the list.

Videos are uploaded repeatedly: such a clip in the test split would also be in the training split.
Frames are compared by hashes of 64 bits, a few for each clip; clips that share a hash are compared
in detail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from foleyflow.data.build.examination import ClipReport
from foleyflow.data.build.listing import ListedClip

LARGEST_DIFFERENCE = 0.08  # fraction of the hashes' bits
LOUDNESS_DB = 1.5  # mean difference of loudness over the clip
LARGEST_GROUP = 256  # clips that share a hash: a more common picture is no evidence


def duplicates(
    rows: Sequence[ListedClip], reports: Sequence[ClipReport], *, keep_test: bool = False
) -> dict[int, str]:
    """Find clips that repeat another one: index -> reason, "duplicate of KEY".

    Test and validation clips take precedence over training clips, whatever their place in the
    list, so that the training clip is rejected. Rows whose report has a reason are ignored.

    Args:
        rows, reports: of the same clips.
        keep_test: test clips are kept even if they repeat each other, unless the list has the same
            segment twice, and they take precedence over validation clips.
    """
    test, validation, train = (0, 1, 2) if keep_test else (0, 0, 1)
    rank = {"test": test, "validation": validation, "train": train}
    order = sorted(
        (index for index, report in enumerate(reports) if not report.reason),
        key=lambda index: (rank[rows[index].split], index),
    )
    by_hash: dict[tuple[int, str], list[int]] = defaultdict(list)
    by_key: dict[str, int] = {}
    found: dict[int, str] = {}
    for index in order:
        report = reports[index]
        words = [(place, word) for place, word in enumerate(report.fingerprint) if word]
        candidates = {other for word in words for other in by_hash[word]}
        same = by_key.get(rows[index].key)
        if same is None and not (keep_test and rows[index].split == "test"):
            same = next((k for k in sorted(candidates) if _is_alike(report, reports[k])), None)
        if same is not None:
            found[index] = f"duplicate of {rows[same].key}"
            continue
        by_key[rows[index].key] = index
        for word in words:
            if len(by_hash[word]) < LARGEST_GROUP:
                by_hash[word].append(index)
    return found


def _is_alike(one: ClipReport, other: ClipReport) -> bool:
    different = total = 0
    for first, second in zip(one.fingerprint, other.fingerprint, strict=True):
        if bool(first) != bool(second):
            return False
        if first:
            different += (int(first, 16) ^ int(second, 16)).bit_count()
            total += 64
    difference_db = np.abs(np.subtract(one.loudness, other.loudness)).mean()
    return different <= LARGEST_DIFFERENCE * total and bool(difference_db <= LOUDNESS_DB)
