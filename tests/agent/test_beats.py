"""Heartbeats: what they say, and that nothing waits for them."""

from __future__ import annotations

import queue
import time
from types import SimpleNamespace

import pytest

from agent.scratch_kit import JOB, Slow
from outlast.progress import Progress
from outlast_agent.beats import Standing, build
from outlast_agent.board import Board
from outlast_agent.context import Context
from outlast_agent.daemon import Daemon, Told
from outlast_agent.folders import Folders
from outlast_agent.journal import open_journal
from outlast_agent.lifetime import Life
from outlast_agent.outlook import Outlook
from outlast_agent.runtimes.process import ProcessRuntime
from outlast_agent.spec import JobSpec
from outlast_agent.stores.file import FileStore
from outlast_agent.watchers.base import NoWatcher


class Hanging(Slow):
    """Takes no heartbeat and no event, and does not say so."""

    def put(self, key, data):
        self.pause.wait(60)

    def create(self, key, data):
        self.pause.wait(60)


@pytest.mark.parametrize("unknown", [False, True])
def test_a_daemon_that_ends_waits_for_no_heartbeat(tmp_path, monkeypatch, unknown):
    """Told to end, the next daemon is to follow at once: a notice may be running. A machine that
    may go (here: nobody asked for it) tries to say so, within bounds."""
    store = Hanging(FileStore(tmp_path / "store"))
    spec = JobSpec(
        job=JOB, launch=1, machine="m", store=store.url, runtime="process", command=("true",)
    )
    root = tmp_path / "root"
    root.mkdir()
    context = Context(
        spec=spec, folders=Folders(root, JOB), store=store, runtime=ProcessRuntime(),
        journal=open_journal(), boot_id="b", crash=pytest.fail,
    )  # fmt: skip
    monkeypatch.setattr("outlast_agent.daemon.LAST_WORDS", 0.2)
    monkeypatch.setattr("outlast_agent.beats.LAST_SECONDS", 0.2)
    inbox = queue.Queue()
    if not unknown:
        inbox.put(Told())
    daemon = Daemon(context, NoWatcher(), Life(root / "lived.json", "b", 0.0, 0.0), inbox)
    begun = time.monotonic()
    reason = daemon.run()
    assert time.monotonic() - begun < 25  # a request hangs for 60
    assert (reason is not None) == unknown
    store.pause.set()


@pytest.mark.parametrize(("phase", "step_age"), [("training", 60.0), ("validation", None)])
def test_outside_training_no_step_is_due_but_it_says_what_lasts(phase, step_age):
    spec = JobSpec(job=JOB, launch=1, machine="m", store="", runtime="process", command=("true",))
    context = SimpleNamespace(spec=spec, boot_id="b", board=Board())
    attempt = SimpleNamespace(
        durable_step=None,
        durable_age=lambda now: None,
        concerns=SimpleNamespace(lines=lambda: ("too slow",)),
        outlook=lambda: Outlook(1, None, 0),
        parent=None,
        uploader=SimpleNamespace(every=60.0),
        progress=Progress(step=3, phase=phase, save_every=12.0),
        advanced_at=10.0,
    )
    state = SimpleNamespace(attempt=1, phase="training", notice=None)
    beat = build(context, Standing(state, attempt, "", others=False), 1, 70.0)
    assert (beat.save_every, beat.durable_every) == (12.0, 60.0)
    assert beat.concerns == ("too slow",)
    assert (beat.activity, beat.activity_age, beat.step_age) == (phase, 60.0, step_age)
