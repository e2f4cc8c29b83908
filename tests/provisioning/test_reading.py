from __future__ import annotations

import io
from datetime import datetime, timezone

import pytest
from rich.console import Console

from outlast_agent import layout
from outlast_agent.records import Cancel, Controller, Event, Held, LaunchClosed, Result, dump
from outlast_agent.sync.collect import Rule
from outlast_provisioning import listing, reading
from outlast_provisioning.cli import views
from outlast_provisioning.job import job_spec, machine_name, pools
from outlast_provisioning.memory import Memory
from outlast_provisioning.observe import observe
from outlast_provisioning.standing import where_files_are
from provisioning.simulated import (
    NAME,
    Cloud,
    Daemons,
    MemoryStore,
    job,
    launches,
    submitted,
)

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)


def begun() -> tuple[MemoryStore, Cloud, Daemons]:
    from outlast_provisioning.acting import Actor
    from outlast_provisioning.decide import decide

    store = submitted()
    cloud = Cloud(store)
    actor = Actor(
        store, {"local": cloud}, job(), Memory(), clock=lambda: 0.0, say=lambda *a, **k: None
    )
    for action in decide(observe(store, NAME, {}, Memory(), 0.0)):
        actor.perform(action)
    return store, cloud, Daemons(store, cloud)


def shown(thing: object) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(thing)
    return console.export_text()


def test_before_during_and_after() -> None:
    assert reading.read_status(submitted(), NAME).state == "waiting"
    store, cloud, daemons = begun()
    (launch,) = launches(store)
    assert launch.machine == machine_name(job(), 1)
    status = reading.read_status(store, NAME)
    assert (status.state, status.machine, status.attempt) == ("starting", launch.machine, None)
    attempt = daemons.claim(launch.machine)
    assert attempt == 1
    daemons.beat(1, cloud.machines[launch.machine], step=12, epoch=1, epochs=4, flush_seconds=0.5)
    store.create(f"{layout.checkpoints(NAME)}000001-000000000010.json", b"{}")
    status = reading.read_status(store, NAME)
    assert (status.state, status.step, status.durable_step) == ("training", 12, 10)
    text = shown(views.status_panel(status, [], NOW))
    for part in (
        "training",
        launch.machine,
        "local/here/process",
        "epoch 1 of 4",
        "step 10",
        "0.5 s",
    ):
        assert part in text
    daemons.finish(1)
    status = reading.read_status(store, NAME)
    assert (status.state, status.outcome, status.machine, status.step) == (
        "finished",
        "finished",
        None,
        100,
    )
    assert status.todo == ""  # it wrote no files
    store.create(layout.output(NAME, 1, "walk.txt"), b"x")
    todo = reading.read_status(store, NAME).todo
    assert todo == f"its files are in /memory/jobs/{NAME}/outputs/000001/"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("file:///a b", "its files are in /a b/jobs/j/outputs/000003/"),
        ("s3://b/p", "fetch its files: aws s3 cp --recursive s3://b/p/jobs/j/outputs/000003/ ."),
        (
            "gs://b",
            "fetch its files: gcloud storage cp --recursive gs://b/jobs/j/outputs/000003/ .",
        ),
        (
            "az://acc/con/pre",
            "fetch its files: az storage blob download-batch --account-name acc --source con "
            "--pattern 'pre/jobs/j/outputs/000003/*' --destination .",
        ),
    ],
)
def test_where_the_files_are(url: str, told: str) -> None:
    assert where_files_are(url, "j", 3) == told


def test_one_word_for_one_state() -> None:
    """The list, which reads little, says what the status says, which reads all."""

    def seen(store: MemoryStore) -> str:
        status = reading.read_status(store, NAME)
        (line,) = listing.list_jobs(store)
        assert (line.state, line.message) == (status.state, status.detail)
        return status.state

    assert seen(submitted()) == "waiting"
    store, cloud, daemons = begun()
    assert seen(store) == "starting"
    first = launches(store)[0]
    daemons.beat(1, cloud.machines[first.machine], phase="preparing", detail="image")
    assert seen(store) == "starting"
    daemons.claim(first.machine)
    assert seen(store) == "training"
    machine = cloud.machines[first.machine]
    for age, told in ((5, "in validation"), (1500.0, "in validation, for 25 min")):
        daemons.beat(1, machine, activity="validation", activity_age=age)
        assert seen(store) == "training"
        assert listing.list_jobs(store)[0].message == told
    daemons.beat(1, machine, phase="flushing")
    assert seen(store) == "stopping"
    daemons.end(1, "yielded", step=10)
    assert seen(store) == "starting"
    store.create(layout.launch_closed(NAME, 1), dump(LaunchClosed(reason="evicted")))
    assert seen(store) == "waiting"
    second = first.model_copy(update={"number": 2, "machine": "digits-2"})
    store.create(layout.launch(NAME, 2), dump(second))
    assert seen(store) == "starting"  # whatever the first machine said last
    closed = LaunchClosed(reason="setup-failed", again="2026-11-21T12:01:00.000Z")
    store.create(layout.launch_closed(NAME, 2), dump(closed))
    assert seen(store) == "waiting"
    assert "12:01:00" in listing.list_jobs(store)[0].message
    held = Held(attempt=1, expected="x", found=None, message="gone")
    store.create(layout.held(NAME), dump(held))
    assert seen(store) == "held"
    store.create(layout.cancel(NAME), dump(Cancel()))
    assert seen(store) == "cancelling"
    store.create(layout.result(NAME), dump(Result(outcome="cancelled")))
    assert seen(store) == "cancelled"


