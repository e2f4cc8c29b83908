"""The controller: observe, decide, act, sleep a second. It keeps nothing that matters.

Kill it at any instant and start another; run two. What one look costs: a listing of ``beats/``
(which jobs there are), one of ``signals/`` (what happened), one of each provider's machines;
then, only for jobs with a signal, a change among their machines, or a look that is due, the
job's own records.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from outlast_agent import layout
from outlast_agent.records import Controller as Watch
from outlast_agent.records import RecordError, dump, load
from outlast_agent.stores.base import NotFoundError, Store, StoreError
from outlast_provisioning.acting import Actor, Say, delete
from outlast_provisioning.actions import Close, EndAttempt, Finish, Open
from outlast_provisioning.clock import stamp
from outlast_provisioning.decide import Policy, decide, finished_with
from outlast_provisioning.memory import Memory
from outlast_provisioning.observe import Listing, abandoned, observe, read_job
from outlast_provisioning.providers.base import Provider, ProviderError

TICK_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""A job without news is looked at this often."""
WATCH_SECONDS = 5.0
"""Between two words of this controller's own."""
FORGET_SECONDS = 600.0
"""A controller whose word did not change for this long is gone."""

OTHER_CONTROLLER = "another controller watches this store too: that is safe, both do the same"

_SIGNAL = re.compile(r"signals/(?P<job>[a-z0-9-]+)-\d{6}-[a-z]+")


@dataclass
class _Attended:
    """One job under this controller's eyes."""

    memory: Memory = field(default_factory=Memory)
    looked: float | None = None
    machines: frozenset[tuple[str, str]] = frozenset()
    over: bool = False
    held: bool = False


