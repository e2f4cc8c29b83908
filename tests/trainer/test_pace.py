"""How fast a save is written."""

from __future__ import annotations

from outlast.pace import Pace


class Clock:
    """Work and rest pass only as told."""

    def __init__(self) -> None:
        self.worked, self.now = 0.0, 0.0

    def work(self, seconds: float) -> None:
        self.worked += seconds
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def pace(self) -> Pace:
        return Pace(worked=lambda: self.worked, now=lambda: self.now, sleep=self.sleep)


def saved(clock: Clock, pace: Pace, pieces: int = 10) -> float:
    began = clock.now
    for _ in range(pieces):
        clock.work(0.1)
        pace.rest()
    return clock.now - began


def test_a_save_takes_as_long_as_it_may() -> None:
    clock = Clock()
    pace = clock.pace()
    pace.begin(spread=3.0, expected=1.0)
    assert round(saved(clock, pace), 6) == 3.0
    assert round(pace.rested, 6) == 2.0


def test_it_does_not_rest_longer_because_there_is_more_to_write_than_was_expected() -> None:
    clock = Clock()
    pace = clock.pace()
    pace.begin(spread=3.0, expected=0.01)
    assert round(saved(clock, pace), 6) == 1.0 + 2.99


def test_no_rest_where_there_is_no_time_or_it_is_hurried() -> None:
    clock = Clock()
    pace = clock.pace()
    pace.begin(spread=0.5, expected=1.0)
    assert round(saved(clock, pace), 6) == 1.0
    pace.begin(spread=5.0, expected=1.0)
    pace.hurry()
    assert round(saved(clock, pace), 6) == 1.0
    pace.begin(spread=5.0, expected=1.0)  # the next one rests again
    assert round(saved(clock, pace), 6) == 5.0


def test_a_rest_ends_when_it_is_hurried() -> None:
    clock = Clock()
    pace = clock.pace()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now > 0.2:
            pace.hurry()

    pace._sleep = sleep
    pace.begin(spread=100.0, expected=1.0)
    assert saved(clock, pace) < 1.2
