"""The thread that turns snapshots into whole checkpoints while training goes on.

One save is in flight; a newer one replaces one that has not begun. A save that fails leaves
nothing behind, is told once, and the next one tries again: training goes on.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from outlast.arena import Arena
from outlast.blocks import IDLE_SECONDS, Blocks
from outlast.checkpoint import Arrays
from outlast.chunks import Placed
from outlast.durable import make_folder, replace_file
from outlast.file_source import (
    Content,
    FileSource,
    OutputChangedError,
    OutputUnreadableError,
)
from outlast.images import OBJECT_BYTES, Image
from outlast.manifest import CheckpointId, Manifest, Part, dump_manifest
from outlast.object_files import object_folder, remove
from outlast.objects import ObjectWriter, Written
from outlast.pace import Pace
from outlast.progress import Note
from outlast.ranks import Parts
from outlast.retention import Retention
from outlast.shared import NoRoomError, Room
from outlast.spares import Spares

_WRITTEN, _SHOWN = 8 << 20, 24 << 20
"""Bytes of an object, about, of a save at a notice: in a file, and in memory that is shared."""
_RATE = 1e9
"""Bytes per second that are expected of a disk before anything was written."""

Kind = str
"""``cadence``, ``notice``, ``fit`` or ``end``."""


@dataclass(frozen=True)
class Save:
    """One save to be made."""

    step: int
    kind: Kind
    state: Any
    """JSON."""
    arrays: Mapping[str, Any]
    """Values that stay as they are, and what was copied into ``images``."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    finite: bool = True
    """Whether all metrics were."""
    files: tuple[FileSource, ...] = ()
    release: Callable[[Written | None], None] = lambda _written: None
    """Called once when the save is over: whole, with where everything lies; or not, with None."""
    fsync: bool = True
    number: int = 0
    """Which one of this attempt, counted alike by all ranks."""
    images: tuple[Image, ...] = ()
    spread: float = 0.0
    """Seconds that the writing may take, so that training hardly notices; 0: none is lost."""


@dataclass(frozen=True)
class Saved:
    """The newest save that is whole on the machine."""

    step: int
    kind: Kind
    seconds: float
    """From taking it up to whole, without rests."""
    bytes: int
    """What had to be written."""


