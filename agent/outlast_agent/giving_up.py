"""The last that a daemon does which fails again and again: it ends its attempt, and says why."""

from __future__ import annotations

import time
from contextlib import suppress

from outlast.manifest import newest_first
from outlast_agent import crashes, layout, records
from outlast_agent.clock import stamp
from outlast_agent.context import Context
from outlast_agent.ending import signal
from outlast_agent.folders import Folders
from outlast_agent.logs import tail
from outlast_agent.lookout import Lookout
from outlast_agent.surely import StoppedError
from outlast_agent.teller import Teller

SECONDS = 60.0
"""For telling the store; the machine goes then in any case."""


def verdict(folders: Folders, boot_id: str, began: float, error: Exception) -> str | None:
    """Count one more failure; why to give up, in one line, or None: start again."""
    now = time.monotonic()
    row = crashes.count(
        crashes.read(folders.crashes), boot_id=boot_id, began=began, now=now,
        durable=_durable(folders),
    )  # fmt: skip
    with suppress(OSError):  # a full disk: whoever starts the daemon limits that too
        crashes.write(folders.crashes, row)
    if not row.hopeless(now):
        return None
    said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return (
        f"the daemon failed {row.count} times in {now - row.since:.0f} s and got no further, the "
        f"last time with {said}; its log on the machine says more (journalctl -u outlast-agent)"
    )


def tell(context: Context, why: str) -> None:
    """End the attempt that is this machine's, if one is, as far as the store lets us."""
    thread = context.thread("give up", lambda: _tell(context, why))
    thread.join(SECONDS)
    context.stop.set()


def _tell(context: Context, why: str) -> None:
    teller = Teller(context)
    spec = context.spec
    attempt = None
    try:
        view = context.surely("give up").do(
            lambda: Lookout(context.store, spec.job, spec.launch).view()
        )
        claim = view.claim
        mine = claim is not None and (claim.launch, claim.machine) == (spec.launch, spec.machine)
        if mine and view.outcome is None:
            attempt = view.attempt
    except (StoppedError, records.RecordError):
        pass
    teller.tell("daemon-failed", why, level="error", attempt=attempt)
    if attempt is not None:
        with suppress(StoppedError):
            _end(context, attempt, why)
    teller.close(SECONDS)


def _end(context: Context, attempt: int, why: str) -> None:
    job, surely = context.spec.job, context.surely("give up")
    prefix = f"{layout.checkpoints(job)}{attempt:06d}-"
    own = surely.do(lambda: newest_first(entry.key for entry in context.store.list(prefix)))
    end = records.AttemptEnd(
        at=stamp(),
        attempt=attempt,
        by="daemon",
        outcome="setup-failed",
        durable_step=own[0].step if own else None,
        cause="error",
        message=why,
        log_tail=tail(context.folders.attempt(attempt).log),
    )
    surely.create(context.store, layout.attempt_end(job, attempt), records.dump(end))
    signal(context, surely, attempt, "end")


def _durable(folders: Folders) -> int:
    """The newest durable step, as the last heartbeat said."""
    try:
        data = folders.status.read_bytes()
        beat = records.load(records.Beat, data, key=str(folders.status))
    except (OSError, records.RecordError):
        return -1
    return -1 if beat.durable_step is None else beat.durable_step
