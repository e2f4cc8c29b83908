"""The daemon's smaller parts: views, logs, the control folder, life, status, trying."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from agent.daemon_kit import until
from agent.scratch_kit import Slow
from outlast import __version__
from outlast.notice import Notice
from outlast.progress import (
    Announcement,
    End,
    Note,
    Progress,
    append_note,
    write_announcement,
    write_end,
    write_progress,
)
from outlast_agent import command, layout, logs, records
from outlast_agent.attempt import Attempt
from outlast_agent.board import Board
from outlast_agent.claim import SeenClaim
from outlast_agent.context import Context
from outlast_agent.control import MAX_NOTES, Control
from outlast_agent.folders import AttemptFolders, Folders, remove_tree
from outlast_agent.journal import open_journal
from outlast_agent.lifetime import read_life
from outlast_agent.logs import LogShipper, tail
from outlast_agent.lookout import Lookout
from outlast_agent.runtimes.process import ProcessRuntime
from outlast_agent.spec import JobSpec
from outlast_agent.status import MAX_BYTES, status_lines
from outlast_agent.stores.base import AlreadyExistsError, RefusedError, UnavailableError
from outlast_agent.stores.file import FileStore
from outlast_agent.surely import StoppedError, Surely
from outlast_agent.teller import Teller

JOB = "digits"


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


@pytest.fixture
def context(tmp_path, store):
    spec = JobSpec(
        job=JOB, launch=1, machine="m", store=store.url, runtime="process", command=("true",)
    )
    return Context(
        spec=spec, folders=Folders(tmp_path / "root", JOB), store=store,
        runtime=ProcessRuntime(), journal=open_journal(), boot_id="b", crash=pytest.fail,
    )  # fmt: skip


def put(store, key, record):
    store.create(key, records.dump(record))


# Views -------------------------------------------------------------------------------------------


def claim(attempt, **more):
    value = {"launch": 1, "machine": "m", "boot_id": "b", "nonce": "n", **more}
    return records.Claim(attempt=attempt, **value)


def test_views_follow_the_store(store):
    launch = records.Launch(
        job=JOB, number=1, provider="local", pool={}, machine="m", nonce="n", reason="first"
    )
    now = [100.0]
    lookout = Lookout(store, JOB, 1, monotonic=lambda: now[0])
    assert lookout.view().unknown
    put(store, layout.launch(JOB, 1), launch)
    # Another launch whose number begins alike says nothing about this one.
    put(store, layout.launch_closed(JOB, 10), records.LaunchClosed(reason="x"))
    view = lookout.view()
    assert (view.attempt, view.claim, view.closed, view.unknown) == (0, None, False, False)
    put(store, layout.claim(JOB, 1), claim(1))
    assert lookout.view().claim == SeenClaim(1, "m", "b")
    notice = records.AttemptNotice(attempt=1, event_id="e", reason="preempt", seconds_left=30)
    put(store, layout.attempt_notice(JOB, 1), notice)
    assert lookout.view().notice.first_seen == 100.0
    now[0] = 120.0
    assert lookout.view().notice.first_seen == 100.0
    end = records.AttemptEnd(attempt=1, by="daemon", outcome="yielded")
    put(store, layout.attempt_end(JOB, 1), end)
    assert lookout.view().outcome == "yielded"
    put(store, layout.claim(JOB, 2), claim(2, launch=2))
    view = lookout.view()
    assert (view.attempt, view.notice, view.outcome) == (2, None, None)
    for key, record, name in (
        (layout.launch_closed(JOB, 1), records.LaunchClosed(reason="x"), "closed"),
        (layout.cancel(JOB), records.Cancel(), "cancelled"),
        (layout.result(JOB), records.Result(outcome="finished"), "result"),
        (layout.held(JOB), records.Held(attempt=1, expected="x", found=None, message=""), "held"),
    ):
        assert not getattr(lookout.view(), name)
        put(store, key, record)
        assert getattr(lookout.view(), name)


def test_a_record_from_the_future_is_not_guessed_at(store):
    store.create(layout.claim(JOB, 1), b'{"version": 9, "attempt": 1, "launch": 1, "machine": "m",'
                 b' "boot_id": "b", "nonce": "n"}')  # fmt: skip
    with pytest.raises(records.RecordError, match="update outlast"):
        Lookout(store, JOB, 1).view()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (layout.launch_closed(JOB, 1), "closed"),
        (layout.cancel(JOB), "cancelled"),
        (layout.result(JOB), "result"),
    ],
)
def test_a_damaged_record_does_not_hide_that_the_machine_is_to_leave(store, key, name):
    put(store, layout.claim(JOB, 1), claim(1))
    lookout = Lookout(store, JOB, 1)
    lookout.view()
    store.create(layout.attempt_notice(JOB, 1), b"{")
    with pytest.raises(records.RecordError):
        lookout.view()
    store.create(key, b"{}")
    assert getattr(lookout.view(), name)
    assert lookout.view().claim == SeenClaim(1, "m", "b")


# Logs --------------------------------------------------------------------------------------------


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


def test_a_notice_hurries_the_upload_even_if_it_cannot_be_written(context):
    attempt = Attempt(context, 1, Teller(context))  # its folders are not there
    rushed = []
    attempt.uploader = SimpleNamespace(rush=rushed.append)
    with pytest.raises(OSError, match="notice"):
        attempt.tell(Notice("n", "preempt", 30.0, 100.0, ""))
    assert rushed == [100.0]


def test_the_tail(tmp_path):
    path = tmp_path / "work.log"
    assert tail(path) == ()
    path.write_text("".join(f"line {n}\n" for n in range(20_000)))
    assert len(tail(path)) == 50
    assert tail(path)[-1] == "line 19999"
    path.write_bytes(b"\xff\xfe" + b"y" * 100_000)
    assert len(tail(path)) == 1
    assert len(tail(path)[0]) <= 2000


# The control folder ------------------------------------------------------------------------------


def test_what_the_program_says(tmp_path):
    control = Control(tmp_path)
    assert control.read().progress is None
    write_announcement(tmp_path, Announcement(1, "0.1"))
    write_progress(tmp_path, Progress(step=4, phase="training"))
    append_note(tmp_path, Note("warning", "shuffle-unseeded", "give it a seed"))
    write_end(tmp_path, End("yielded", 4))
    said = control.read()
    assert (said.announced, said.progress.step, said.end) == (True, 4, End("yielded", 4))
    assert said.notes == (Note("warning", "shuffle-unseeded", "give it a seed"),)
    assert control.read().notes == ()
    assert Control(tmp_path, notes_told=1).read().notes == ()  # a restarted daemon


def test_hostile_words(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('{"outcome": "finished", "step": 1}')
    control = tmp_path / "control"
    control.mkdir()
    (control / "end.json").symlink_to(secret)
    said = Control(control).read()
    assert said.end is None
    assert "cannot be read" in said.problem
    (control / "end.json").unlink()
    (control / "end.json").write_text('{"outcome": "finished", "step": -1}')
    assert Control(control).read().problem is not None
    (control / "end.json").unlink()
    os.mkfifo(control / "progress.json")
    assert Control(control).read().problem is not None
    (control / "progress.json").unlink()
    (control / "progress.json").write_bytes(b"x" * (1 << 20))
    assert Control(control).read().problem is not None


def test_notes_are_bounded_and_checked(tmp_path):
    lines = [{"level": "info", "code": "c", "text": "t" * 5000}] * (MAX_NOTES + 50)
    bad = ["nonsense", "[1]", '{"level": "loud", "code": "c", "text": "t"}', "null"]
    text = "\n".join(bad + [json.dumps(line) for line in lines]) + "\nhalf"
    (tmp_path / "notes.jsonl").write_text(text)
    control = Control(tmp_path)
    found = [note for _ in range(5) for note in control.read().notes]
    assert 0 < len(found) <= MAX_NOTES
    assert all(len(note.text) <= 2000 for note in found)
    (tmp_path / "notes.jsonl").unlink()
    (tmp_path / "notes.jsonl").symlink_to("/etc/passwd")
    assert Control(tmp_path).read().notes == ()


def test_what_the_program_says_always_fits_a_record(tmp_path):
    """A beat or an event that cannot be written would end the daemon, again and again."""
    notes = '{"level": "info", "code": "\\ud800", "text": "half \\udc00 a character"}\n'
    (tmp_path / "notes.jsonl").write_text(notes)
    metrics = '{"loss": NaN, "peak": Infinity, "mae": 0.5, "\\ud800": 1}'
    (tmp_path / "progress.json").write_text(f'{{"step": 4, "metrics": {metrics}}}')
    said = Control(tmp_path).read()
    assert [note.text for note in said.notes] == ["half ? a character"]
    assert said.progress.metrics == {"mae": 0.5, "?": 1.0}
    event = records.Event(source="library", kind=said.notes[0].code, text=said.notes[0].text)
    assert records.load(records.Event, records.dump(event), key="k") == event
    huge = "1" + "0" * 400
    for value in (f'"save_bytes": {huge}', '"step_seconds": Infinity', '"save_seconds": NaN'):
        (tmp_path / "progress.json").write_text(f'{{"step": 4, {value}}}')
        said = Control(tmp_path).read()
        assert said.progress is None
        assert "out of range" in said.problem
    (tmp_path / "progress.json").unlink()
    (tmp_path / "end.json").write_text(f'{{"outcome": "finished", "step": {huge}}}')
    assert "out of range" in Control(tmp_path).read().problem


# Life --------------------------------------------------------------------------------------------


def test_life_goes_on_over_restarts_of_daemon_and_machine(tmp_path):
    path = tmp_path / "lived.json"
    life = read_life(path, "boot 1", now=1000.0)
    assert life.lived(1060.0) == 60.0
    life.write(1060.0)
    assert read_life(path, "boot 1", now=1100.0).lived(1100.0) == 100.0
    # Another boot: the clock begins anew, the life does not.
    again = read_life(path, "boot 2", now=5.0)
    assert again.lived(15.0) == 70.0
    again.write(15.0)
    assert read_life(path, "boot 2", now=25.0).lived(25.0) == 80.0
    path.write_text("nonsense")
    assert read_life(path, "boot 2", now=25.0).lived(25.0) == 0.0


# Status ------------------------------------------------------------------------------------------


def beat(**more):
    value = {
        "job": JOB, "attempt": 3, "launch": 4, "machine": "m", "boot_id": "b", "sequence": 1,
        "phase": "training", "step": 512, "step_seconds": 0.21, "epoch": 3, "epochs": 70,
        "durable_step": 500, "durable_age": 4.0, "flush_seconds": 1.5,
        "metrics": {"loss": 0.25}, **more,
    }  # fmt: skip
    return records.Beat(**value)


def test_status_says_it_in_words(tmp_path):
    (tmp_path / "status.json").write_bytes(records.dump(beat(notice_seconds_left=12.0)))
    text, found = status_lines(tmp_path, as_json=False)
    assert found
    for part in ("training, attempt 3", "step 512", "epoch 3 of 70", "durable: step 500, 4 s ago",
                 "1.5 s", "notice: 12 s left", "loss 0.25"):  # fmt: skip
        assert part in text
    assert "not running" not in text
    os.utime(tmp_path / "status.json", (time.time() - 100,) * 2)
    assert "the daemon is not running" in status_lines(tmp_path, as_json=False)[0]


def test_status_always_fits(tmp_path):
    huge = beat(detail="é" * 5000, metrics={f"metric {n} é" * 5: 1.0 for n in range(60)})
    (tmp_path / "status.json").write_bytes(records.dump(huge))
    for as_json in (True, False):
        text, _ = status_lines(tmp_path, as_json=as_json)
        assert len(text.encode()) <= MAX_BYTES
        if as_json:
            assert json.loads(text)["step"] == 512


def test_status_of_nonsense(tmp_path):
    (tmp_path / "status.json").write_text("nonsense")
    text, found = status_lines(tmp_path, as_json=False)
    assert not found
    assert "is damaged" in text


# Trying ------------------------------------------------------------------------------------------


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


def test_a_wait_is_broken_off(store):
    stop = threading.Event()
    surely = Surely(Board(), open_journal(), "claim", stop)
    slow = Slow(store)
    slow.away = True
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(StoppedError):
        surely.create(slow, "a", b"b")


# Telling -----------------------------------------------------------------------------------------


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
    teller.close(0.3)
    assert time.monotonic() - began < 5


# Folders -----------------------------------------------------------------------------------------


def test_folders_are_made_anew(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    folders = AttemptFolders(tmp_path / "attempt")
    folders.make()
    (folders.scratch / "planted").symlink_to(outside)
    (folders.outputs / "closed").mkdir(mode=0o500)
    folders.make()
    assert list(folders.scratch.iterdir()) == list(folders.outputs.iterdir()) == []
    assert (outside / "keep").exists()
    remove_tree(tmp_path / "nothing")


# The command ------------------------------------------------------------------------------------


def test_which_version(capsys):
    with pytest.raises(SystemExit) as left:
        command.run(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"outlast {__version__}\n"
