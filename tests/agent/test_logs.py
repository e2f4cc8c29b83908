"""What the command prints: shipped once, bounded, and its tail."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest

from agent.daemon_kit import until
from agent.scratch_kit import Slow
from outlast_agent import layout, logs
from outlast_agent.logs import LogShipper, tail
from outlast_agent.teller import Teller

JOB = "digits"


def shipped(store, attempt=1):
    return b"".join(store.read(entry.key) for entry in store.list(layout.logs(JOB, attempt)))


def test_logs_are_shipped_every_byte_once_over_restarts(store, context, tmp_path):
    path = tmp_path / "work.log"
    first = LogShipper(context, 1, path)
    path.write_bytes(b"one\n")
    until(lambda: shipped(store) == b"one\n")
    assert first.finish(5)
    with path.open("ab") as file:
        file.write(b"two\n")
    second = LogShipper(context, 1, path)
    assert second.finish(5)
    assert shipped(store) == b"one\ntwo\n"
    assert len(list(store.list(layout.logs(JOB, 1)))) == 2


@pytest.fixture
def small(monkeypatch):
    """Bounds that a test can reach."""
    for name, value in {"HEAD_BYTES": 3000, "CHUNK_BYTES": 1000, "LAST_BYTES": 500}.items():
        monkeypatch.setattr(logs, name, value)
    monkeypatch.setattr(logs, "LATER_BYTES", 200)
    monkeypatch.setattr(logs, "LATER_SECONDS", 0.05)


LEFT_OUT = re.compile(rb"\noutlast: ([0-9,]+) bytes of the log are left out here\n")


def lines(begin, end):
    return b"".join(b"line %d\n" % n for n in range(begin, end))


def settled(data):
    """What was shipped, and how long the log is that it tells of."""
    kept, left_out = LEFT_OUT.sub(b"", data), LEFT_OUT.findall(data)
    return kept, len(kept) + sum(int(each.replace(b",", b"")) for each in left_out)


def test_of_a_flood_the_head_and_the_end_are_shipped(store, context, tmp_path, small):
    path, flood = tmp_path / "work.log", lines(0, 2000)
    path.write_bytes(flood)
    shipper = LogShipper(context, 1, path)
    assert shipper.finish(5)
    data = shipped(store)
    assert data.startswith(flood[:3000])
    assert settled(data)[1] == len(flood)
    end = LEFT_OUT.split(data)[-1]
    assert end.startswith(b"line ")
    assert end.endswith(b"line 1998\nline 1999\n")
    assert len(data) < 4000
    assert shipper.missing == 0


def test_behind_the_head_it_goes_on_with_parts_over_restarts(store, context, tmp_path, small):
    path, length = tmp_path / "work.log", 0
    for begin in range(0, 4000, 1000):
        shipper = LogShipper(context, 1, path)
        with path.open("ab") as file:
            file.write(lines(begin, begin + 1000))
        length = path.stat().st_size
        if begin == 2000:
            until(lambda: shipped(store).endswith(b"line 2999\n"))  # while it runs
        shipper.finish(5)
        shipper.close()
    kept, told = settled(shipped(store))
    assert told == length
    found = kept[3000:].splitlines()
    assert len(set(found)) == len(found)
    assert found[-1] == b"line 3999"


def test_killed_between_the_note_and_the_chunk_nothing_is_twice(store, context, tmp_path, small):
    path = tmp_path / "work.log"
    path.write_bytes(lines(0, 1000))
    first = LogShipper(context, 1, path)
    assert first.finish(5)
    last = max(entry.key for entry in store.list(layout.logs(JOB, 1)))
    store.delete(last)  # as if the daemon had died before it was sent
    second = LogShipper(context, 1, path)
    assert second.finish(5)
    kept, told = settled(shipped(store))
    assert told == path.stat().st_size
    assert kept.endswith(b"line 999\n")


def test_with_a_slow_store_the_end_goes_before_the_middle(store, context, tmp_path, small):
    class Sluggish(Slow):
        def create(self, key, data):
            self.pause.wait(0.3)
            super().create(key, data)

    path = tmp_path / "work.log"
    path.write_bytes(lines(0, 400))
    shipper = LogShipper(dataclasses.replace(context, store=Sluggish(store)), 1, path)
    assert shipper.finish(0.5) or shipper.finish(5)
    data = shipped(store)
    assert len(list(store.list(layout.logs(JOB, 1)))) < 4
    assert data.endswith(b"line 399\n")
    assert settled(data)[1] == path.stat().st_size


def test_a_log_that_was_late_may_be_finished_later(store, context, tmp_path):
    slow = Slow(store)
    slow.away = True
    path = tmp_path / "work.log"
    path.write_bytes(b"the last words\n")
    shipper = LogShipper(dataclasses.replace(context, store=slow), 1, path)
    assert not shipper.finish(0.1)
    assert shipper.missing == 15
    slow.away = False
    context.hurry.set()
    assert shipper.finish(10)
    assert shipped(store) == b"the last words\n"


def test_the_log_on_the_machine_is_bounded(store, context, tmp_path, monkeypatch):
    mib = 1 << 20
    monkeypatch.setattr(logs, "HEAD_BYTES", mib)
    monkeypatch.setattr(logs, "KEPT_BYTES", mib)
    path = tmp_path / "work.log"
    text = lines(0, 2_000_000)
    with path.open("ab", buffering=0) as command:
        logs.bound(path)
        for begin in range(0, len(text), mib):
            command.write(text[begin : begin + mib])
            logs.bound(path)
            assert path.stat().st_blocks * 512 <= 4.1 * mib
        assert path.stat().st_size == len(text)
        command.write(b"and on\n")
    data = path.read_bytes()
    assert data[:mib] == text[:mib]
    assert data[-mib + 7 :] == text[-mib + 7 + 7 :] + b"and on\n"
    assert tail(path)[-1] == "and on"
    LogShipper(context, 1, path).finish(20)
    kept, told = settled(shipped(store))
    assert b"\0" not in kept
    assert told == len(text) + 7
    logs.bound(tmp_path / "not there")


def test_logs_go_on_where_a_chunk_is_missing(store, context, tmp_path):
    store.create(layout.log(JOB, 1, 1), b"old")
    path = tmp_path / "work.log"
    path.write_bytes(b"oldnew")
    shipper = LogShipper(context, 1, path)
    assert shipper.finish(5)
    assert store.read(layout.log(JOB, 1, 2)) == b"new"


def test_the_tail(tmp_path):
    path = tmp_path / "work.log"
    assert tail(path) == ()
    path.write_text("".join(f"line {n}\n" for n in range(20_000)))
    assert len(tail(path)) == 50
    assert tail(path)[-1] == "line 19999"
    path.write_bytes(b"\xff\xfe" + b"y" * 100_000)
    assert len(tail(path)) == 1
    assert len(tail(path)[0]) <= 2000


def test_an_end_waits_for_no_hanging_request(store, context, tmp_path):
    """Neither the record of an attempt's end nor the machine's own: under a notice both count."""

    class Hanging(Slow):
        def create(self, key, data):
            self.pause.wait(60)

    hanging = Hanging(store)
    context = dataclasses.replace(context, store=hanging)
    path = tmp_path / "work.log"
    path.write_bytes(b"hello\n")
    shipper, teller = LogShipper(context, 1, path), Teller(context)
    teller.tell("kind", "text")
    begun = time.monotonic()
    assert not shipper.finish(0.2)
    shipper.close()
    teller.close(0.2)
    assert time.monotonic() - begun < 5
    hanging.pause.set()
