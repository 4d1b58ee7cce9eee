"""Items computed ahead in a thread: unchanged, bounded in number, and without leftovers."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from foleyflow.parallel.prefetch import prefetch

WAIT_S = 30.0  # before a test fails


def background_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "foleyflow-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert background_threads() == []


@pytest.mark.parametrize("depth", [1, 3, 1000])
def test_items_and_order_do_not_change(depth):
    assert list(prefetch(range(200), depth=depth)) == list(range(200))
    assert list(prefetch([], depth=depth)) == []
    assert list(prefetch([None, None], depth=depth)) == [None, None]


def test_the_source_runs_in_another_thread_after_on_start():
    seen = []

    def source():
        seen.append(threading.current_thread())
        yield 1

    prepared = prefetch(source(), depth=1, on_start=lambda: seen.append("started"))
    assert seen == []  # nothing happens before the first item is taken
    assert list(prepared) == [1]
    assert seen[0] == "started" and seen[1] is not threading.current_thread()


def test_it_runs_ahead_by_at_most_the_depth():
    produced = []
    enough = threading.Event()

    def source():
        for number in range(100):
            produced.append(number)
            if len(produced) == 5:
                enough.set()
            yield number

    with closing(prefetch(source(), depth=3)) as items:
        assert next(items) == 0
        # One item is taken, three wait, and one is held until there is room.
        assert enough.wait(WAIT_S)
        threading.Event().wait(0.05)  # enough time for a further item
        assert produced == [0, 1, 2, 3, 4]
        assert [next(items) for _ in range(3)] == [1, 2, 3]


def test_an_error_arrives_after_the_items_before_it():
    def source():
        yield "first"
        raise KeyError("broken")

    items = prefetch(source(), depth=4)
    assert next(items) == "first"
    with pytest.raises(KeyError, match="broken"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_an_error_of_on_start_arrives():
    def refuse():
        raise RuntimeError("no such setting")

    with pytest.raises(RuntimeError, match="no such setting"):
        list(prefetch([1], depth=1, on_start=refuse))


def endless(closed: list[str]):
    try:
        number = 0
        while True:
            yield number
            number += 1
    finally:
        closed.append("closed")


def test_a_consumer_that_stops_ends_the_thread_and_closes_the_source():
    closed: list[str] = []
    with closing(prefetch(endless(closed), depth=2)) as items:
        assert [next(items), next(items)] == [0, 1]
        assert len(background_threads()) == 1
    assert closed == ["closed"] and background_threads() == []


def test_a_consumer_that_fails_ends_the_thread():
    closed: list[str] = []
    with (
        pytest.raises(ZeroDivisionError),
        closing(prefetch(endless(closed), depth=2)) as items,
    ):
        for number in items:
            _ = 1 // (3 - number)
    assert closed == ["closed"]


def test_nested_prefetches_end():
    closed: list[str] = []
    first = prefetch(endless(closed), depth=2)
    with closing(prefetch((2 * number for number in first), depth=2)) as second:
        assert [next(second) for _ in range(3)] == [0, 2, 4]
        assert len(background_threads()) == 2
    first.close()
    assert closed == ["closed"]


def test_an_unused_prefetch_starts_no_thread():
    closed: list[str] = []
    prefetch(endless(closed), depth=1).close()
    assert closed == [] and background_threads() == []


def test_a_depth_below_one_is_refused():
    with pytest.raises(ValueError, match="depth: got 0, expected at least 1 item"):
        next(prefetch([1], depth=0))
