"""Azure Scheduled Events, polled once a second from the metadata service of the VM.

https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events - what is relied on:

- Preempt gives at least 30 s, best effort; in practice often fewer than 10. Reboot, Redeploy
  and Freeze give minutes.
- Events of a whole group are broadcast: ``Resources`` says whom they are for.
- ``NotBefore`` is an RFC 1123 date and empty once the event has started; a sample server of
  Microsoft's writes ISO 8601, so both are read. Time left is NotBefore minus the answer's own
  ``Date``: this machine's clock may be wrong.
- There is no status for a cancelled event: it disappears.
- 410 and 429 ask to come again later, the former for at most 70 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from outlast.notice import Notice
from outlast_agent.watchers.base import Watcher, WatcherError

API_VERSION = "2020-07-01"
PATH = "/metadata/scheduledevents"

REASONS: Mapping[str, str] = {
    "Preempt": "preempt",
    "Terminate": "terminate",
    "Reboot": "reboot",
    "Redeploy": "redeploy",
    "Freeze": "freeze",
}
"""Event types and what the program is told. Others are passed over."""

FIRST_TIMEOUT = 130.0
"""The first call may take two minutes, while Azure turns the service on for this VM."""
TIMEOUT = 5.0
"""Any later one: longer silence hides notices, so ask again."""

BACKOFF: Mapping[int, float] = {410: 3.0, 429: 2.0}
"""Seconds to stay away after these answers."""

MAX_ANSWER = 1 << 20
_LEAST_NOTICE: Mapping[str, float] = {"preempt": 30.0, "terminate": 300.0, "redeploy": 600.0}
_OTHER_NOTICE = 900.0


class AzureWatcher(Watcher):
    """Notices of one VM."""

    interval = 1.0

    def __init__(
        self,
        endpoint: str,
        resource: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """``resource``: this VM's name in the events; empty: every event is for it."""
        self._resource = resource
        self._monotonic, self._wall = monotonic, wall
        # A proxy from the environment would add X-Forwarded-For, which Azure refuses, and
        # cannot reach this address anyway.
        self._client = httpx.Client(
            base_url=endpoint, trust_env=False, headers={"Metadata": "true"}, follow_redirects=False
        )
        self._timeout = FIRST_TIMEOUT
        self._away_until = float("-inf")
        self._seen: dict[str, Notice] = {}

    def poll(self) -> tuple[Notice, ...]:
        """See :meth:`Watcher.poll`."""
        if self._monotonic() < self._away_until:
            return tuple(self._seen.values())
        answer = self._ask("GET", None)
        now = self._monotonic()
        try:
            events = answer.json()["Events"]
            notices = [
                notice
                for event in events
                if (notice := self._notice(event, answer.headers.get("Date"), now)) is not None
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WatcherError(f"scheduled events cannot be read: {error!r:.200}") from error
        self._seen = {notice.id: notice for notice in notices}
        return tuple(notices)

    def acknowledge(self, notice: Notice) -> None:
        """See :meth:`Watcher.acknowledge`."""
        self._ask("POST", {"StartRequests": [{"EventId": notice.id}]})

    def _ask(self, method: str, body: Any) -> httpx.Response:
        try:
            answer = self._client.request(
                method,
                PATH,
                params={"api-version": API_VERSION},
                json=body,
                timeout=httpx.Timeout(self._timeout, connect=min(TIMEOUT, self._timeout)),
            )
        except httpx.HTTPError as error:
            raise WatcherError(
                f"scheduled events: no answer from {self._client.base_url}: {error!r:.200}"
            ) from error
        if answer.status_code in BACKOFF:
            self._away_until = self._monotonic() + BACKOFF[answer.status_code]
        if answer.status_code != httpx.codes.OK or len(answer.content) > MAX_ANSWER:
            raise WatcherError(
                f"scheduled events: {method} answered {answer.status_code}: {answer.text:.200}"
            )
        self._timeout = TIMEOUT
        return answer

    def _notice(self, event: dict[str, Any], date: str | None, now: float) -> Notice | None:
        reason = REASONS.get(str(event["EventType"]))
        resources = [str(name).lower() for name in event.get("Resources") or ()]
        if reason is None or (self._resource and self._resource.lower() not in resources):
            return None
        id_ = str(event["EventId"])
        not_before = str(event.get("NotBefore") or "")
        known = self._seen.get(id_)
        if not_before:
            here = _parse(date) if date else self._wall()
            left = max(0.0, (_parse(not_before) - here).total_seconds())
        elif str(event.get("EventStatus")) == "Started":
            left = 0.0
        else:
            left = _LEAST_NOTICE.get(reason, _OTHER_NOTICE)
        deadline = now + left
        if known is not None:
            # Dates have whole seconds, so the same moment seems to move: the first word counts
            # unless the cloud now says clearly less.
            deadline = known.deadline_monotonic
            if now + left < deadline - 2.0:
                deadline = now + left
        return Notice(id_, reason, max(0.0, deadline - now), deadline, not_before)


def _parse(text: str) -> datetime:
    """A date in RFC 1123 or ISO 8601. Raises ValueError."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
