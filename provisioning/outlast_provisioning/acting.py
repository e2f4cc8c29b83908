"""Actions performed: records created, machines asked for and deleted. Each may be repeated."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from outlast_agent import layout
from outlast_agent.records import Event, Launch, LaunchClosed, Record, Result, dump
from outlast_agent.stores.base import AlreadyExistsError, Store
from outlast_provisioning.actions import Action, Ask, Close, Delete, EndAttempt, Finish, Open
from outlast_provisioning.clock import stamp
from outlast_provisioning.job import Job, job_spec, machine_name, pools
from outlast_provisioning.memory import Memory
from outlast_provisioning.placement import (
    REFUSALS,
    after_eviction,
    after_refusal,
    after_start,
    choose,
)
from outlast_provisioning.providers.base import (
    GiveUpError,
    NoCapacityError,
    NotAllowedError,
    Provider,
    ProviderError,
    QuotaError,
    Request,
)
from outlast_provisioning.units import for_people

ASK_AGAIN_SECONDS = 10.0
"""After a passing fault of a provider."""
ASK_FOR_SECONDS = 300.0
"""A fault that lasts this long does not pass: another pool is asked, or this one much later."""

Say = Callable[..., None]
"""``say(sentence, **facts)``: one log line."""


class Actor:
    """Performs the actions of one job. Raises StoreError; provider faults are dealt with here."""

    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        job: Job,
        memory: Memory,
        *,
        clock: Callable[[], float],
        say: Say,
    ) -> None:
        self._store = store
        self._providers = providers
        self._job = job
        self._memory = memory
        self._clock = clock
        self._say = say

    def perform(self, action: Action) -> None:
        """Do it, or find it done."""
        match action:
            case Open():
                self._open(action)
            case Ask(launch):
                self._ask(launch)
            case Close(launch, reason, text, level):
                self._close(launch, reason, text, level)
            case Delete(provider):
                delete(self._providers[provider], action, self._memory, self._say)
            case EndAttempt(end, launch, text):
                key = layout.attempt_end(self._job.name, end.attempt)
                if self._create(key, end.model_copy(update={"at": stamp()})):
                    self._tell(end.outcome, text, "warning", attempt=end.attempt, launch=launch)
            case Finish(result):
                key = layout.result(self._job.name)
                if self._create(key, result.model_copy(update={"at": stamp()})):
                    self._tell_result(result)

    def _tell_result(self, result: Result) -> None:
        failed = result.outcome == "failed"
        text = {
            "finished": "the job finished",
            "cancelled": "the job was cancelled",
            "failed": f"the job failed: {result.message}",
        }[result.outcome]
        self._tell(result.outcome, text, "error" if failed else "info", attempt=result.attempt)

    def _open(self, action: Open) -> None:
        launch = Launch(
            at=stamp(),
            job=self._job.name,
            number=action.number,
            provider=action.pool.provider,
            pool={
                "name": action.pool.name,
                "region": action.pool.region,
                "zone": action.pool.zone,
                "size": action.pool.size,
                "spot": action.pool.spot,
                "price": action.pool.price,
            },
            machine=machine_name(self._job, action.number),
            nonce=secrets.token_hex(8),
            reason=action.reason,
            set_aside=action.set_aside,
        )
        if not self._create(layout.launch(self._job.name, action.number), launch):
            return  # another controller was quicker: the next look shows its launch
        why = "" if action.reason == "first" else f", in place of the last one ({action.reason})"
        self._tell(
            "launched",
            f"asking for machine {launch.machine} in {action.pool.name}{why}",
            launch=launch.number,
            set_aside=list(action.set_aside),
        )
        self._ask(launch)

    def _ask(self, launch: Launch) -> None:
        pool = next((one for one in pools(self._job) if one.name == launch.pool.get("name")), None)
        provider = self._providers.get(launch.provider)
        if pool is None or provider is None:
            told = f"no provider {launch.provider} or no such pool in this version of Outlast"
            self._memory.note(str(launch.pool.get("name")), lambda seen: replace(seen, never=told))
            self._close(launch, "refused", told, "error")
            return
        given = self._memory.given.get(pool.name, pool.grace_seconds)
        losses = self._memory.between_losses
        spec = job_spec(self._job, launch, pool, given=given, between_losses=losses)
        try:
            provider.ask(Request(launch.machine, pool, spec, spec.max_lifetime_seconds))
        except GiveUpError as error:
            why = str(error)
            self._memory.note(pool.name, lambda seen: replace(seen, never=why))
            self._close(launch, "refused", f"{pool.name} refuses this job: {error}", "error")
        except (NoCapacityError, QuotaError, NotAllowedError) as error:
            self._close(launch, "no-capacity", f"{pool.name} gave no machine: {error}", "warning")
        except ProviderError as error:
            self._ask_later(launch, pool.name, str(error))
        else:
            self._memory.asked[launch.number] = self._clock()

    def _ask_later(self, launch: Launch, pool: str, error: str) -> None:
        """A fault that should pass: told once, and waited for, but not for ever."""
        now = self._clock()
        first = launch.number not in self._memory.failing
        since = now - self._memory.failing.setdefault(launch.number, now)
        if since >= ASK_FOR_SECONDS:
            told = f"{pool} could not be asked for a machine in {for_people(since)}: {error}"
            self._close(launch, "no-capacity", told, "warning")
            return
        self._memory.retry_ask[launch.number] = now + ASK_AGAIN_SECONDS
        if first:
            told = f"{pool} cannot be asked for machine {launch.machine} now, trying on: {error}"
            self._tell("ask-failed", told, "warning", launch=launch.number)

    def _close(
        self, launch: Launch, reason: str, text: str, level: Literal["info", "warning", "error"]
    ) -> None:
        now = self._clock()
        pool = str(launch.pool.get("name"))
        lived = self._memory.seen(layout.launch(self._job.name, launch.number), now)
        if reason in ("evicted", "lost", "vanished", "silent"):
            self._memory.note(pool, lambda seen: after_eviction(after_start(seen), lived, now))
        again = ""
        if reason in REFUSALS:
            self._memory.note(pool, lambda seen: after_refusal(seen, now))
            wait = choose(pools(self._job), self._memory.experience, now)[1]
            if wait > 0:
                again = stamp(after=wait)
                text = f"{text}; the next machine is asked for in {for_people(wait)}"
        key = layout.launch_closed(self._job.name, launch.number)
        self._memory.seen(key, now)  # its pool's experience is noted: not once more when it is read
        if self._create(key, LaunchClosed(at=stamp(), reason=reason, again=again)):
            self._tell(reason, text, level, launch=launch.number)

    def _create(self, key: str, record: Record) -> bool:
        try:
            self._store.create(key, dump(record))
        except AlreadyExistsError:
            return False
        return True

    def _tell(
        self,
        kind: str,
        text: str,
        level: Literal["info", "warning", "error"] = "info",
        *,
        attempt: int | None = None,
        launch: int | None = None,
        **data: Any,
    ) -> None:
        self._say(text, job=self._job.name, attempt=attempt, launch=launch)
        event = Event(
            at=stamp(),
            source="controller",
            kind=kind,
            level=level,
            text=text,
            attempt=attempt,
            launch=launch,
            data=data,
        )
        key = layout.event(self._job.name, time.time_ns() // 1000, secrets.token_hex(4))
        with contextlib.suppress(AlreadyExistsError):
            self._store.create(key, dump(event))


def delete(provider: Provider, action: Delete, memory: Memory, say: Say) -> None:
    """Delete one machine; what cannot be deleted yet is listed, and seen again: told once."""
    try:
        provider.delete(action.machine)
    except ProviderError as error:
        if memory.undeleted.get(action.machine) != str(error):
            memory.undeleted[action.machine] = str(error)
            say("a machine could not be deleted yet", machine=action.machine, error=str(error))
    else:
        say("a machine was deleted", machine=action.machine, launch=action.launch)
