"""A cue accepts exactly the values that its fields allow, and stores plain Python numbers."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from foleyflow.cues.cue import KINDS, LARGEST_SEED, Cue
from foleyflow.errors import ConfigError

LIMITS = [
    ("level_db", -60.0, 12.0),
    ("pitch_hz", 20.0, 20_000.0),
    ("decay_s", 0.005, 20.0),
    ("pan", -1.0, 1.0),
    ("confidence", 0.0, 1.0),
]


@pytest.mark.parametrize(("field", "low", "high"), LIMITS)
def test_limits_are_included_and_the_next_numbers_are_refused(field, low, high):
    for value in (low, high):
        assert getattr(Cue(time_s=0.0, **{field: value}), field) == value
    for value in (np.nextafter(low, -np.inf), np.nextafter(high, np.inf)):
        with pytest.raises(ConfigError, match=rf"^{field}={re.escape(str(value))}: expected "):
            Cue(time_s=0.0, **{field: value})


def test_seeds_fill_63_bits():
    assert Cue(time_s=0.0, seed=LARGEST_SEED).seed == 2**63 - 1
    for seed in (-1, 2**63):
        with pytest.raises(ConfigError, match=rf"^seed={seed}: expected 0..9223372036854775807$"):
            Cue(time_s=0.0, seed=seed)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time_s": None}, "time_s=None: expected a number"),
        ({"time_s": "1.5"}, "time_s='1.5': expected a number"),
        ({"time_s": True}, "time_s=True: expected a number"),
        ({"time_s": float("nan")}, "time_s=nan: expected a finite number"),
        ({"time_s": 10**400}, "time_s=inf: expected a finite number"),
        ({"kind": "bang"}, "kind='bang': expected one of hit, roll, scrape"),
        ({"kind": None}, "kind=None: expected one of hit, roll, scrape"),
        ({"end_s": 2.0}, "end_s=2.0: expected no end, because the cue is a hit"),
        ({"kind": "roll"}, "end_s=None: expected an end, because the cue is a roll"),
        ({"kind": "roll", "end_s": 1.0}, "end_s=1.0: expected a time after time_s=1.0"),
        ({"level_db": 13}, "level_db=13.0: expected -60..12 dB"),
        ({"pitch_hz": np.float32(8)}, "pitch_hz=8.0: expected 20..20000 Hz"),
        (
            {"level_curve_db": (-3.0, -6.0)},
            "level_curve_db=(-3.0, -6.0): expected no curve, because the cue is a hit",
        ),
        (
            {"kind": "roll", "end_s": 2, "level_curve_db": (-3.0,)},
            "level_curve_db=(-3.0,): expected at least two levels",
        ),
        (
            {"kind": "roll", "end_s": 2, "level_curve_db": (-3.0, -61)},
            "level_curve_db: level -61.0: expected -60..12 dB",
        ),
        (
            {"kind": "roll", "end_s": 2, "level_curve_db": "-3 -6"},
            "level_curve_db='-3 -6': expected a list of numbers",
        ),
        ({"material": 3}, "material=3: expected a name"),
        (
            {"striker": " wood"},
            "striker=' wood': expected a name of printable characters without spaces at its ends",
        ),
        (
            {"material": "a\nb"},
            "material='a\\nb': expected a name of printable characters without spaces at its ends",
        ),
        ({"seed": 1.0}, "seed=1.0: expected an integer"),
        ({"enabled": 1}, "enabled=1: expected true or false"),
    ],
)
def test_an_error_names_the_field_the_value_and_what_was_expected(fields, message):
    with pytest.raises(ConfigError) as caught:
        Cue(**{"time_s": 1.0, **fields})
    assert str(caught.value) == message
    assert caught.value.hint


def test_long_values_are_shortened_in_errors():
    with pytest.raises(ConfigError) as caught:
        Cue(time_s="x" * 100_000)
    assert len(str(caught.value)) < 100


def test_numpy_numbers_become_python_numbers():
    cue = Cue(
        time_s=np.float32(0.5),
        kind="roll",
        end_s=np.int64(2),
        level_curve_db=np.array([-3.0, -6.0]),
        seed=np.int64(7),
        enabled=np.bool_(False),
    )
    plain = Cue(
        time_s=0.5, kind="roll", end_s=2.0, level_curve_db=(-3.0, -6.0), seed=7, enabled=False
    )
    assert cue == plain and repr(cue) == repr(plain) and hash(cue) == hash(plain)


def test_a_cue_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cue(time_s=1.0).time_s = 2.0


def test_kinds():
    assert KINDS == ("hit", "roll", "scrape")
