"""What an engine sends, told once."""

from __future__ import annotations

from outlast_agent.runtimes import docker_log
from outlast_agent.runtimes.docker_log import once


def line(number: int, text: str = "x") -> bytes:
    return b"2026-11-21T09:20:35.%09dZ %s\n" % (number, text.encode())


def test_what_the_engine_sends_again_is_passed_over() -> None:
    sent = [line(n) for n in range(10)]
    assert list(once([*sent, *sent[6:], line(10)])) == [*sent, line(10)]


def test_the_same_words_at_another_moment_and_late_ones_are_kept() -> None:
    sent = [line(1), line(2), line(4), line(3), line(4, "y")]
    assert list(once(sent)) == sent


def test_the_parts_of_a_long_line_are_kept_though_they_are_alike() -> None:
    sent = [line(1), line(2)[:-1], line(2)[:-1], line(2), line(3)]
    assert list(once([*sent, *sent, line(4)])) == [*sent, line(4)]


def test_what_is_remembered_is_bounded(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(docker_log, "RECENT_LINES", 3)
    sent = [line(n) for n in range(10)]
    assert list(once([*sent, *sent[7:], sent[0]])) == [*sent, sent[0]]


def test_only_the_last_line_comes_again():
    sent = [line(n) for n in range(3)]
    assert list(once([*sent, sent[-1], line(3)])) == [*sent, line(3)]
