"""One look at one job: the store and the providers' listings become a World."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from outlast.manifest import CheckpointId, ManifestError
from outlast_agent import layout
from outlast_agent.records import (
    AttemptEnd,
    AttemptNotice,
    Beat,
    Cancel,
    Claim,
    Held,
    Launch,
    LaunchClosed,
    Record,
    RecordError,
    Result,
    Resumed,
    load,
)
from outlast_agent.stores.base import NotFoundError, Store
from outlast_provisioning.actions import Delete
from outlast_provisioning.job import Job, machine_name, pools
from outlast_provisioning.losses import between_losses
from outlast_provisioning.memory import Memory
from outlast_provisioning.placement import REFUSALS, after_refusal, choose, refused_by_all
from outlast_provisioning.promises import notices_given
from outlast_provisioning.providers.base import Machine
from outlast_provisioning.world import AttemptView, LaunchView, World

R = TypeVar("R", bound=Record)

_NUMBERED = re.compile(r"(\d{6})(?:\.(closed|notice|end))?\.json")
_RECORD_BYTES = 4 << 20


@dataclass(frozen=True)
class Listing:
    """The machines of one provider."""

    begun: float
    """When the listing was begun (monotonic): what was made later need not be in it."""
    machines: tuple[Machine, ...]


def read_job(store: Store, name: str, memory: Memory) -> Job:
    """The frozen job. Raises StoreError, RecordError."""
    return _once(store, layout.job_file(name), Job, memory)


def observe(
    store: Store, name: str, listings: Mapping[str, Listing], memory: Memory, now: float
) -> World:
    """Look at job ``name``. Raises StoreError, RecordError.

    ``listings`` must have been taken before: then every machine in them has its launch in the
    store, because the intent is written first.
    """
    job = read_job(store, name, memory)
    claimed: dict[int, float] = {}
    attempts = _attempts(store, name, memory, now)
    for view in attempts:
        key = layout.claim(name, view.number)
        first = memory.first_seen.get(key, now)
        launch = view.claim.launch
        claimed[launch] = min(first, claimed.get(launch, first))
    launches = _launches(store, job, listings, memory, claimed=claimed, now=now)
    memory.given = notices_given(
        (str(one.record.pool.get("name")), view)
        for view in attempts
        for one in launches
        if one.number == view.claim.launch
    )
    memory.between_losses = between_losses(attempts)
    cancel = find(store, layout.cancel(name), Cancel)
    beat = find(store, layout.beat(name), Beat)
    offer, wait = choose(pools(job), memory.experience, now)
    return World(
        job=job,
        launches=launches,
        attempts=attempts,
        checkpoints=_checkpoints(store, name),
        result=find(store, layout.result(name), Result),
        cancelled=cancel is not None,
        cancel_age=memory.seen(layout.cancel(name), now) if cancel else 0.0,
        held=find(store, layout.held(name), Held),
        resumed=_resumed(store, name, memory),
        beat=beat,
        beat_age=0.0 if beat is None else memory.beat_age(beat, now),
        offer=offer,
        offer_wait=wait,
        refusal=refused_by_all(pools(job), memory.experience),
        leftover=_leftover(job, launches, listings),
    )


def _launches(
    store: Store,
    job: Job,
    listings: Mapping[str, Listing],
    memory: Memory,
    *,
    claimed: Mapping[int, float],
    now: float,
) -> tuple[LaunchView, ...]:
    name = job.name
    parts = numbered(store, f"{layout.job_root(name)}launches/")
    views = []
    for number in sorted(parts):
        if "" not in parts[number]:
            continue  # closed.json of a launch that is just being written
        key, closed_key = layout.launch(name, number), layout.launch_closed(name, number)
        record = _once(store, key, Launch, memory)
        closed = None
        if "closed" in parts[number]:
            closed = _once(store, closed_key, LaunchClosed, memory)
            anew = key in memory.first_seen and closed_key not in memory.first_seen
            if anew and closed.reason in REFUSALS:  # by another controller: both ask no sooner
                memory.note(str(record.pool.get("name")), lambda seen: after_refusal(seen, now))
        listing = listings.get(record.provider)
        machine = None
        absent = False
        made = min(memory.asked.get(number, float("inf")), claimed.get(number, float("inf")))
        if listing is not None:
            machine = next((m for m in listing.machines if m.name == record.machine), None)
            absent = machine is None and made < listing.begun
        views.append(
            LaunchView(
                record=record,
                age=memory.seen(key, now),
                closed=closed,
                closed_age=memory.seen(closed_key, now) if closed else 0.0,
                machine=machine,
                absent=absent,
                asked=number in memory.asked or now < memory.retry_ask.get(number, now),
            )
        )
    return tuple(views)


def _attempts(store: Store, name: str, memory: Memory, now: float) -> tuple[AttemptView, ...]:
    parts = numbered(store, f"{layout.job_root(name)}attempts/")
    views = []
    for number in sorted(parts):
        if "" not in parts[number]:
            continue
        key = layout.claim(name, number)
        age = memory.seen(key, now)
        notice = end = None
        end_age = notice_age = 0.0
        if "notice" in parts[number]:
            notice_key = layout.attempt_notice(name, number)
            notice = _once(store, notice_key, AttemptNotice, memory)
            notice_age = memory.seen(notice_key, now)
        if "end" in parts[number]:
            end_key = layout.attempt_end(name, number)
            end = _once(store, end_key, AttemptEnd, memory)
            end_age = memory.seen(end_key, now)
        claim = _once(store, key, Claim, memory)
        views.append(
            AttemptView(
                claim=claim,
                age=age,
                notice=notice,
                notice_age=notice_age,
                end=end,
                end_age=end_age,
            )
        )
    return tuple(views)


def numbered(store: Store, prefix: str) -> dict[int, set[str]]:
    """What is there of each number: ``""`` for the record itself, ``closed``, ``end``..."""
    parts: dict[int, set[str]] = {}
    for entry in store.list(prefix):
        match = _NUMBERED.fullmatch(entry.key.removeprefix(prefix))
        if match is not None:
            parts.setdefault(int(match[1]), set()).add(match[2] or "")
    return parts


def _checkpoints(store: Store, name: str) -> tuple[CheckpointId, ...]:
    found = []
    for entry in store.list(layout.checkpoints(name)):
        try:
            found.append(CheckpointId.parse(entry.key))
        except ManifestError:
            continue  # not written by Outlast
    return tuple(sorted(found))


def _resumed(store: Store, name: str, memory: Memory) -> tuple[Resumed, ...]:
    parts = numbered(store, f"{layout.job_root(name)}resumed/")
    numbers = [number for number in sorted(parts) if "" in parts[number]]
    return tuple(_once(store, layout.resumed(name, one), Resumed, memory) for one in numbers)


def _leftover(
    job: Job, launches: tuple[LaunchView, ...], listings: Mapping[str, Listing]
) -> tuple[tuple[str, Machine], ...]:
    known = {launch.record.machine for launch in launches}
    return tuple(
        (provider, machine)
        for provider, listing in listings.items()
        for machine in listing.machines
        if machine.job == job.name
        and machine.name == machine_name(job, machine.launch)
        and machine.name not in known
    )


def abandoned(
    store: Store, name: str, listings: Mapping[str, Listing], memory: Memory, now: float
) -> Iterator[tuple[Delete, float]]:
    """Machines of closed launches of a job of which a record cannot be read, and since when.

    The launch and the word that it is closed are enough to delete a machine. Raises StoreError.
    """
    for provider, listing in listings.items():
        for machine in listing.machines:
            if machine.job != name:
                continue
            closed = layout.launch_closed(name, machine.launch)
            try:
                launch = _once(store, layout.launch(name, machine.launch), Launch, memory)
                store.read(closed, limit=_RECORD_BYTES)
            except (NotFoundError, RecordError):
                continue
            if launch.machine == machine.name:
                yield Delete(provider, machine.name, machine.launch), memory.seen(closed, now)


def _once(store: Store, key: str, kind: type[R], memory: Memory) -> R:
    return memory.record(key, kind, lambda: _load(store, key, kind))


def _load(store: Store, key: str, kind: type[R]) -> R:
    return load(kind, store.read(key, limit=_RECORD_BYTES), key=key)


def find(store: Store, key: str, kind: type[R]) -> R | None:
    """The record at ``key``, or None if nothing is there. Raises StoreError, RecordError."""
    try:
        return _load(store, key, kind)
    except NotFoundError:
        return None
