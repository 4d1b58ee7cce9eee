"""A generated sound is silent where no cue sounds."""

import numpy as np
import pytest

from foleyflow.cues.cue import Cue
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.silence import FADE_IN_S, TAIL_S, silence_between, sounding_stretches

RATE_HZ = 1000
WOOD = Cue(time_s=1.0, material="wood", decay_s=0.6)  # rings for 0.4 s
SHEET = CueSheet(
    cues=(
        Cue(time_s=0.0, material="stone"),  # rings for 0.1 s
        WOOD,
        Cue(time_s=1.3, decay_s=0.6),
        Cue(time_s=3.0, enabled=False),
    ),
    duration_s=4.0,
)


def test_stretches_last_from_50_ms_before_a_cue_to_the_end_of_its_tail_and_are_joined():
    spans = [(each.start_s, each.end_s) for each in sounding_stretches(SHEET)]
    assert spans == [pytest.approx((-0.05, 0.4)), pytest.approx((0.95, 2.0))]


@pytest.mark.parametrize("sizes", [(4000,), (1, 999, 1500, 1500)])
def test_samples_outside_of_the_stretches_are_zero_and_those_inside_stay(sizes):
    ones = np.ones(4000, np.float32)
    blocks = np.split(ones, np.cumsum(sizes)[:-1])
    gain = np.concatenate(list(silence_between(blocks, SHEET, rate_hz=RATE_HZ)))
    fade_in, tail = round(FADE_IN_S * RATE_HZ), round(TAIL_S * RATE_HZ)
    assert (gain[: 400 - tail] == 1).all()  # the fade-in is before the clip
    assert (gain[401:950] == 0).all() and (gain[2001:] == 0).all()
    assert (gain[951 + fade_in : 2000 - tail] == 1).all()
    assert (np.diff(gain[950 : 950 + fade_in]) > 0).all()
    assert (np.diff(gain[2000 - tail : 2000]) < 0).all()


def test_a_piece_of_a_clip_gets_the_gain_of_its_place():
    ones = np.ones(4000, np.float32)
    (whole,) = silence_between([ones], SHEET, rate_hz=RATE_HZ)
    (piece,) = silence_between([ones[900:1500]], SHEET, rate_hz=RATE_HZ, first_sample=900)
    assert np.array_equal(piece, whole[900:1500])


def test_without_enabled_cues_there_is_silence():
    (silent,) = silence_between([np.ones(8, np.float32)], CueSheet(duration_s=1.0), rate_hz=8)
    assert not silent.any()
