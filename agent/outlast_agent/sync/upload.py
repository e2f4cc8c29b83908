"""Scratch -> store: what is whole in scratch becomes durable, the newest first.

One thread decides, a few more carry. A listing of scratch is the truth about what is there; a
watch on the folder only makes the next look come sooner. Objects go up in parallel, the
manifest last, so a checkpoint exists in the store only when it is whole there.

Scratch is read as :mod:`outlast_agent.sync.beneath` does. The objects of a checkpoint are held
open while it is carried, so a library that keeps only its newest two cannot starve an upload.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from outlast.manifest import (
    MAX_MANIFEST_BYTES,
    CheckpointId,
    Manifest,
    ManifestError,
    ObjectRef,
    dump_manifest,
    newest_first,
    parse_manifest,
)
from outlast_agent import budget, layout
from outlast_agent.clock import age
from outlast_agent.stores.base import (
    RefusedError,
    Store,
    StoreError,
    UnavailableError,
)
from outlast_agent.surely import StoppedError, Surely
from outlast_agent.sync import apart
from outlast_agent.sync.apart import GLANCE
from outlast_agent.sync.cadence import Cadence
from outlast_agent.sync.carriers import CLOSE_SECONDS, Carriers
from outlast_agent.sync.orders import Orders
from outlast_agent.sync.sending import Sending
from outlast_agent.sync.sweep import Sweeper
from outlast_agent.sync.whole import Lineage, Scratch

LOOK_SECONDS = 2.0
SWEEP_SECONDS = 30.0
FITS_AMONG = 4
"""So many of the newest are looked through for the end of a ``fit``, without a deadline."""
IDLE_SECONDS = 30.0
"""After so long without anything to send, its memory is given back."""


@dataclass(frozen=True)
class Durable:
    """A checkpoint became durable."""

    id: CheckpointId
    kind: str
    size: int
    """Bytes of the whole checkpoint."""
    uploaded: int
    """Bytes that had to be sent for it."""
    seconds: float
    """From the beginning of its upload."""
    at: float
    """Monotonic."""


class Uploader:
    """Makes one attempt's checkpoints durable until it is closed.

    ``cadence`` says how many seconds lie between two uploads on cadence, at least.
    ``sweeper`` deletes between two uploads. ``surely`` makes the retrying caller for a stop event.
    The callbacks come from the uploader's own thread: ``on_refused`` with what is wrong with a
    checkpoint that an honest library would not have written, ``on_crash`` with whatever ended the
    thread.
    """

    def __init__(
        self,
        store: Store,
        roots: Sequence[Path],
        lineage: Lineage,
        surely: Callable[[threading.Event], Surely],
        *,
        cadence: Cadence,
        sweeper: Sweeper,
        on_durable: Callable[[Durable], None],
        on_refused: Callable[[str], None],
        on_crash: Callable[[BaseException], None],
        expected_rate: float | None = None,
    ) -> None:
        """``roots`` are the folders of :class:`Scratch`.

        ``expected_rate``: bytes per second, for as long as nothing was measured here.
        """
        self._store, self._lineage, self._surely = store, lineage, surely
        self._scratch = Scratch(roots, lineage, on_refused)
        self._sweeper = sweeper
        self._cadence = cadence
        self._on_durable, self._on_crash = on_durable, on_crash
        self._prefix = layout.job_root(lineage.job)
        self._carriers = Carriers()
        self._sending = Sending(
            store,
            self._prefix,
            self._scratch,
            carriers=self._carriers,
            surely=surely,
            known=lineage.parent.objects if lineage.parent else (),
            expected_rate=expected_rate,
        )
        self._carried: Manifest | None = None
        self._last_begun = float("-inf")
        self._last_sweep = time.monotonic()
        self.every: float | None = cadence.every
        """Seconds from one upload on cadence to the next, as it was chosen after the latest."""
        self.durable: Durable | None = None
        """The newest of this attempt."""
        self.waiting: tuple[budget.Candidate, ...] = ()
        """What is whole in scratch and not durable, the newest first; replaced whole."""
        self.under_way = 0
        """Bytes of requests that cannot be recalled, then."""
        self.newest_size: int | None = None
        """Bytes of the newest checkpoint that was seen in scratch."""

        self._orders = Orders()
        self._warmed = False
        self._active_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look(self) -> None:
        """Something may have changed in scratch."""
        self._orders.look()

    def rush(self, deadline: float) -> None:
        """A notice runs until the monotonic ``deadline``: no cadence any more, no sweeping."""
        self._orders.rush(deadline)

    def flush(self, until: float | None, done: Callable[[], None]) -> None:
        """The program has ended: make the newest durable, then call ``done``, once.

        Past the monotonic ``until`` it is called in any case. Called again before that, only
        ``until`` changes.
        """
        self._orders.flush(until, done)

    def close(self) -> None:
        """Stop. No request is begun after this returns; one that hangs is not waited for."""
        self._orders.close()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)
        self._carriers.close()

    @property
    def rate(self) -> float | None:
        """Measured bytes per second; None before the first upload."""
        return self._sending.rate

    # The deciding thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._surely(self._orders.closed).do(self._learn)
            while not self._orders.closed.is_set():
                self._warm()
                ended = (
                    self._orders.program_ended
                )  # asked first: a look before that may be too early
                chosen = None if self._orders.too_late else self._choose(left=self._orders.left)
                if chosen is None:
                    if ended:
                        self._orders.answer()
                elif self._due(chosen):
                    self._upload(chosen)
                    continue
                self._send_ahead(chosen)
                self._orders.wait(GLANCE if self._sending.busy else LOOK_SECONDS)
        except StoppedError:
            pass
        except BaseException as error:
            if not self._orders.closed.is_set():
                self._on_crash(error)

    def _learn(self) -> None:
        """What an earlier daemon of this attempt has done already."""
        attempt = self._lineage.attempt
        for entry in self._store.list(f"{layout.objects(self._lineage.job)}{attempt:06d}/"):
            try:
                self._sending.known.add(ObjectRef.parse(entry.key))
            except ManifestError:
                continue
        keys = self._store.list(f"{layout.checkpoints(self._lineage.job)}{attempt:06d}-")
        for id_ in newest_first(entry.key for entry in keys):
            try:
                data = self._store.read(self._prefix + id_.key, limit=MAX_MANIFEST_BYTES)
                manifest = parse_manifest(data, name=str(id_))
            except (UnavailableError, RefusedError):
                raise  # late, not damaged
            except (StoreError, ManifestError):
                continue
            at = time.monotonic() - (age(manifest.written) or 0.0)
            self.durable = Durable(id_, manifest.kind, manifest.size, 0, 0.0, at)
            return

    def _choose(self, *, left: float | None) -> Manifest | None:
        whole = self._scratch.newer_than(self.durable.id if self.durable else None)
        candidates: dict[CheckpointId, Manifest] = {}
        for id_ in whole:
            if self._orders.over:
                break  # a hostile program leaves more of them than can be read in time
            manifest = self._scratch.manifest(id_)
            if manifest is not None:
                candidates[id_] = manifest
                if left is None and len(candidates) == FITS_AMONG:
                    break
        for newest in list(candidates.values())[:1]:
            self.newest_size = newest.size
        if self._carried is not None:  # the library may have removed it: it is held open
            candidates.setdefault(self._carried.id, self._carried)
        self._show(*candidates.values())
        ends = [each for each in candidates.values() if each.kind == "fit"]
        if left is None and ends:
            return ends[-1]  # each of them stays in the store: none is passed over for a newer one
        chosen = budget.plan(self.waiting, rate=self.rate, left=left, under_way=self.under_way)
        return None if chosen.id is None else candidates[chosen.id]

    def _show(self, *waiting: Manifest) -> None:
        carried = None if self._carried is None else self._carried.id
        self.waiting = tuple(
            budget.Candidate(each.id, self._missing_bytes(each), started=each.id == carried)
            for each in waiting
        )
        # What is on its way cannot be recalled: whatever is carried instead comes after it.
        behind = self._sending.running() if self._carried is not None else set()
        self.under_way = sum(ref.size for ref in behind.intersection(self._carried_objects()))

    def _missing(self, manifest: Manifest) -> list[ObjectRef]:
        return [ref for ref in dict.fromkeys(manifest.objects) if ref not in self._sending.known]

    def _carried_objects(self) -> tuple[ObjectRef, ...]:
        return () if self._carried is None else self._carried.objects

    def _missing_bytes(self, manifest: Manifest) -> int:
        return sum(ref.size for ref in self._missing(manifest))

    def _due(self, manifest: Manifest) -> bool:
        return manifest.kind != "cadence" or self._is_time()

    def _is_time(self) -> bool:
        """Whether a checkpoint on cadence would be carried now."""
        return self._orders.rushing or time.monotonic() >= self._last_begun + (self.every or 0.0)

    # One checkpoint -----------------------------------------------------------------------------

    def _send_ahead(self, chosen: Manifest | None) -> None:
        """Send objects of a save that is being written: its manifest finds them there."""
        if chosen is None and self._is_time() and not self._orders.over:
            if not self._orders.program_ended:
                self._sending.offer(self._scratch.ahead(), None)
            self._sending.step(hurry=self._orders.rushing, seconds=0.0)
        now = time.monotonic()
        if self._sending.busy:
            self._active_at = now
        elif now > self._active_at + IDLE_SECONDS:
            self._sending.idle()

    def _send_along(self, missing: Sequence[ObjectRef]) -> None:
        """What is whole of the next save, if what is carried is in time all the same."""
        left, ahead = self._orders.left, self._scratch.ahead()
        if left is not None:
            more = sum(ref.size for ref in ahead if ref not in self._sending.known)
            size = sum(ref.size for ref in missing) + more
            seconds = budget.flush_seconds(size, self.rate)
            if seconds is None or seconds > budget.usable(left):
                return
        self._sending.offer(ahead, None)

    def _warm(self) -> None:
        if self._orders.rushing and not self._warmed:
            self._warmed = True
            self._sending.warm()

    def _upload(self, manifest: Manifest) -> None:
        """Carry one checkpoint up, or leave it when something better comes."""
        begun = self._last_begun = self._active_at = time.monotonic()
        sending, objects = self._sending, tuple(dict.fromkeys(manifest.objects))
        begun = min(begun, sending.early_since(objects) or begun)
        there = {ref for ref in objects if ref in sending.known and not sending.is_early(ref)}
        self._carried = manifest
        self._show(manifest)
        held = ExitStack()
        try:
            missing = self._missing(manifest)
            descriptors = self._scratch.hold(manifest, missing, held)
            if descriptors is None:
                return
            if self._carriers.may_leave():
                sending.only(missing)
            looked = time.monotonic()
            while missing := self._missing(manifest):
                sending.offer(missing, descriptors)
                if self._orders.rushing and not self._orders.program_ended:
                    self._send_along(missing)
                arrived = sending.step(hurry=self._orders.rushing, seconds=GLANCE)
                now = time.monotonic()
                if arrived:
                    self._show(manifest)
                if self._missing(manifest) and (not arrived or now >= looked + GLANCE):
                    looked = now
                    if self._orders.over or self._has_better_than(manifest):
                        return
        except OSError as error:
            self._scratch.refuse(manifest.id, str(error))
            return
        finally:
            sending.drop(held)
            self._carried = None
        self._finish(manifest, [ref for ref in objects if ref not in there], begun)

    def _has_better_than(self, manifest: Manifest) -> bool:
        """Whether, under a notice, another checkpoint is the one to carry now."""
        if not self._orders.rushing or not self._carriers.may_leave():
            return False
        chosen = self._choose(left=self._orders.left)
        return chosen is not None and chosen.id != manifest.id

    def _finish(self, manifest: Manifest, new: Sequence[ObjectRef], begun: float) -> None:
        """All its objects are up, ``new`` for its sake: the manifest makes it exist."""
        sent = sum(ref.size for ref in new)
        key = self._prefix + manifest.id.key
        try:
            data = dump_manifest(manifest)
        except ValueError as error:
            self._scratch.refuse(manifest.id, f"it holds what JSON cannot say: {error}")
            return
        created = apart.create(
            self._carriers, self._surely, self._store, (key, data),
            leave=lambda late: self._leave_manifest(manifest, late),
        )  # fmt: skip
        if not created:
            if created is not None:
                self._scratch.refuse(manifest.id, f"another one of this name is at {key}")
            return
        now = time.monotonic()
        self.durable = Durable(manifest.id, manifest.kind, manifest.size, sent, now - begun, now)
        self.every = self._cadence.interval(sent, len(new), self.rate)
        self._sending.named(manifest.objects)
        self._sweeper.saw(manifest)
        self._on_durable(self.durable)
        if not self._orders.no_sweep and now >= self._last_sweep + SWEEP_SECONDS:
            self._last_sweep = now
            apart.sweep(
                self._carriers, self._sweeper, self._sending.known.discard,
                spared=self._sending.spared(), stop=lambda: self._orders.no_sweep,
            )  # fmt: skip

    def _leave_manifest(self, manifest: Manifest, late: bool) -> bool:
        return self._orders.over or (late and self._has_better_than(manifest))
