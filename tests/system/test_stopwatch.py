"""Times are added to the part that they were spent in."""

import itertools

from foleyflow.system.stopwatch import Stopwatch


def ticking() -> Stopwatch:
    """A stopwatch whose clock advances by one second at each reading."""
    return Stopwatch(clock=map(float, itertools.count()).__next__)


def test_measured_blocks_add_up():
    stopwatch = ticking()
    for part in ("a", "b", "a"):
        with stopwatch.measure(part):
            pass
    assert stopwatch.seconds == {"a": 2.0, "b": 1.0}


def test_laps_cover_the_time_since_the_start():
    stopwatch = ticking()
    stopwatch.start()
    stopwatch.lap("a")
    stopwatch.lap("b")
    assert stopwatch.seconds == {"a": 1.0, "b": 1.0}


def test_only_the_production_of_items_is_timed():
    stopwatch = ticking()
    items = []
    for item in stopwatch.timed("source", "xyz"):
        stopwatch.clock()
        items.append(item)
    assert items == ["x", "y", "z"]
    assert stopwatch.seconds == {"source": 4.0}  # three items and the end
