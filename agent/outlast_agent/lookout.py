"""Reads from the store what decides who may train, and remembers what never changes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from outlast_agent import layout, records
from outlast_agent.claim import FirstSeen, SeenClaim, View
from outlast_agent.stores.base import NotFoundError, Store

_ATTEMPT = re.compile(r"/attempts/(\d{6})\.(notice\.json|end\.json|json)$")


class Lookout:
    """Views of one job for one launch. Used by one thread."""

    def __init__(
        self,
        store: Store,
        job: str,
        launch: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._job, self._launch = store, job, launch
        self._monotonic = monotonic
        self._attempt = 0
        self._claim: SeenClaim | None = None
        self._outcome: str | None = None
        self._notice_seconds: float | None = None
        self._first_seen = FirstSeen()

    @property
    def another_trains(self) -> bool:
        """Whether the latest attempt seen goes on, without a notice."""
        return self._attempt > 0 and self._outcome is None and self._notice_seconds is None

    def view(self) -> View:
        """What the store shows now: two listings and three small reads.

        Raises StoreError, and RecordError for a record that cannot be used, unless this machine
        is to leave whatever the record says.
        """
        prefix = layout.launch(self._job, self._launch).removesuffix("json")
        names = {entry.key for entry in self._store.list(prefix)}
        closed = layout.launch_closed(self._job, self._launch) in names
        result = self._there(layout.result(self._job))
        cancelled = self._there(layout.cancel(self._job))
        try:
            self._read_attempts()
        except records.RecordError:
            if not (closed or result or cancelled):
                raise
        notice = None
        if self._notice_seconds is not None:
            now = self._monotonic()
            notice = self._first_seen.notice(self._attempt, self._notice_seconds, now)
        return View(
            attempt=self._attempt,
            claim=self._claim,
            notice=notice,
            outcome=self._outcome,
            closed=closed,
            unknown=layout.launch(self._job, self._launch) not in names,
            result=result,
            cancelled=cancelled,
            held=self._there(layout.held(self._job)),
        )

    def _read_attempts(self) -> None:
        """Attempts only grow: nothing below the highest one seen is looked at again."""
        job = self._job
        folder = f"{layout.job_root(job)}attempts/"
        listed: dict[int, set[str]] = {}
        for entry in self._store.list(folder, after=f"{folder}{self._attempt:06d}"):
            match = _ATTEMPT.search(entry.key)
            if match is not None:
                listed.setdefault(int(match[1]), set()).add(match[2])
        claimed = [number for number, kinds in listed.items() if "json" in kinds]
        highest = max(claimed, default=0)
        if highest == 0:
            return
        if highest != self._attempt:
            key = layout.claim(job, highest)
            found = records.load(records.Claim, self._store.read(key), key=key)
            self._claim = SeenClaim(found.launch, found.machine, found.boot_id)
            self._outcome = self._notice_seconds = None
            self._attempt = highest
        kinds = listed[highest]
        if "notice.json" in kinds and self._notice_seconds is None:
            key = layout.attempt_notice(job, highest)
            notice = records.load(records.AttemptNotice, self._store.read(key), key=key)
            self._notice_seconds = notice.seconds_left
        if "end.json" in kinds and self._outcome is None:
            key = layout.attempt_end(job, highest)
            self._outcome = records.load(records.AttemptEnd, self._store.read(key), key=key).outcome

    def _there(self, key: str) -> bool:
        try:
            self._store.read(key)
        except NotFoundError:
            return False
        return True
