"""Objects on their way to the store: each once, several at a time, at a pace or at full speed.

Objects are sent as soon as they are whole in scratch, which for most is before there is a
manifest that names them. If none ever does, they are swept like any other that none names.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from threading import Event, Thread

from outlast.manifest import ObjectRef
from outlast_agent import budget
from outlast_agent.stores.base import AlreadyExistsError, Store, StoreError, UnavailableError
from outlast_agent.surely import Surely
from outlast_agent.sync import beneath
from outlast_agent.sync.beneath import Opened
from outlast_agent.sync.buffers import Buffers
from outlast_agent.sync.carriers import COUNT, Carriers
from outlast_agent.sync.pace import Pace
from outlast_agent.sync.whole import Scratch


@dataclass
class _Flight:
    ref: ObjectRef
    early: bool
    leave: Event = field(default_factory=Event)


class Sending:
    """Sends one attempt's objects. Used by one thread."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        scratch: Scratch,
        *,
        carriers: Carriers,
        surely: Callable[[Event], Surely],
        known: Iterable[ObjectRef],
        expected_rate: float | None = None,
    ) -> None:
        """``known`` are in the store; ``expected_rate`` holds until one was measured."""
        self.known = set(known)
        """What is in the store."""
        self._store, self._prefix, self._scratch = store, prefix, scratch
        self._carriers, self._surely = carriers, surely
        self._pace = Pace(COUNT)
        self._measured = budget.Rate()
        self._live = expected_rate
        self._buffers = Buffers(COUNT)
        self._queue: OrderedDict[ObjectRef, Opened | None] = OrderedDict()
        self._flying: dict[Future[float], _Flight] = {}
        self._early: dict[ObjectRef, float] = {}
        self._unready: set[ObjectRef] = set()

    @property
    def rate(self) -> float | None:
        """Bytes per second at which the link takes objects, as measured."""
        return self._measured.bytes_per_second or self._live

    @property
    def busy(self) -> bool:
        """Whether something is on its way, or would be but for the pace."""
        return bool(self._flying or self._queue)

    def under_way(self) -> set[ObjectRef]:
        """What is on its way."""
        return {flight.ref for flight in self._flying.values()}

    def running(self) -> set[ObjectRef]:
        """What is on its way and cannot be recalled."""
        return {flight.ref for future, flight in self._flying.items() if future.running()}

    def early_since(self, refs: Iterable[ObjectRef]) -> float | None:
        """When the first of ``refs`` was sent that was before a manifest named it; monotonic."""
        return min((self._early[ref] for ref in refs if ref in self._early), default=None)

    def is_early(self, ref: ObjectRef) -> bool:
        """Whether it was sent before a manifest named it, and none that is durable does yet."""
        return ref in self._early

    def offer(self, refs: Iterable[ObjectRef], descriptors: dict[ObjectRef, Opened] | None) -> None:
        """Have ``refs`` sent, in this order; without ``descriptors``, if they can be read now."""
        flying = self.under_way()
        for ref in refs:
            if ref in self.known or ref in flying:
                continue
            if descriptors is not None:
                self._queue[ref] = descriptors[ref]
            elif ref not in self._unready:
                self._queue.setdefault(ref, None)

    def step(self, *, hurry: bool, seconds: float) -> bool:
        """Begin what may begin, wait at most ``seconds`` for an arrival; whether one was.

        Raises OSError for an object that is not what its name says, if it was offered with a
        descriptor; StoppedError.
        """
        while self._queue and (hurry or not self._pace.wait(time.monotonic())):
            self._begin(*self._queue.popitem(last=False))
        if not self._flying:
            if self._queue and seconds:
                time.sleep(min(seconds, self._pace.wait(time.monotonic())))
            return False
        done, _ = wait(self._flying, seconds, FIRST_COMPLETED)
        for future in done:
            self._end(future)
        return bool(done)

    def only(self, refs: Collection[ObjectRef]) -> None:
        """Leave what is not among ``refs``: something better is to be sent."""
        held = ExitStack()
        for future in [future for future in self._flying if future.done()]:
            self._end(future)
        self._leave([f for f, flight in self._flying.items() if flight.ref not in refs], held)
        self._queue.clear()

    def drop(self, held: ExitStack) -> None:
        """Leave what was offered with descriptors, which ``held`` closes when all have ended."""
        self._leave([f for f, flight in self._flying.items() if not flight.early], held)
        self._queue.clear()

    def named(self, refs: Iterable[ObjectRef]) -> None:
        """A durable manifest names these."""
        for ref in refs:
            self._early.pop(ref, None)

    def spared(self) -> set[ObjectRef]:
        """What no manifest names yet, and one may: it lies in scratch, or is on its way."""
        lying = set(self._scratch.objects())
        self._early = {ref: at for ref, at in self._early.items() if ref in lying}
        return {*self._early, *self.under_way()}

    def idle(self) -> None:
        """Nothing was to be sent for a while."""
        if not self._flying:
            self._buffers.clear()
            self._unready &= set(self._scratch.objects())

    def warm(self) -> None:
        """Have as many connections open as will be used, before they are."""

        def ask() -> None:
            with suppress(StoreError):
                next(iter(self._store.list(f"{self._prefix}result")), None)

        for _ in range(COUNT):
            Thread(target=ask, name="warm", daemon=True).start()

    def _begin(self, ref: ObjectRef, descriptor: Opened | None) -> None:
        flight = _Flight(ref, early=descriptor is None)
        now = time.monotonic()
        if flight.early:
            self._early[ref] = now
        future = self._carriers.submit(self._carry, flight, descriptor)
        self._flying[future] = flight
        self._pace.begins(now)

    def _end(self, future: Future[float]) -> None:
        flight = self._flying.pop(future)
        ref, now = flight.ref, time.monotonic()
        try:
            took = future.result()
        except OSError:
            self._pace.ends(now)
            if not flight.early:
                raise
            # Its manifest may hold it, or say what is wrong with it.
            self._unready.add(ref)
            self._early.pop(ref, None)
            return
        self.known.add(ref)
        burst = self._pace.ends(now, ref.size, took)
        if burst is not None:
            self._measured.add(*burst)
        self._live = self._pace.rate(now) or self._live

    def _leave(self, futures: list[Future[float]], held: ExitStack) -> None:
        now = time.monotonic()
        for future in futures:
            flight = self._flying.pop(future)
            flight.leave.set()
            self._early.pop(flight.ref, None)
            self._pace.ends(now)
        self._carriers.leave(futures, held)
        # Others that had not begun are not begun any more: they are offered again.
        for future in [future for future in self._flying if future.cancelled()]:
            self._early.pop(self._flying.pop(future).ref, None)
            self._pace.ends(now)

    def _carry(self, flight: _Flight, descriptor: Opened | None) -> float:
        """Send one object; the seconds that it took. Runs in a carrier."""
        ref = flight.ref
        buffer = self._buffers.take(ref.size)
        try:
            with ExitStack() as opened:
                if descriptor is None:
                    descriptor = opened.enter_context(self._scratch.open(ref))
                data = beneath.read_object(
                    descriptor, memoryview(buffer)[: ref.size], digest=ref.hash, name=ref.key
                )
            took = 0.0

            def create() -> None:
                nonlocal took
                began = time.monotonic()
                key = self._prefix + ref.key
                try:
                    self._store.create(key, data)
                except AlreadyExistsError as error:
                    # One that is there holds what its name says: an earlier daemon of this
                    # attempt sent it, or an answer was lost. But no manifest may rest on the
                    # mere word of a server.
                    if not any(entry.key == key for entry in self._store.list(key)):
                        text = f"create of {key}: the store says that it exists, but lists it not"
                        raise UnavailableError(f"{text}: it is tried again") from error
                took = time.monotonic() - began

            self._surely(flight.leave).do(create)
            return took
        finally:
            self._buffers.give(buffer)
