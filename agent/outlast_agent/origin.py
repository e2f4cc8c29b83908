"""Where an attempt begins: the newest whole checkpoint, or nothing, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from outlast.manifest import CheckpointId, ManifestError
from outlast_agent import layout, records
from outlast_agent.attempt import Attempt
from outlast_agent.clock import stamp
from outlast_agent.context import Context
from outlast_agent.scratch.choice import Chosen
from outlast_agent.scratch.place import Places
from outlast_agent.stores.base import NotFoundError
from outlast_agent.sync import newest
from outlast_agent.sync.restore import Downloader
from outlast_agent.teller import Teller

EVERY_ATTEMPT = 10**6
"""Attempts have six digits."""

_ENOUGH_SECONDS = 0.5
"""A download shorter than this says nothing about the network."""


class HeldError(Exception):
    """Less is in the store than was said to be durable: a person decides."""

    def __init__(self, message: str, expected: str, found: str | None) -> None:
        super().__init__(message)
        self.expected, self.found = expected, found


class Origin:
    """Finds and brings what an attempt begins from."""

    def __init__(self, context: Context, on_place: Callable[[Chosen], None]) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._places = Places(
            context.folders, context.spec.checkpoint.scratch, context.spec.grace_seconds, on_place
        )
        self._abandon = threading.Event()
        self._downloader = self._new_downloader()
        self._held: HeldError | None = None

    @property
    def abandoned(self) -> bool:
        """Whether it was broken off, not because the daemon ends."""
        return self._abandon.is_set() and not self._context.stop.is_set()

    def abandon(self) -> None:
        """Break off what is being brought."""
        self._abandon.set()

    def ahead(self) -> None:
        """Bring the newest before it is known which attempt will need it.

        Raises NewerVersionError, StoppedError, OSError.
        """
        set_aside = self._set_aside()
        with self._lock:
            self._downloader.newest(below=EVERY_ATTEMPT, set_aside=set_aside)

    def restore(self, attempt: Attempt, teller: Teller) -> None:
        """Bring the newest and put it into the fresh folders of ``attempt``.

        Raises HeldError, NewerVersionError, StoppedError, OSError.
        """
        with self._lock:
            if self._abandon.is_set():
                self._abandon = threading.Event()
                self._downloader = self._new_downloader()
            set_aside = self._set_aside()
            said = self._said(attempt.number)
            began = time.monotonic()
            found = self._downloader.newest(below=attempt.number, set_aside=set_aside)
            seconds = time.monotonic() - began
            for id_, why in found.damaged.items():
                teller.tell(
                    "checkpoint-damaged",
                    f"checkpoint {id_} is damaged and was passed over: {why}",
                    level="error",
                    attempt=attempt.number,
                    data={"checkpoint": str(id_)},
                )
            manifest = found.manifest
            expected = newest.missing(
                None if manifest is None else manifest.id,
                damaged=found.damaged,
                set_aside=set_aside,
                said=said,
            )
            if expected is not None:
                whole = None if manifest is None else str(manifest.id)
                raise self._hold(expected, whole)
            self._places.settle(None if manifest is None else manifest.size)
            attempt.restore(self._downloader, manifest)
        if manifest is None:
            teller.tell("begun", "training begins from nothing", attempt=attempt.number)
            return
        teller.tell(
            "resumed",
            f"training goes on from step {manifest.step}",
            attempt=attempt.number,
            data={"checkpoint": str(manifest.id), "step": manifest.step, "bytes": manifest.size},
        )
        brought, rate = self._downloader.fetched_bytes, self._context.link.rate
        if rate is None and seconds > _ENOUGH_SECONDS and brought > 0:
            rate = brought / seconds  # the way down is the best guess for the way up
        attempt.concerns.fits(manifest.size, rate)

    def write_held(self, attempt: int, message: str) -> None:
        """Say in the store that a person has to decide. Raises StoppedError."""
        held = self._held
        assert held is not None
        record = records.Held(
            at=stamp(), attempt=attempt, expected=held.expected, found=held.found, message=message
        )
        surely = self._context.surely("held")
        key = layout.held(self._context.spec.job)
        surely.create(self._context.store, key, records.dump(record))

    def _hold(self, expected: str, found: str | None) -> HeldError:
        job = self._context.spec.job
        there = "nothing" if found is None else f"checkpoint {found} at most"
        self._held = HeldError(
            f"checkpoint {expected} was said to be durable and is not in the store; there is "
            f"{there}. Is it the right store, was something deleted? Bring it back, or decide "
            f"with `outlast resume {job} --from CHECKPOINT`",
            expected,
            found,
        )
        return self._held

    def _new_downloader(self) -> Downloader:
        context, abandon = self._context, self._abandon
        return Downloader(
            context.store,
            context.spec.job,
            lambda size: self._places.settle(size) / "download",
            context.surely("checkpoint", abandon),
        )

    def _set_aside(self) -> tuple[str, ...]:
        """Checkpoints that the launch says not to begin from."""
        context = self._context
        key = layout.launch(context.spec.job, context.spec.launch)
        with suppress(NotFoundError):
            data = context.surely("launch").do(lambda: context.store.read(key))
            return records.load(records.Launch, data, key=key).set_aside
        return ()  # the machine leaves on its own when its launch is not there

    def _said(self, below: int) -> newest.Said | None:
        """What the newest end before this attempt said to be durable."""
        context, job = self._context, self._context.spec.job
        surely = context.surely("attempts")
        for number in range(below - 1, 0, -1):
            key = layout.attempt_end(job, number)
            try:
                data = surely.do(partial(context.store.read, key))
            except NotFoundError:
                continue
            end = records.load(records.AttemptEnd, data, key=key)
            if end.durable_step is not None:
                return newest.Said(number, end.durable_step, _id(end.started_from))
        return None


def _id(text: str | None) -> CheckpointId | None:
    try:
        return None if text is None else CheckpointId.parse(text)
    except ManifestError:
        return None
