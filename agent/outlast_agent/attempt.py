"""One attempt on this machine: its folders, its program, its uploads, its end."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from contextlib import suppress

from outlast import notice as notices
from outlast.durable import create_file, replace_file
from outlast.manifest import Manifest, dump_manifest, parse_manifest
from outlast.notice import Notice
from outlast.progress import Progress
from outlast_agent.clock import age
from outlast_agent.concerns import Concerns, Facts
from outlast_agent.context import Context
from outlast_agent.control import Control, Said
from outlast_agent.folders import AttemptFolders
from outlast_agent.logs import LogShipper, bound
from outlast_agent.outlook import Outlook
from outlast_agent.runtimes.base import Exit, Running, TryAgainError
from outlast_agent.sync.cadence import cadence_of
from outlast_agent.sync.restore import Downloader
from outlast_agent.sync.sweep import Sweeper
from outlast_agent.sync.upload import Durable, Uploader
from outlast_agent.sync.watching import watch
from outlast_agent.sync.whole import Lineage
from outlast_agent.teller import Teller
from outlast_agent.working import work_of

FULL_DISK = 16 << 20
"""Bytes: with less than this left, a failure is put down to the disk."""


EVICTION = "preempt"
"""Reason of a notice that a pool's experience speaks of."""


class Attempt:
    """The hands of an attempt. The machine decides, the daemon calls."""

    def __init__(self, context: Context, number: int, teller: Teller) -> None:
        self._context = context
        self._teller = teller
        self.number = number
        self.folders: AttemptFolders = context.folders.attempt(number)
        self.parent: Manifest | None = None
        self.progress: Progress | None = None
        self.advanced_at = time.monotonic()
        """When its step last changed, or it entered another phase."""
        self.uploader: Uploader | None = None
        self._control = Control(self.folders.control, self._notes_told())
        self._running: Running | None = None
        self._shipper: LogShipper | None = None
        self._unwatch: Callable[[], None] = lambda: None
        self.concerns = Concerns(teller, number, context.spec.grace_seconds)
        self._following_since = time.monotonic()
        self._refused = ""
        self._unbounded = False

    # Towards training ---------------------------------------------------------------------------

    def restore(self, downloader: Downloader, manifest: Manifest | None) -> None:
        """Fresh folders, with this checkpoint in scratch and its files in outputs.

        Raises OSError, also for a local disk that does not hold what was written to it.
        """
        for other in self._context.folders.others(self.number):
            other.remove()
        self.folders.make()
        self.parent = manifest
        if manifest is None:
            return
        downloader.move(manifest, self.folders.scratch)
        if manifest.outputs:
            # NumPy comes with these: time that an empty folder need not cost.
            from outlast.checkpoint import DamagedError  # noqa: PLC0415
            from outlast.outputs import restore_outputs  # noqa: PLC0415

            try:
                restore_outputs(self.folders.scratch, manifest, self.folders.outputs)
            except DamagedError as error:
                text = f"what was just written to scratch reads back otherwise: {error}"
                raise OSError(errno.EIO, text) from error
        name = f"{manifest.id}\n".encode()
        replace_file(self.folders.parent, name + dump_manifest(manifest))

    def start(self, image: str | None) -> None:
        """Start the command. Raises CannotStartError, TryAgainError, OSError."""
        work = work_of(self._context, self.number, image)
        # From here on an attempt that leaves no trace has run and is lost: never start it twice.
        if not self.folders.started.exists():
            create_file(self.folders.started, b"")
        # Looking first: an earlier daemon may have been killed while it started this very one,
        # and what other attempts left on this machine has to go.
        runtime = self._context.runtime
        self._running = runtime.adopt(work) or runtime.start(work)
        self._follow()

    def adopt(self, image: str | None) -> bool:
        """Find what an earlier daemon of this boot started. Raises TryAgainError, OSError."""
        self._running = self._context.runtime.adopt(work_of(self._context, self.number, image))
        if self._running is None:
            return False
        if self.folders.parent.exists():
            name, _, data = self.folders.parent.read_bytes().partition(b"\n")
            self.parent = parse_manifest(data, name=name.decode())
        self._follow()
        return True

    def watch(self, on_exit: Callable[[Exit], None]) -> None:
        """Say when it has ended. Begun after the start is known: an end must not come first."""
        self._context.thread("wait", lambda: self._wait(on_exit))

    @property
    def was_started(self) -> bool:
        """Whether its command was started, here, in this boot or an earlier one."""
        return self.folders.started.exists()

    def _follow(self) -> None:
        context, spec = self._context, self._context.spec
        lineage = Lineage(spec.job, self.number, self.parent)
        self.uploader = Uploader(
            context.store,
            self.folders.roots,
            lineage,
            lambda stop: context.surely("upload", stop),
            cadence=cadence_of(spec),
            sweeper=Sweeper(context.store, lineage, spec.checkpoint.keep, self._on_no_metric),
            on_durable=self._on_durable,
            on_refused=self._on_refused,
            on_crash=context.crash,
            expected_rate=context.link.rate,
        )
        self._following_since = time.monotonic()
        try:
            self._unwatch = watch(self.folders.roots, self.number, self.uploader.look)
        except OSError as error:
            text = "scratch is only listed, not watched"
            context.journal.warning(text, error=str(error))
        self.uploader.start()
        self._shipper = LogShipper(context, self.number, self.folders.log)

    def _wait(self, on_exit: Callable[[Exit], None]) -> None:
        running, board = self._running, self._context.board
        assert running is not None
        while not self._context.stop.is_set():
            self._bound_log()
            try:
                ended = self._context.runtime.wait(running, 1.0)
            except TryAgainError as error:
                board.put("runtime", str(error))
                self._context.stop.wait(1.0)
                continue
            board.put("runtime", None)
            if ended is not None:
                self._bound_log()
                on_exit(ended)
                return

    def _bound_log(self) -> None:
        try:
            bound(self.folders.log)
        except OSError as error:
            if not self._unbounded:
                self._unbounded = True
                text = f"the log on the machine cannot be kept short ({error}): print less"
                self._teller.tell("log-unbounded", text, level="warning", attempt=self.number)

    # While it trains ----------------------------------------------------------------------------

    def listen(self) -> Said:
        """What the program says; its notes are told on."""
        said = self._control.read()
        self._context.board.put("control", said.problem)
        for note in said.notes:
            self.concerns.heard(note, said.progress)
            self._teller.tell(
                note.code, note.text, level=note.level, source="library", attempt=self.number
            )
        if said.notes:
            told = str(self._control.notes_told).encode()
            with suppress(OSError):  # a full disk: a restarted daemon tells them again
                replace_file(self.folders.notes_told, told, fsync=False)
        before, after = self.progress, said.progress
        if after is not None:
            if before is None or (before.step, before.phase) != (after.step, after.phase):
                self.advanced_at = time.monotonic()
            self.progress = after
        if self.uploader is not None:
            self._look(self.uploader, time.monotonic())
        return said

    def _look(self, uploader: Uploader, now: float) -> None:
        durable, progress = uploader.durable, self.progress
        every = None if progress is None else progress.save_every
        facts = Facts(
            since=self._following_since if durable is None else durable.at,
            durable_step=self.durable_step,
            interval=max(uploader.every or 0.0, every or 0.0),
            waits=self._context.board.line("upload"),
            failed=self.concerns.failed(self.progress) or self._refused,
        )
        self.concerns.look(facts, self.outlook(), now)

    def tell(self, notice: Notice) -> None:
        """The program reads that it has to stop. Raises OSError."""
        if self.uploader is not None:
            self.uploader.rush(self.reckoned(notice))
        notices.write_notice(self.folders.control, notice)

    def reckoned(self, notice: Notice) -> float:
        """The deadline to plan for: machines may be taken sooner than an eviction notice says."""
        deadline = notice.deadline_monotonic
        if notice.reason == EVICTION:
            deadline = min(deadline, time.monotonic() + self._context.spec.grace_seconds)
        return deadline

    def terminate(self) -> None:
        """SIGTERM to the main process. Raises TryAgainError."""
        if self._running is not None:
            self._context.runtime.terminate(self._running)

    def kill(self) -> None:
        """SIGKILL to all of it. Raises TryAgainError."""
        if self._running is not None:
            self._context.runtime.kill(self._running)

    def disk_full(self) -> bool:
        """Whether hardly any room is left where the command writes."""
        for folder in (self.folders.root, self.folders.scratch):
            with suppress(FileNotFoundError):  # what lay in memory may be gone
                if shutil.disk_usage(folder).free < FULL_DISK:
                    return True
        return False

    # Its end ------------------------------------------------------------------------------------

    def close(self, *, logs_within: float) -> None:
        """Nothing is uploaded after this but the rest of a log that was late."""
        self._unwatch()
        if self.uploader is not None:
            self.uploader.close()
        if self._shipper is not None:
            self._shipper.finish(logs_within)

    def close_log(self, *, within: float) -> str | None:
        """Give a late log ``within`` more seconds; what is lost of it, in words."""
        if self._shipper is None:
            return None
        whole = self._shipper.finish(within)
        self._shipper.close()
        if whole or not (lost := self._shipper.missing):
            return None
        return f"the last {lost:,} bytes of its log are lost: the store did not take them in time"

    def forget(self) -> None:
        """Remove what the runtime keeps of it. Raises TryAgainError."""
        if self._running is not None:
            self._context.runtime.remove(self._running)
            self._running = None
        with suppress(OSError):  # goes with the machine, then
            self.folders.remove_memory()

    # What it stands at --------------------------------------------------------------------------

    @property
    def started_from(self) -> str | None:
        """The checkpoint it resumed from."""
        return None if self.parent is None else str(self.parent.id)

    @property
    def durable(self) -> Durable | None:
        """Its own newest durable checkpoint."""
        return None if self.uploader is None else self.uploader.durable

    @property
    def durable_step(self) -> int | None:
        """The newest durable step that it knows of: its own, or what it started from."""
        if self.durable is not None:
            return self.durable.id.step
        return None if self.parent is None else self.parent.step

    def durable_age(self, now: float) -> float | None:
        """Seconds since that step was made durable, or written by another machine."""
        if self.durable is not None:
            return now - self.durable.at
        if self.parent is None:
            return None
        written = age(self.parent.written)
        return now - self._following_since if written is None else written

    def outlook(self) -> Outlook:
        """What can still be saved, from what was measured up to now."""
        uploader = self.uploader
        size = 0 if self.parent is None else self.parent.size
        if uploader is None:
            return Outlook(self.number, self.progress, size, rate=self._context.link.rate)
        return Outlook(
            self.number,
            self.progress,
            size=uploader.newest_size or size,
            waiting=uploader.waiting,
            under_way=uploader.under_way,
            rate=uploader.rate or self._context.link.rate,
        )

    def _on_durable(self, durable: Durable) -> None:
        self._refused = ""
        if durable.kind != "cadence":
            self._teller.tell(
                "durable",
                f"step {durable.id.step} is durable",
                attempt=self.number,
                data={
                    "checkpoint": str(durable.id),
                    "kind": durable.kind,
                    "bytes": durable.uploaded,
                    "seconds": round(durable.seconds, 3),
                },
            )

    def _on_refused(self, text: str) -> None:
        self._refused = text
        self._teller.tell("scratch-refused", text, level="warning", attempt=self.number)

    def _on_no_metric(self, text: str) -> None:
        self._teller.tell("no-such-metric", text, level="warning", attempt=self.number)

    def _notes_told(self) -> int:
        try:
            return int(self.folders.notes_told.read_bytes())
        except FileNotFoundError:
            return 0
