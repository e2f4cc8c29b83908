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
)

GB = 10**9
NOTICE = 30.0


def disk(rate=None):
    return Place("disk", Path("/"), 0), rate


def local(rate=None, free=1000 * GB):
    return Place("local", Path(f"/mnt/{rate}/{free}"), free), rate


def memory(free):
    return Place("ram", Path("/dev/shm"), free), None


def chosen_of(wanted, measured, size):
    """What is chosen; a disk without a rate is not to be measured."""

    def rate(place):
        found = dict(measured)[place]
        assert found is not None, f"{place} was measured for nothing"
        return found

    return choose(wanted, [place for place, _ in measured], size, NOTICE, rate)


@pytest.mark.parametrize(
    ("wanted", "places", "size", "kind"),
    [
        # A slow OS disk: 1.2 GB need 12 s of 30.
        ("auto", [disk(0.1 * GB), memory(64 * GB)], int(1.2 * GB), "ram"),
        ("auto", [disk(), memory(16 * GB)], int(1.2 * GB), "disk"),
        ("auto", [disk(1.0 * GB), memory(64 * GB)], int(1.2 * GB), "disk"),
        ("auto", [disk(0.1 * GB), local(2.0 * GB), memory(64 * GB)], int(1.2 * GB), "local"),
        ("auto", [disk(), local(free=GB)], int(1.2 * GB), "disk"),
        ("auto", [disk(0.1 * GB), local(0.2 * GB), memory(64 * GB)], int(1.2 * GB), "ram"),
        ("auto", [disk(0.1 * GB), local(0.2 * GB), memory(64 * GB)], None, "local"),
        ("auto", [disk(), local(), memory(64 * GB)], 10**6, "disk"),
        ("auto", [disk(), memory(GB)], None, "disk"),
        ("disk", [disk(), local(), memory(64 * GB)], 10**9, "disk"),
        ("local", [disk(), local()], None, "local"),
        ("ram", [disk(), memory(16 * GB)], int(1.2 * GB), "ram"),
        ("ram", [disk(), memory(GB)], None, "ram"),
    ],
)
def test_the_place(wanted, places, size, kind):
    chosen = chosen_of(wanted, places, size)
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
    chosen = chosen_of(wanted, places, size)
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
    chosen = chosen_of(wanted, places, size)
    place = chosen.place
    assert place in dict(places)
    assert wanted in {"auto", place.kind} or not chosen.as_wanted
    if place.kind == "ram":
        share = WANTED_MEMORY_SHARE if wanted == "ram" else MEMORY_SHARE
        assert COPIES * (size or 0) <= share * place.free
    if place.kind == "local":
        assert place.free >= COPIES * (size or 0)
