"""What a person decides about a job: to end it, or to go on with one that is held."""

from __future__ import annotations

import contextlib
from typing import Literal

from outlast.manifest import CheckpointId, ManifestError
from outlast_agent import layout
from outlast_agent.records import Cancel, Held, Resumed, Signal, dump, load
from outlast_agent.stores.base import AlreadyExistsError, NotFoundError, Store
from outlast_provisioning.clock import stamp

_RECORD_BYTES = 1 << 20


class PersonError(Exception):
    """It cannot be done; one line says why and what to do."""


def is_over(store: Store, job: str) -> bool:
    """Whether ``job`` has a result. Raises StoreError."""
    return _there(store, layout.result(job))


def cancel_job(store: Store, job: str) -> str:
    """Ask for the job to end; a line that says how it went. Raises StoreError."""
    if is_over(store, job):
        return f"Job {job} is over already."
    try:
        store.create(layout.cancel(job), dump(Cancel(at=stamp())))
    except AlreadyExistsError:
        return f"Job {job} is being cancelled already."
    _signal(store, job, "cancel")
    return f"Job {job} is told to save, if it saves, and stop. A controller deletes its machine."


def resume_job(store: Store, job: str, checkpoint: str) -> str:
    """Go on with a held job from ``checkpoint``; a line that says how it went.

    Raises PersonError, StoreError, RecordError.
    """
    key = layout.held(job)
    try:
        held = load(Held, store.read(key, limit=_RECORD_BYTES), key=key)
    except NotFoundError as error:
        raise PersonError(f"job {job} is not held: there is nothing to decide") from error
    there = [_id(entry.key) for entry in store.list(layout.checkpoints(job))]
    known = sorted(one for one in there if one is not None)
    chosen = _id(checkpoint)
    if chosen is None or chosen not in known:
        newest = ", ".join(str(one) for one in reversed(known[-5:])) or "none"
        raise PersonError(f"job {job} has no checkpoint {checkpoint!r:.100}; the newest: {newest}")
    aside = {str(one) for one in known if one > chosen} | {held.expected}
    aside.discard(str(chosen))
    decision = Resumed(
        at=stamp(), attempt=held.attempt, checkpoint=str(chosen), set_aside=tuple(sorted(aside))
    )
    decided = layout.resumed(job, held.attempt)
    try:
        store.create(decided, dump(decision))
    except AlreadyExistsError:
        before = load(Resumed, store.read(decided, limit=_RECORD_BYTES), key=decided)
        if before.checkpoint != str(chosen):
            raise PersonError(
                f"it was decided to go on from {before.checkpoint}: repeat with --from "
                f"{before.checkpoint}"
            ) from None
    store.delete(key)
    _signal(store, job, "resume")
    return f"Job {job} goes on from {chosen}."


def _id(text: str) -> CheckpointId | None:
    try:
        return CheckpointId.parse(text)
    except ManifestError:
        return None


def _there(store: Store, key: str) -> bool:
    try:
        store.read(key, limit=_RECORD_BYTES)
    except NotFoundError:
        return False
    return True


def _signal(store: Store, job: str, kind: Literal["cancel", "resume"]) -> None:
    with contextlib.suppress(AlreadyExistsError):
        record = Signal(at=stamp(), job=job, attempt=0, kind=kind)
        store.create(layout.signal(job, 0, kind), dump(record))
