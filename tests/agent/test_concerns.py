"""What a person is told of while it lasts: nothing durable for too long, too short a notice."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agent.scratch_kit import JOB, Slow
from outlast.manifest import CheckpointId
from outlast.progress import Note, Progress
from outlast_agent import layout
from outlast_agent.budget import Candidate
from outlast_agent.concerns import Concerns, Facts, late
from outlast_agent.outlook import Outlook
from outlast_agent.stores.base import UnavailableError
from outlast_agent.stores.file import FileStore
from outlast_agent.sync.link import Link

MB = 10**6


def outlook(step=9, waiting=0, rate=None, size=0, **said):
    progress = Progress(step, "training", **said)
    candidates = (Candidate(CheckpointId(1, step), waiting),) if waiting else ()
    return Outlook(1, progress, size, candidates, rate=rate)


@pytest.mark.parametrize(("interval", "now", "step", "told"), [
    (0.0, 599.0, 9, False), (0.0, 601.0, 9, True),
    (400.0, 1199.0, 9, False), (400.0, 1201.0, 9, True),
    (0.0, 5000.0, 4, False),  # nothing was done since
])  # fmt: skip
def test_it_is_late_after_three_intervals_and_ten_minutes(interval, now, step, told):
    assert (late(Facts(0.0, 4, interval), outlook(step), now) is not None) == told


@pytest.mark.parametrize(("facts", "seen", "why"), [
    (Facts(0.0, None, 0.0, waits="403"), outlook(), "waits for the store: 403"),
    (Facts(0.0, 4, 0.0, failed="disk full"), outlook(), "saves fail: disk full"),
    (Facts(0.0, 4, 0.0), outlook(waiting=900 * MB, rate=1e6), "900 MB are left, about 1170 s"),
    (Facts(0.0, 4, 0.0), outlook(saving_step=9), "save of step 9 is still being written"),
    (Facts(0.0, 4, 0.0), outlook(), "saved nothing newer, and is in training at step 9"),
])  # fmt: skip
def test_the_reason_is_told(facts, seen, why):
    text = late(facts, seen, 660.0)
    assert text.startswith("nothing was made durable for 11 min: ")
    assert why in text
    assert text.endswith("from the beginning" if facts.durable_step is None else "from step 4")


def test_it_is_told_once_in_a_spell_and_when_it_is_over():
    told = []
    teller = SimpleNamespace(tell=lambda kind, text, **_: told.append(kind))
    concerns = Concerns(teller, 1, grace=30.0)
    concerns.heard(Note("error", "scratch-full", "no room"), outlook(saved_step=4).progress)
    for now in (0.0, 700.0, 800.0):
        why = concerns.failed(outlook(saved_step=4).progress)
        concerns.look(Facts(0.0, 4, 0.0, failed=why), outlook(), now)
    assert told == ["not-durable"]
    assert "no room" in concerns.lines()[0]
    assert concerns.failed(outlook(saved_step=8).progress) == ""
    concerns.look(Facts(790.0, 8, 0.0), outlook(), 801.0)
    assert (told, concerns.lines()) == (["not-durable", "durable-again"], ())
    concerns.look(Facts(790.0, 8, 0.0), outlook(), 1500.0)
    assert told[2:] == ["not-durable"]


def test_that_the_notice_is_too_short_is_told_once_and_shown_while_it_is():
    told = []
    teller = SimpleNamespace(tell=lambda kind, text, **_: told.append(kind))
    concerns = Concerns(teller, 1, grace=8.0)
    concerns.fits(0, 1e6)  # how much a save is, nobody knows yet
    concerns.fits(10 * MB, None)
    assert concerns.lines() == ()
    concerns.fits(10 * MB, 1e6)
    concerns.look(Facts(0.0, 1, 0.0), outlook(size=10 * MB, rate=1e6), 1.0)
    assert "the notice here is 8 s" in concerns.lines()[0]
    concerns.look(Facts(0.0, 1, 0.0), outlook(size=10 * MB, rate=1e8), 2.0)
    assert (told, concerns.lines()) == (["notice-too-short"], ())


def test_a_link_is_measured_and_nothing_left(tmp_path):
    link, store = Link(), FileStore(tmp_path / "store")
    left = layout.link_probe(JOB, 7) + "0"
    store.put(left, b"of a machine that was lost")
    link.measure(store, layout.link_probe(JOB, 1), within=layout.link_probes(JOB))
    assert link.rate > 1e5
    assert list(store.list("")) == []


def test_a_store_that_fails_is_not_measured(tmp_path):
    class Away(Slow):
        def put(self, key, data):
            raise UnavailableError("away")

    link = Link()
    link.measure(Away(FileStore(tmp_path / "store")), "p/", within="p/")
    assert link.rate is None