class Controller:
    """Watches one store and all jobs in it."""

    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        *,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
        policy: Policy | None = None,
        workers: int = 8,
    ) -> None:
        self.id = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
        self._store = store
        self._providers = providers
        self._say = say
        self._clock = clock
        self._policy = policy or Policy()
        self._jobs: dict[str, _Attended] = {}
        self._listings: dict[str, Listing] = {}
        self._busy: dict[str, Future[None]] = {}
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="job")
        self._again = threading.Event()
        self._sequence = 0
        self._spoke: float | None = None
        self._others: dict[str, tuple[int, float, bool]] = {}
        self._troubles: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Tick each second, sooner after acting, until ``stop`` is set."""
        try:
            while not stop.is_set():
                begun = self._clock()
                self.tick()
                pause = TICK_SECONDS - (self._clock() - begun)
                while pause > 0 and not stop.is_set() and not self._again.is_set():
                    stop.wait(min(pause, 0.1))
                    pause = TICK_SECONDS - (self._clock() - begun)
                self._again.clear()
        finally:
            self.close()

    @property
    def jobs(self) -> int:
        """How many jobs of the store are not over, as far as seen."""
        return sum(not job.over for job in self._jobs.values())

    @property
    def troubled(self) -> bool:
        """Whether something cannot be dealt with now."""
        return any(self._troubles.values())

    def done_with(self, name: str) -> bool:
        """Whether job ``name`` is over or held, and has no machine any more."""
        job = self._jobs.get(name)
        return job is not None and (job.over or (job.held and not job.machines))

    def once(self) -> None:
        """Look at everything once and do what is to be done; returns when it is done."""
        self.tick()
        for future in list(self._busy.values()):
            future.result()

    def close(self) -> None:
        """Finish what is under way, and say that nobody watches here any more."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        with contextlib.suppress(StoreError):
            self._store.delete(layout.controller(self.id))

    def tick(self) -> None:
        """Look around, and set to work on every job that needs it."""
        now = self._clock()
        self._list_machines()
        try:
            self._speak(now)
            names = [
                entry.key.removeprefix(layout.BEATS) for entry in self._store.list(layout.BEATS)
            ]
            signals: dict[str, list[str]] = {}
            for entry in self._store.list(layout.SIGNALS):
                match = _SIGNAL.fullmatch(entry.key)
                if match is not None:
                    signals.setdefault(match["job"], []).append(entry.key)
        except StoreError as error:
            self._trouble("the store", str(error))
            return
        self._trouble("the store", "")
        for name in names:
            if layout.is_job_name(name):
                self._jobs.setdefault(name, _Attended())
        machines = self._machines_by_job()
        for name, job in self._jobs.items():
            busy = self._busy.get(name)
            if busy is not None and not busy.done():
                continue
            due = job.looked is None or (not job.over and now - job.looked >= LOOK_SECONDS)
            mine = machines.get(name, frozenset())
            if due or name in signals or mine != job.machines:
                job.machines = mine
                job.looked = now
                self._busy[name] = self._executor.submit(
                    self._attend, name, job, signals.get(name, [])
                )

    def _attend(self, name: str, job: _Attended, signals: list[str]) -> None:
        try:
            world = observe(self._store, name, dict(self._listings), job.memory, self._clock())
            job.over = finished_with(world)
            job.held = world.held is not None
            actions = decide(world, self._policy)
            if actions:
                actor = Actor(
                    self._store,
                    self._providers,
                    read_job(self._store, name, job.memory),
                    job.memory,
                    clock=self._clock,
                    say=self._say,
                )
                for action in actions:
                    actor.perform(action)
            if any(isinstance(action, (Open, Close, EndAttempt, Finish)) for action in actions):
                job.looked = None  # a new record may call for more at once
                self._again.set()
            for key in signals:
                self._store.delete(key)
        except NotFoundError:
            job.over = True  # a beat without a job: a submit that was cut short, or a removed job
        except RecordError as error:
            self._trouble(f"job {name}", str(error))
            self._clean_up(name, job.memory)
            return
        except StoreError as error:
            self._trouble(f"job {name}", str(error))
            return
        except Exception as error:  # one job's fault must not stop the others
            self._trouble(f"job {name}", f"{type(error).__name__}: {error}")
            return
        self._trouble(f"job {name}", "")

    def _clean_up(self, name: str, memory: Memory) -> None:
        """What is closed costs no more money, even if nothing else can be decided."""
        now = self._clock()
        with contextlib.suppress(StoreError):  # told, or tried again at the next look
            for action, since in list(
                abandoned(self._store, name, dict(self._listings), memory, now)
            ):
                if since > self._policy.courtesy:
                    delete(self._providers[action.provider], action, memory, self._say)

    def _list_machines(self) -> None:
        for name, provider in self._providers.items():
            begun = self._clock()
            try:
                self._listings[name] = Listing(begun, tuple(provider.list()))
            except ProviderError as error:
                self._listings.pop(name, None)
                self._trouble(f"provider {name}", str(error))
            else:
                self._trouble(f"provider {name}", "")

    def _machines_by_job(self) -> dict[str, frozenset[tuple[str, str]]]:
        found: dict[str, set[tuple[str, str]]] = {}
        for listing in self._listings.values():
            for machine in listing.machines:
                found.setdefault(machine.job, set()).add((machine.name, machine.state))
        return {job: frozenset(machines) for job, machines in found.items()}

    def _speak(self, now: float) -> None:
        """Say that this controller is here, and look who else is."""
        if self._spoke is not None and now - self._spoke < WATCH_SECONDS:
            return
        self._spoke = now
        self._sequence += 1
        word = Watch(
            at=stamp(),
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            sequence=self._sequence,
            jobs=self.jobs,
        )
        self._store.put(layout.controller(self.id), dump(word))
        for entry in list(self._store.list(layout.CONTROLLERS)):
            id_ = entry.key.removeprefix(layout.CONTROLLERS)
            if id_ != self.id:
                self._see(entry.key, id_, now)

    def _see(self, key: str, id_: str, now: float) -> None:
        try:
            other = load(Watch, self._store.read(key), key=key)
        except (NotFoundError, RecordError):
            return
        known = self._others.get(id_)
        if known is None or known[0] == other.sequence:
            since = now if known is None else known[1]
            told = False if known is None else known[2]
            self._others[id_] = (other.sequence, since, told)
            if now - since > FORGET_SECONDS:
                self._store.delete(key)
                del self._others[id_]
            return
        if not known[2]:
            self._say(
                OTHER_CONTROLLER,
                controller=id_,
                host=other.host,
                pid=other.pid,
            )
        self._others[id_] = (other.sequence, now, True)

    def _trouble(self, what: str, text: str) -> None:
        """One line when a trouble begins, changes or ends; not one each second."""
        if self._troubles.get(what, "") == text:
            return
        self._troubles[what] = text
        if text:
            self._say(f"{what} cannot be dealt with now, trying again", error=text)
        else:
            self._say(f"{what} can be dealt with again")
