"""The jobs of a store, one line each, with few requests for each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from outlast_agent import layout
from outlast_agent.records import Beat, Cancel, Claim, Held, LaunchClosed, RecordError, Result
from outlast_agent.stores.base import Store
from outlast_provisioning.observe import find, numbered
from outlast_provisioning.standing import standing


@dataclass(frozen=True)
class Line:
    """One job in the list."""

    job: str
    state: str
    """As in its status; ``unreadable`` if a record is damaged or newer."""
    machine: str = ""
    attempt: int | None = None
    step: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    durable_step: int | None = None
    durable_age: float | None = None
    beat: str = ""
    message: str = ""


def list_jobs(store: Store) -> list[Line]:
    """All jobs of a store, by name. Raises StoreError.

    One listing of ``beats/``; two small reads for each job, some six for one that is not over.
    """
    names = [entry.key.removeprefix(layout.BEATS) for entry in store.list(layout.BEATS)]
    names = [name for name in names if layout.is_job_name(name)]
    with ThreadPoolExecutor(16) as pool:
        return [line for line in pool.map(lambda name: _line(store, name), names) if line]


def _line(store: Store, name: str) -> Line | None:
    try:
        beat = find(store, layout.beat(name), Beat)
        if beat is None:
            return None
        result = find(store, layout.result(name), Result)
        return _unfinished(store, name, beat) if result is None else _over(name, beat, result)
    except RecordError as error:
        return Line(job=name, state="unreadable", message=str(error))


def _over(name: str, beat: Beat, result: Result) -> Line:
    return Line(
        job=name,
        state=result.outcome,
        attempt=result.attempt,
        step=result.step,
        durable_step=result.step if result.outcome == "finished" else beat.durable_step,
        beat=result.at,
        message=result.message,
    )


def _unfinished(store: Store, name: str, beat: Beat) -> Line:
    """The same as ``reading`` finds from all records, from their names and the last of them."""
    launches = numbered(store, f"{layout.job_root(name)}launches/")
    attempts = numbered(store, f"{layout.job_root(name)}attempts/")
    open_ = [n for n, parts in launches.items() if "" in parts and "closed" not in parts]
    last = max((n for n, parts in attempts.items() if "" in parts), default=None)
    launch = max(open_, default=None)
    live = last is not None and "end" not in attempts[last]
    if live and last is not None:
        claim = find(store, layout.claim(name, last), Claim)
        launch = None if claim is None else claim.launch
    closed = None
    if launch is None and launches:
        closed = find(store, layout.launch_closed(name, max(launches)), LaunchClosed)
    its_own = launch is not None and beat.launch == launch
    state, detail, _ = standing(
        name,
        result=None,
        cancelled=find(store, layout.cancel(name), Cancel) is not None,
        held=find(store, layout.held(name), Held),
        live=live,
        launched=launch is not None,
        beat=beat if its_own else None,  # else an earlier machine's last word
        closed=closed,
    )
    return Line(
        job=name,
        state=state,
        machine=beat.machine if its_own else "",
        attempt=last,
        step=beat.step,
        epoch=beat.epoch,
        epochs=beat.epochs,
        durable_step=beat.durable_step,
        durable_age=beat.durable_age,
        beat=beat.at,
        message=detail,
    )
