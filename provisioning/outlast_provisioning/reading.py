"""What can be read of a job, from the store alone: its status, events and log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from outlast_agent import layout
from outlast_agent.records import (
    Controller,
    Event,
    RecordError,
    load,
)
from outlast_agent.stores.base import NotFoundError, Store
from outlast_provisioning.failures import failure_of
from outlast_provisioning.memory import Memory
from outlast_provisioning.observe import observe
from outlast_provisioning.standing import State, standing, where_files_are
from outlast_provisioning.world import World

_RECORD_BYTES = 4 << 20
_LOG_BYTES = 64 << 20


@dataclass(frozen=True)
class Status:
    """One job, for people. Durations are seconds; stamps are RFC 3339 by their writers' clocks."""

    job: str
    store: str
    state: State
    detail: str = ""
    """What it does or waits for, in words."""
    todo: str = ""
    """What a person can do now; empty: nothing is needed."""
    submitted: str = ""
    machine: str | None = None
    """The machine that trains, or that is being made ready."""
    pool: str | None = None
    attempt: int | None = None
    launch: int | None = None
    since: str | None = None
    """When this attempt was claimed."""
    beat: str | None = None
    """When the daemon was last heard."""
    step: int | None = None
    step_seconds: float | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    durable_step: int | None = None
    durable_age: float | None = None
    save_every: float | None = None
    """From one local save to the next, as it is chosen now."""
    durable_every: float | None = None
    """From one upload to the next, as it is chosen now."""
    flush_seconds: float | None = None
    """What making everything durable would take now, the step under way included."""
    concerns: tuple[str, ...] = ()
    """What a person should know of for as long as it lasts."""
    notice_seconds_left: float | None = None
    checkpoint: str | None = None
    """The newest whole checkpoint in the store."""
    evictions: int = 0
    losses: int = 0
    """Machines that went without notice."""
    failures: int = 0
    """Attempts that failed and count."""
    outcome: str | None = None
    message: str = ""
    log_tail: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether the job has a result."""
        return self.outcome is not None


def read_status(store: Store, name: str) -> Status:
    """The status of job ``name``. Raises NotFoundError, StoreError, RecordError."""
    world = observe(store, name, {}, Memory(), time.monotonic())
    found = status_of(world, store.url)
    result = world.result
    if result is None or result.outcome != "finished" or result.attempt is None:
        return found
    if next(iter(store.list(layout.output(name, result.attempt, ""))), None) is None:
        return found  # it wrote none
    return replace(found, todo=where_files_are(store.url, name, result.attempt))


def status_of(world: World, store: str) -> Status:
    """The status that ``world`` shows. Pure."""
    attempt = world.attempts[-1] if world.attempts else None
    launches = {launch.number: launch for launch in world.launches}
    open_ = [launch for launch in world.launches if launch.closed is None]
    live = attempt if attempt is not None and attempt.end is None else None
    launch = launches.get(live.claim.launch) if live else (open_[-1] if open_ else None)
    beat = world.beat
    if beat is not None and (launch is None or beat.launch != launch.number):
        beat = None  # an earlier machine's last word
    newest = world.checkpoints[-1] if world.checkpoints else None
    result = world.result
    state, detail, todo = standing(
        world.job.name,
        result=result,
        cancelled=world.cancelled,
        held=world.held,
        live=live is not None,
        launched=launch is not None,
        beat=beat,
        closed=world.launches[-1].closed if world.launches else None,
    )
    return Status(
        job=world.job.name,
        store=store,
        state=state,
        detail=detail,
        todo=todo,
        submitted=world.job.at,
        machine=launch.record.machine if launch and not result else None,
        pool=str(launch.record.pool.get("name")) if launch and not result else None,
        attempt=attempt.number if attempt else None,
        launch=launch.number if launch else None,
        since=live.claim.at if live else None,
        beat=beat.at if beat else None,
        step=_first(
            beat.step if beat and not result else None,
            _ended_step(world),
            newest.step if newest else None,
        ),
        step_seconds=beat.step_seconds if beat else None,
        epoch=beat.epoch if beat else None,
        epochs=beat.epochs if beat else None,
        metrics=dict(beat.metrics) if beat else {},
        durable_step=newest.step if newest else None,
        durable_age=beat.durable_age if beat else None,
        save_every=beat.save_every if beat else None,
        durable_every=beat.durable_every if beat else None,
        flush_seconds=beat.flush_seconds if beat else None,
        concerns=beat.concerns if beat and not result else (),
        notice_seconds_left=beat.notice_seconds_left if beat else None,
        checkpoint=str(newest) if newest else None,
        evictions=sum(view.notice is not None for view in world.attempts),
        losses=sum(
            view.notice is None and view.end is not None and view.end.outcome == "lost"
            for view in world.attempts
        ),
        failures=sum(failure_of(view) is not None for view in world.attempts),
        outcome=result.outcome if result else None,
        message=result.message if result else "",
        log_tail=result.log_tail if result else (),
    )


def _ended_step(world: World) -> int | None:
    if world.result is not None and world.result.step is not None:
        return world.result.step
    ends = [view.end.step for view in world.attempts if view.end and view.end.step is not None]
    return ends[-1] if ends else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def events(store: Store, name: str, *, after: str = "") -> Iterator[tuple[str, Event]]:
    """The events of a job with their keys, oldest first, later than the key ``after``."""
    for entry in store.list(layout.events(name), after=after):
        yield entry.key, _event(store, entry.key)


def last_events(store: Store, name: str, count: int) -> list[Event]:
    """The newest ``count`` events, oldest first."""
    keys = [entry.key for entry in store.list(layout.events(name))][-count:]
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda key: _event(store, key), keys))


def for_status(events: Sequence[Event], count: int) -> list[Event]:
    """The newest ``count`` events, and before them every warning that was given earlier.

    A fault that a later event quotes (the daemon's, then the controller's) is shown once.
    """
    events = [one for n, one in enumerate(events) if not _quoted(one, events[n + 1 :])]
    told = {event.text for event in events[-count:]}
    earlier = []
    for event in events[:-count]:
        if event.level != "info" and event.text not in told:
            told.add(event.text)
            earlier.append(event)
    return [*earlier, *events[-count:]]


def _quoted(event: Event, later: Sequence[Event]) -> bool:
    return event.level != "info" and any(
        event.text in one.text and event.text != one.text and one.level != "info" for one in later
    )


def _event(store: Store, key: str) -> Event:
    try:
        return load(Event, store.read(key, limit=_RECORD_BYTES), key=key)
    except (NotFoundError, RecordError) as error:
        return Event(source="reader", kind="unreadable", text=str(error))


@dataclass(frozen=True)
class Chunk:
    """A piece of the log of one attempt."""

    key: str
    attempt: int
    data: bytes
    """As the program wrote it."""

    @property
    def text(self) -> str:
        """For people; what is no UTF-8 is replaced."""
        return self.data.decode(errors="replace")


def log_chunks(
    store: Store, name: str, *, attempt: int | None = None, after: str = ""
) -> Iterator[Chunk]:
    """The job's log, oldest first, later than the key ``after``."""
    prefix = layout.logs(name)
    for entry in store.list(layout.logs(name, attempt), after=after):
        number = entry.key.removeprefix(prefix).split("/")[0]
        try:
            data = store.read(entry.key, limit=_LOG_BYTES)
        except NotFoundError:
            continue
        yield Chunk(entry.key, int(number), data)


def controllers(store: Store) -> list[Controller]:
    """Who said that it watches this store; their stamps tell people how long ago."""
    found = []
    for entry in store.list(layout.CONTROLLERS):
        try:
            found.append(load(Controller, store.read(entry.key), key=entry.key))
        except (NotFoundError, RecordError):
            continue
    return found
