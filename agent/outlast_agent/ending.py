"""Writes how an attempt ended: outputs first, then its end, then the job's result."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

from outlast_agent import layout, records
from outlast_agent.attempt import Attempt
from outlast_agent.clock import stamp
from outlast_agent.context import Context
from outlast_agent.logs import tail
from outlast_agent.outcome import Ending
from outlast_agent.stores.base import AlreadyExistsError, RefusedError
from outlast_agent.stores.keys import check_key
from outlast_agent.surely import Surely
from outlast_agent.teller import Teller

CARRIERS = 4
IN_MEMORY = 64 << 20
"""Bytes: a larger output is sent from its file."""
MAX_OPEN = 32

# All that a store's key may hold, but for what quoting itself needs.
_PLAIN = "/ !\"#$&'()*+,-.:;<=>?@[]^_`{|}~"


def record(context: Context, attempt: Attempt, ending: Ending, teller: Teller) -> None:
    """Write everything about the end of ``attempt``. Nothing of it runs, nothing is uploaded.

    May be done again after a kill at any point: what is there stays. Raises StoppedError,
    OSError.
    """
    surely = context.surely("end")
    job, number = context.spec.job, attempt.number
    log = tail(attempt.folders.log) if ending.outcome in ("failed", "setup-failed") else ()
    step = ending.step
    if step is None and attempt.progress is not None:
        step = attempt.progress.step
        if attempt.durable is not None:  # on a full disk its own word of it gets old
            step = max(step, attempt.durable.id.step)
    if ending.outcome == "finished":
        _upload_outputs(context, surely, attempt, teller)
    end = records.AttemptEnd(
        at=stamp(),
        attempt=number,
        by="daemon",
        outcome=ending.outcome,
        step=step,
        durable_step=attempt.durable_step,
        started_from=attempt.started_from,
        exit_code=ending.exit_code,
        cause=ending.cause,
        message=ending.message or None,
        log_tail=log,
    )
    surely.create(context.store, layout.attempt_end(job, number), records.dump(end))
    if ending.outcome == "finished":
        durable = attempt.durable
        result = records.Result(
            at=stamp(),
            outcome="finished",
            attempt=number,
            step=step,
            message=ending.message,
            checkpoint=attempt.started_from if durable is None else str(durable.id),
        )
        surely.create(context.store, layout.result(job), records.dump(result))
        signal(context, surely, number, "finished")
    else:
        signal(context, surely, number, "end")


def signal(context: Context, surely: Surely, attempt: int, kind: str) -> None:
    """Wake a controller. Raises StoppedError."""
    job = context.spec.job
    value = records.Signal.model_validate(
        {"at": stamp(), "job": job, "attempt": attempt, "kind": kind}
    )
    surely.create(context.store, layout.signal(job, attempt, kind), records.dump(value))


def _upload_outputs(context: Context, surely: Surely, attempt: Attempt, teller: Teller) -> None:
    from outlast.outputs import told_left_out, walk  # noqa: PLC0415 - brings NumPy

    folder = attempt.folders.outputs

    def carry(path: str, key: str, size: int, descriptor: int) -> None:
        try:
            data = os.pread(descriptor, size, 0) if size <= IN_MEMORY else folder / path
            with suppress(AlreadyExistsError):
                surely.do(lambda: context.store.create(key, data))
        finally:
            os.close(descriptor)

    with ThreadPoolExecutor(CARRIERS, thread_name_prefix="outputs") as pool:
        futures: deque[Future[None]] = deque()
        left_out: list[str] = []
        for path, found, opened in walk(folder, left_out.append):
            name = quote(os.fsencode(path), safe=_PLAIN)
            key = layout.output(context.spec.job, attempt.number, name)
            try:
                check_key(key, operation="create")
            except RefusedError:
                short = _shortened(path)
                key = layout.output(context.spec.job, attempt.number, short)
                text = f"output {path!r:.100} is kept as {short}: its name is too long for a store"
                teller.tell("output-renamed", text, level="warning", attempt=attempt.number)
            futures.append(pool.submit(carry, path, key, found.st_size, opened()))
            if len(futures) > MAX_OPEN:
                futures.popleft().result()
        for future in futures:
            future.result()
    if left_out:
        text = told_left_out(left_out)
        teller.tell("outputs-left-out", text, level="warning", attempt=attempt.number)


def _shortened(path: str) -> str:
    """A name that every store takes, and that is another one for every path."""
    data = os.fsencode(path)
    digest = hashlib.sha256(data).hexdigest()[:16]
    plain = quote(data, safe="")[-100:].lstrip("%.")
    return f"{digest}-{plain}"
