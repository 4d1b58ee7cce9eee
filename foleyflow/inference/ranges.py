"""Checks of a stretch of a result that is to be generated again, and the seed for it."""

from __future__ import annotations

from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import ConfigError
from foleyflow.inference.result import Generated
from foleyflow.inference.stretches import Stretch, changed_cues

SHORTEST_RANGE_S = 0.05
LONGEST_RANGE_S = 300.0  # its sound is in memory
ROUNDING_S = 1e-3  # by which the end may be after the end of the clip: as printed with 3 digits


def check_range(
    result: Generated, start_s: float, end_s: float, *, seed: int, cues: CueSheet
) -> Stretch:
    """The stretch from `start_s` to `end_s`, cut to the clip.

    Args:
        result: in which the stretch is replaced.
        start_s, end_s: seconds from the start of the clip.
        seed: of the stretch.
        cues: of the new sound.

    Raises:
        ConfigError: the range is not within the clip, too short or too long, the seed is negative,
            or cues outside the range differ.
    """
    stretch = check_limits(start_s, end_s, duration_s=result.info.duration_s)
    if seed < 0:
        raise ConfigError(f"seed={seed}: expected 0 or more", hint="leave it out for a new one")
    for cue in changed_cues(result.cues, cues, with_pan=result.channels == 2):
        last_s = cue.time_s if cue.end_s is None else cue.end_s
        if cue.time_s < stretch.start_s or last_s > stretch.end_s:
            raise ConfigError(
                f"range {start_s:g} s to {end_s:g} s: the cues differ outside it ({cue.kind} at "
                f"{cue.time_s:g} s)",
                hint="widen the range, or edit only cues within it",
            )
    return stretch


def check_limits(start_s: float, end_s: float, *, duration_s: float) -> Stretch:
    """The stretch from `start_s` to `end_s`, cut to a clip of `duration_s`.

    Raises:
        ConfigError: the range is not within the clip, too short or too long.
    """
    given = f"range {start_s:g} s to {end_s:g} s"
    if not 0 <= start_s < end_s <= duration_s + ROUNDING_S:
        raise ConfigError(
            f"{given}: expected a start before the end, both within the clip, 0 to "
            f"{duration_s:.3f} s",
            hint="times are seconds from the first frame",
        )
    end_s = min(end_s, duration_s)
    shortest_s = min(SHORTEST_RANGE_S, duration_s)
    if not shortest_s - 1e-9 <= end_s - start_s <= LONGEST_RANGE_S:
        raise ConfigError(
            f"{given}: expected {SHORTEST_RANGE_S:g} s to {LONGEST_RANGE_S:g} s of sound",
            hint="generate the complete sound with another seed instead of a long range",
        )
    return Stretch(start_s=start_s, end_s=end_s)


def unused_seed(result: Generated) -> int:
    """The seed after the largest one of the result and of its ranges."""
    seeds = [edit.seed for edit in result.edits if edit.seed is not None]
    return max([int(str(result.settings["seed"])), *seeds]) + 1