def test_a_failed_job_shows_the_end_of_its_log() -> None:
    store = submitted()
    result = Result(outcome="failed", message="boom", log_tail=("Traceback", "ValueError: [x]"))
    store.create(layout.result(NAME), dump(result))
    text = shown(views.status_panel(reading.read_status(store, NAME), [], NOW))
    assert "ValueError: [x]" in text
    assert "boom" in text
    assert "outlast logs digits" in text


def test_the_list_reads_beats_and_results() -> None:
    store, _, daemons = begun()
    daemons.claim(launches(store)[0].machine)
    store.put(layout.beat("other"), b"{damaged")
    lines = {line.job: line for line in listing.list_jobs(store)}
    assert lines[NAME].state == "training"
    assert lines["other"].state == "unreadable"
    daemons.finish(1)
    assert [line.state for line in listing.list_jobs(store)] == ["finished", "unreadable"]
    assert "digits" in shown(views.job_table(listing.list_jobs(store), NOW))


def event(number: int, level: str = "info", text: str = "") -> Event:
    return Event(source="s", kind="k", level=level, text=text or f"event {number}")  # type: ignore[arg-type]


def test_old_warnings_stay_in_sight() -> None:
    told = [
        event(1),
        event(2, "warning", "loss is not finite"),
        event(3, "warning", "loss is not finite"),
        *[event(n) for n in range(4, 30)],
    ]
    found = reading.for_status(told, 3)
    assert [one.text for one in found] == [
        "loss is not finite",
        "event 27",
        "event 28",
        "event 29",
    ]


def test_a_fault_that_the_controller_quotes_is_shown_once() -> None:
    fault = "input x: nothing is there"
    told = [
        event(1, "error", fault),
        event(2),
        event(3, "error", fault),
        event(4, "warning", f"attempt 1 setup failed: {fault}; asked again in 1 min"),
        event(5, text=f"{fault}: said in passing"),
        event(6, "error", "input x: nothing"),
    ]
    assert [one.text for one in reading.for_status(told, 10)] == [
        "event 2",
        f"attempt 1 setup failed: {fault}; asked again in 1 min",
        f"{fault}: said in passing",
        "input x: nothing",
    ]
    only_in_passing = [event(1, "error", fault), event(2, text=f"{fault}!")]
    assert reading.for_status(only_in_passing, 10) == only_in_passing


def test_logs_in_pieces() -> None:
    store = submitted()
    store.create(layout.log(NAME, 1, 0), b"one\n")
    store.create(layout.log(NAME, 1, 1), b"two\n")
    store.create(layout.log(NAME, 2, 0), b"three\xff\n")
    chunks = list(reading.log_chunks(store, NAME))
    assert [chunk.text for chunk in chunks] == ["one\n", "two\n", "three\ufffd\n"]
    assert [chunk.attempt for chunk in chunks] == [1, 1, 2]
    assert list(reading.log_chunks(store, NAME, after=chunks[1].key)) == chunks[2:]
    assert list(reading.log_chunks(store, NAME, attempt=1)) == chunks[:2]


def test_who_watches() -> None:
    word = Controller(id="c", host="h", pid=1, sequence=1, at="2026-11-21T11:59:50Z")
    assert views.watched([word], NOW)
    assert not views.watched([word.model_copy(update={"at": "2026-11-21T11:00:00Z"})], NOW)
    assert not views.watched([word.model_copy(update={"at": "nonsense"})], NOW)


def test_what_a_machine_is_told() -> None:
    the_job = job(
        checkpoint={"every": "30s", "keep": 5, "max_overhead": "2.5%"},
        resources={"memory": "2GiB", "gpus": 1},
        inputs=({"from": "s3://b/x.zip", "to": "/data", "unpack": True},),
        max_lifetime="2d",
    )
    store, _, _ = begun()
    (launch,) = launches(store)
    spec = job_spec(the_job, launch, pools(the_job)[0])
    assert (spec.job, spec.launch, spec.machine) == (NAME, 1, launch.machine)
    assert spec.checkpoint.every_seconds == 30
    assert spec.checkpoint.max_overhead == 0.025
    assert spec.checkpoint.keep == Rule(newest=5)
    assert (spec.resources.memory_bytes, spec.resources.gpus) == (2 << 30, 1)
    assert spec.inputs[0].unpack
    assert spec.max_lifetime_seconds == 2 * 86400