class Writer:
    """Writes the checkpoints of one attempt (of one rank) below ``scratch``."""

    def __init__(
        self,
        scratch: Path,
        *,
        job: str,
        attempt: int,
        rank: int = 0,
        world_size: int = 1,
        arena: Arena | None = None,
        fingerprint: Callable[[], dict[str, str]] = dict,
        on_note: Callable[[Note], None] = lambda _note: None,
    ) -> None:
        """``arena`` is where images lie; the daemon may read a save at a notice from there."""
        self.saved: Saved | None = None
        """The newest whole save of this process."""
        self.newest_finite: CheckpointId | None = None
        """The newest whole checkpoint, of this process or resumed from, with finite metrics."""
        self.failed: Exception | None = None
        """What is wrong with the program's data, to be raised in its own thread."""
        self._scratch, self._job, self._attempt = scratch, job, attempt
        self._rank, self._world_size = rank, world_size
        self._fingerprint, self._on_note = fingerprint, on_note
        self._arena = Arena() if arena is None else arena
        self._parent: Manifest | None = None
        self._parent_index: Callable[[], dict[Content, Placed]] | None = None
        self._index: Mapping[Content, Placed] = {}
        self._changing: frozenset[str] = frozenset()
        self._sketches: Mapping[str, str] = {}
        self._blocks = Blocks()
        self._pace = Pace()
        self._waited_for = 0
        self._parts = Parts(scratch, attempt, world_size)
        self._spares = Spares(object_folder(scratch, attempt))
        self._retention = Retention(scratch, attempt, self._spares)
        self._told: set[str] = set()
        self._condition = threading.Condition()
        self._pending: deque[Save] = deque()
        self._busy = False
        self._last_ok = True
        self._thread: threading.Thread | None = None

    def resumed_from(self, manifest: Manifest, arrays: Arrays) -> None:
        """Let the first save point at what the checkpoint resumed from holds already."""
        self._parent = manifest
        self._retention.parent = manifest.id
        self.newest_finite = manifest.id if manifest.finite else None

        def index() -> dict[Content, Placed]:
            found = {}
            for array in arrays.info():
                for piece in array.pieces:
                    content = (arrays.objects.hash(piece), piece.length)
                    found[content] = Placed(manifest.objects[piece.object], piece.offset)
            return found

        self._parent_index = index

    @property
    def idle(self) -> bool:
        """Whether nothing is being written or waits to be."""
        return not self._busy and not self._pending

    @property
    def changing(self) -> frozenset[str]:
        """Names of the runs of bytes that change from save to save; empty: not known."""
        return self._changing

    @property
    def rested(self) -> float:
        """Seconds of rest in the save under way."""
        return self._pace.rested

    def hurry(self) -> None:
        """No rest in what is under way: it is needed soon."""
        self._pace.hurry()

    def submit(self, save: Save) -> None:
        """Have ``save`` made. Returns at once."""
        with self._condition:
            self._pace.hurry()  # of what is under way
            replaced: list[Save] = []
            if not self._rank:  # rank 0 waits for the others' parts of what it began
                replaced.extend(self._pending)
                self._pending.clear()
            self._pending.append(save)
            if self._thread is None:
                # Not waited for at exit by threading, but by Run: the end must come last.
                thread = threading.Thread(target=self._work, name="outlast-writer", daemon=True)
                thread.start()
                self._thread = thread
            self._condition.notify_all()
        for old in replaced:
            old.release(None)

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything submitted is whole; whether it is, within ``timeout`` seconds."""
        with self._condition:
            self._waited_for += 1
            self._pace.hurry()
            done = self._condition.wait_for(lambda: not self._pending and not self._busy, timeout)
            self._waited_for -= 1
            return done and self._last_ok

    def close(self) -> None:
        """Remove what only further saves would use. If one is under way, it stays."""
        with self._condition:
            if self.idle:
                self._spares.clear()

    def tell_failed(self, step: int, error: OSError) -> None:
        """Tell a person once why saving fails, until it succeeds again."""
        code, advice = _advice(error)
        if code not in self._told:
            self._told.add(code)
            text = (
                f"saving step {step} below {self._scratch} failed: {error}.{advice} "
                "Training goes on; the next save tries again."
            )
            self._on_note(Note("error", code, text))

    def _work(self) -> None:
        while True:
            with self._condition:
                if not self._condition.wait_for(lambda: len(self._pending) > 0, IDLE_SECONDS):
                    self._thread = None
                    return
                save, self._busy = self._pending.popleft(), True
                self._begin(save)
            written = self._attempt_save(save)
            try:
                save.release(written)
            except OSError:
                pass
            except Exception as error:  # whoever waits for this save must not wait for ever
                self.failed, written = error, None
            with self._condition:
                self._busy, self._last_ok = False, written is not None
                self._condition.notify_all()
            del save  # its arrays: the next wait may be long

    def _begin(self, save: Save) -> None:
        size = sum(image.size for image in save.images)
        expected = size / _RATE if self.saved is None else self.saved.seconds
        soon = save.kind != "cadence" or self._waited_for > 0
        self._pace.begin(spread=0.0 if soon else save.spread, expected=expected)

    def _attempt_save(self, save: Save) -> Written | None:
        try:
            written = self._save(save)
        except OSError as error:
            self.tell_failed(save.step, error)
            return None
        except MemoryError:
            self.tell_failed(save.step, OSError(errno.ENOMEM, "out of memory"))
            return None
        except Exception as error:
            self.failed = error
            return None
        self._told.clear()
        return written

    def _save(self, save: Save) -> Written:
        room = None
        if save.kind == "notice" and not save.fsync:
            room = self._arena.room([image.memory for image in save.images])
        if room is not None:
            try:
                return self._written(save, room)
            except NoRoomError:
                room.shared.withdraw()  # scratch has to do
            finally:
                if not save.images:
                    self._arena.give()
        return self._written(save, None)

    def _written(self, save: Save, room: Room | None) -> Written:
        started = time.monotonic()
        if self._parent_index is not None:
            self._index, self._parent_index = self._parent_index(), None
        closed_at = OBJECT_BYTES
        if save.kind == "notice":  # the daemon uploads one while the next is written
            closed_at = _WRITTEN if room is None else _SHOWN
        objects = ObjectWriter(
            self._scratch,
            self._attempt,
            known=self._index,
            changing=self._changing,
            sketches=self._sketches,
            blocks=self._blocks,
            spares=self._spares,
            room=room,
            fsync=save.fsync,
            closed_at=closed_at,
            rest=self._pace.rest,
        )
        written = objects.write(save.arrays.items(), save.files, save.images)
        try:
            self._complete(save, written, room)
        except BaseException:
            # The manifest may be in place already, and only its folder not be written out.
            named = self._retention.named(CheckpointId(self._attempt, save.step))
            remove(self._scratch, set(written.created) - named)
            raise
        compared = bool(self._index or self._sketches)
        self._changing = written.changed if compared else frozenset()
        self._sketches = written.sketches
        self._index = written.index
        took = time.monotonic() - started - self._pace.rested
        self.saved = Saved(save.step, save.kind, took, written.bytes_written)
        self._spares.most = max(self._spares.most, written.bytes_written)
        if not self._rank:
            with suppress(OSError):  # what cannot be removed now can be after the next save
                self._retention.apply()
        return written

    def _complete(self, save: Save, written: Written, room: Room | None) -> None:
        manifest = Manifest(
            job=self._job,
            attempt=self._attempt,
            step=save.step,
            parent=None if self._parent is None else str(self._parent.id),
            kind=save.kind,
            written=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            fingerprint=self._fingerprint(),
            parts=(Part(self._rank, save.state, written.arrays),),
            objects=written.objects,
            outputs=written.outputs,
            metrics=dict(save.metrics),
            finite=save.finite,
        )
        if self._rank:
            self._parts.put(save.number, manifest, fsync=save.fsync)
        else:
            manifest = self._parts.combine(save.number, manifest)
            if room is None:
                path = self._scratch / manifest.id.key
                make_folder(path.parent, fsync=save.fsync)
                replace_file(path, dump_manifest(manifest), fsync=save.fsync)
            else:  # in scratch it would be taken for one whose objects are gone
                room.shared.publish_manifest(manifest.id.key, dump_manifest(manifest))
            self._retention.added(manifest, self._parts.forgotten())
        if manifest.finite:
            self.newest_finite = manifest.id


def _advice(error: OSError) -> tuple[str, str]:
    if isinstance(error, OutputChangedError):
        return "outputs-changed", ""
    if isinstance(error, OutputUnreadableError):
        return "outputs-unreadable", " Make it readable for this process, or take it away."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "scratch-full", " Make room there, or give the job more disk."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "scratch-read-only", " Make the folder writable for this process."
    if error.errno == errno.ENOMEM:
        return "save-memory", " Give the job more memory."
    return "scratch-failed", " Check the disk."
