from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast_provisioning.units import (
    duration_text,
    for_people,
    parse_duration,
    parse_duration_or_auto,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("16GiB", 16 << 30), ("500MB", 500_000_000), ("1.5 KiB", 1536), ("7B", 7), ("1kB", 1000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "wrong", ["16", 16, "16 gigs", "-1GiB", "0B", "", None, "1e3MB", "9999999TiB"]
)
def test_sizes_that_are_none(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"16GiB|at least"):
        parse_size(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("10 min", 600), ("12h", 43200), ("7d", 604800)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("wrong", ["30", 30, "0s", "-3s", "week", "1w", "99999999d", True])
def test_durations_that_are_none(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"30s|at least"):
        parse_duration(wrong)


def test_auto() -> None:
    assert parse_duration_or_auto("auto") is None
    with pytest.raises(ValueError, match="write auto, or a number and a unit"):
        parse_duration_or_auto("often")


@given(st.one_of(st.none(), st.floats(0.001, 1e8)))
def test_a_duration_survives_being_stored(seconds: float | None) -> None:
    assert parse_duration_or_auto(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.25, "0.2 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (522000, "6 d 1 h"),
    ],
)
def test_for_people(seconds: float | None, text: str) -> None:
    assert for_people(seconds) == text
