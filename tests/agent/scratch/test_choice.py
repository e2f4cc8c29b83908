"""Where scratch is: the fastest place that has room, and never memory that training needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast_agent.scratch.choice import (
    COPIES,
    MEMORY_SHARE,
    WANTED_MEMORY_SHARE,
    Place,
    choose,
    has_to_measure,
)

GB = 10**9
NOTICE = 30.0


def disk(rate=None):
    return Place("disk", Path("/"), 0, rate)


def local(rate=None, free=1000 * GB):
    return Place("local", Path("/mnt"), free, rate)


def memory(free):
    return Place("ram", Path("/dev/shm"), free)


@pytest.mark.parametrize(
    ("wanted", "places", "size", "kind"),
    [
        # A slow OS disk: 1.2 GB need 12 s of 30.
        ("auto", [disk(0.1 * GB), memory(64 * GB)], int(1.2 * GB), "ram"),
        ("auto", [disk(0.1 * GB), memory(16 * GB)], int(1.2 * GB), "disk"),
        ("auto", [disk(1.0 * GB), memory(64 * GB)], int(1.2 * GB), "disk"),
        ("auto", [disk(0.1 * GB), local(2.0 * GB), memory(64 * GB)], int(1.2 * GB), "local"),
        ("auto", [disk(0.1 * GB), local(2.0 * GB, free=GB)], int(1.2 * GB), "disk"),
        ("auto", [disk(0.1 * GB), local(0.2 * GB), memory(64 * GB)], int(1.2 * GB), "ram"),
        ("auto", [disk(0.1 * GB), local(0.2 * GB), memory(64 * GB)], None, "local"),
        ("auto", [disk(), local(), memory(64 * GB)], 10**6, "disk"),
        ("auto", [disk(), memory(GB)], None, "disk"),
        ("disk", [disk(1), local(2), memory(64 * GB)], 10**6, "disk"),
        ("local", [disk(2), local(1)], None, "local"),
        ("ram", [disk(2), memory(16 * GB)], int(1.2 * GB), "ram"),
        ("ram", [disk(2), memory(GB)], None, "ram"),
    ],
)
def test_the_place(wanted, places, size, kind):
    chosen = choose(wanted, places, size, NOTICE)
    assert chosen.place.kind == kind
    assert chosen.as_wanted


@pytest.mark.parametrize(
    ("wanted", "places", "size", "why"),
    [
        ("local", [disk(1), memory(64 * GB)], None, "no local disk"),
        ("local", [disk(1), local(2, free=GB)], GB, "no local disk"),
        ("ram", [disk(1)], None, "no room"),
        ("ram", [disk(1), memory(4 * GB)], GB, "no room"),
    ],
)
def test_what_cannot_be_had_is_said_and_a_disk_taken(wanted, places, size, why):
    chosen = choose(wanted, places, size, NOTICE)
    assert chosen.place.kind == "disk"
    assert not chosen.as_wanted
    assert why in chosen.why


RATES = st.floats(1e6, 1e10)


@given(
    wanted=st.sampled_from(["auto", "ram", "local", "disk"]),
    locals_=st.lists(st.builds(local, RATES, st.integers(0, 10**13)), max_size=3),
    free=st.none() | st.integers(0, 10**12),
    rate=RATES,
    size=st.none() | st.integers(1, 10**12),
)
def test_never_where_there_is_no_room(wanted, locals_, free, rate, size):
    places = [disk(rate), *locals_, *([] if free is None else [memory(free)])]
    chosen = choose(wanted, places, size, NOTICE)
    place = chosen.place
    assert place in places
    assert wanted in {"auto", place.kind} or not chosen.as_wanted
    if place.kind == "ram":
        share = WANTED_MEMORY_SHARE if wanted == "ram" else MEMORY_SHARE
        assert COPIES * (size or 0) <= share * place.free
    if place.kind == "local":
        assert place.free >= COPIES * (size or 0)


@given(
    wanted=st.sampled_from(["auto", "ram", "local", "disk"]),
    locals_=st.lists(st.builds(local, RATES, st.integers(0, 10**13)), max_size=3),
    free=st.none() | st.integers(0, 10**12),
    rate=RATES,
    size=st.none() | st.integers(1, 10**12),
)
def test_what_is_not_measured_would_change_nothing(wanted, locals_, free, rate, size):
    places = [disk(rate), *locals_, *([] if free is None else [memory(free)])]
    if not has_to_measure(wanted, places, size):
        unmeasured = [Place(each.kind, each.folder, each.free) for each in places]
        measured = choose(wanted, places, size, NOTICE)
        assert choose(wanted, unmeasured, size, NOTICE).place.kind == measured.place.kind
