"""How far a sound is moved where it is to be heard as out of sync, in seconds.

Shared by the training of the judge of synchrony and by the control pairs that its figures stand
beside: a judge is told of the same shifts that it is later asked about. A third of them are small,
at the edge of what people notice.
"""

from __future__ import annotations

SMALL_SHIFTS_S = (0.12, 0.32)
LARGE_SHIFTS_S = (0.32, 1.4)
SMALL_SHARE = 1 / 3
