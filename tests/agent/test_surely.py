"""Store operations that are tried until they are done."""

from __future__ import annotations

import io
import json
import threading

import pytest

from agent.scratch_kit import Slow
from outlast_agent import surely as waiting
from outlast_agent.board import Board
from outlast_agent.journal import open_journal
from outlast_agent.stores.base import AlreadyExistsError, RefusedError, UnavailableError
from outlast_agent.surely import StoppedError, Surely


def test_tried_until_it_works_and_shown_meanwhile():
    board, stream = Board(), io.StringIO()
    surely = Surely(board, open_journal(stream), "upload", threading.Event())
    answers = [UnavailableError("away"), RefusedError("no role yet"), "done"]
    shown = []

    def call():
        shown.append(board.text())
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert surely.do(call) == "done"
    assert shown == ["", "upload: away", "upload: no role yet"]
    assert board.text() == ""
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "upload waits for the store", "upload waits for the store", "upload goes on",
    ]  # fmt: skip


def test_one_read_with_wrong_bytes_does_not_make_it_somebody_elses(store):
    surely = Surely(Board(), open_journal(), "upload", threading.Event())

    class Spoilt(Slow):
        reads = 0

        def read(self, key, *, limit=64 << 20):
            self.reads += 1
            data = super().read(key, limit=limit)
            return b"?" + data[1:] if self.reads == 1 else data

    store.create("a/manifest", b"mine")
    assert surely.create(Spoilt(store), "a/manifest", b"mine")


def test_a_create_is_settled_by_reading_it_back(store):
    surely = Surely(Board(), open_journal(), "claim", threading.Event())

    class Lost(Slow):
        """Stores it, and loses the answer."""

        lost = 0

        def create(self, key, data):
            super().create(key, data)
            self.lost += 1
            if self.lost == 1:
                raise UnavailableError("no answer")

    assert surely.create(Lost(store), "a/claim", b"nonce 1")
    assert not surely.create(store, "a/claim", b"nonce 2")
    with pytest.raises(AlreadyExistsError):
        surely.do(lambda: store.create("a/claim", b"nonce 3"))


def test_what_is_said_to_exist_and_is_not_there_is_created_again(store):
    surely = Surely(Board(), open_journal(), "upload", threading.Event())

    class Lying(Slow):
        tries = 0

        def create(self, key, data):
            self.tries += 1
            if self.tries == 1:
                raise AlreadyExistsError(key)
            super().create(key, data)

    assert surely.create(Lying(store), "a/manifest", b"mine")
    assert store.read("a/manifest") == b"mine"


def test_a_wait_is_broken_off(store):
    stop = threading.Event()
    surely = Surely(Board(), open_journal(), "claim", stop)
    slow = Slow(store)
    slow.away = True
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(StoppedError):
        surely.create(slow, "a", b"b")


def test_a_notice_makes_a_long_wait_short(monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_DELAY", 600.0)
    hurry, tries = threading.Event(), []

    def call():
        tries.append(1)
        if len(tries) == 1:
            raise UnavailableError("full")
        return "done"

    threading.Timer(0.2, hurry.set).start()
    assert Surely(Board(), open_journal(), "notice", threading.Event(), hurry).do(call) == "done"
