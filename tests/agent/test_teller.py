"""Events: in order, and nobody waits for them."""

from __future__ import annotations

import re
import time

from agent.daemon_kit import until
from agent.scratch_kit import Slow
from outlast_agent import layout, records
from outlast_agent.context import Context
from outlast_agent.teller import Teller

JOB = "digits"


def test_events_reach_the_store_in_order(store, context):
    teller = Teller(context)
    for number in range(5):
        teller.tell("test", f"number {number}", data={"n": number})
    teller.close(5)
    found = [
        records.load(records.Event, store.read(entry.key), key=entry.key)
        for entry in store.list(layout.events(JOB))
    ]
    assert [event.text for event in found] == [f"number {n}" for n in range(5)]


def test_a_store_that_is_away_does_not_hold_the_teller(context, store):
    slow = Slow(store)
    slow.away = True
    teller = Teller(Context(**{**context.__dict__, "store": slow}))
    began = time.monotonic()
    for number in range(3000):
        teller.tell("test", f"number {number}")
    teller.flush(0.1)
    teller.close(0.3)
    assert time.monotonic() - began < 5


def test_what_was_dropped_meanwhile_is_told_when_the_store_is_back(context, store):
    slow = Slow(store)
    slow.away = True
    teller = Teller(Context(**{**context.__dict__, "store": slow}))
    for number in range(1010):
        teller.tell("test", f"number {number}")
    slow.away = False
    context.hurry.set()
    until(lambda: any("events-lost" in text for text in told(store)), 30)
    (line,) = [text for text in told(store) if "events-lost" in text]
    assert re.search(r"\b(9|10) events are lost", line)
    teller.flush(30)
    assert sum("number" in text for text in told(store)) >= 1000


def told(store):
    return [store.read(entry.key).decode() for entry in store.list(layout.events(JOB))]
