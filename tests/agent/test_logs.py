"""What the command prints: shipped once, bounded, and its tail."""

from __future__ import annotations

import dataclasses
import time

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
    first.close(5)
    with path.open("ab") as file:
        file.write(b"two\n")
    second = LogShipper(context, 1, path)
    second.close(5)
    assert shipped(store) == b"one\ntwo\n"
    assert len(list(store.list(layout.logs(JOB, 1)))) == 2


def test_logs_are_bounded(store, context, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "MAX_BYTES", 3000)
    monkeypatch.setattr(logs, "CHUNK_BYTES", 1000)
    path = tmp_path / "work.log"
    path.write_bytes(b"x" * 10_000)
    shipper = LogShipper(context, 1, path)
    shipper.close(5)
    assert shipped(store).endswith(b"the rest is not kept\n")
    assert len(shipped(store)) < 3200


def test_logs_go_on_where_a_chunk_is_missing(store, context, tmp_path):
    store.create(layout.log(JOB, 1, 1), b"old")
    path = tmp_path / "work.log"
    path.write_bytes(b"oldnew")
    shipper = LogShipper(context, 1, path)
    shipper.close(5)
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
    shipper.close(0.2)
    teller.close(0.2)
    assert time.monotonic() - begun < 5
    hanging.pause.set()
