"""Performs what the machine asks for. What may wait is done in a thread and answers by event."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from outlast.manifest import NewerVersionError
from outlast.notice import Notice
from outlast_agent import budget, effects, events, layout, records
from outlast_agent.attempt import Attempt
from outlast_agent.clock import stamp
from outlast_agent.context import Context
from outlast_agent.ending import record, signal
from outlast_agent.origin import HeldError, Origin
from outlast_agent.outcome import Ending, of_disk
from outlast_agent.records import RecordError
from outlast_agent.runtimes.base import CannotStartError, Exit, TryAgainError
from outlast_agent.scratch.choice import Chosen
from outlast_agent.setting_up import CannotSetUpError, SetUp
from outlast_agent.stores.base import StoreError
from outlast_agent.surely import StoppedError
from outlast_agent.teller import Teller
from outlast_agent.watchers.base import Watcher, WatcherError

START_DELAY = 2.0
START_TRIES = 10
LAST_LOGS = 30.0
LAST_LOGS_UNDER_NOTICE = 2.0
LAST_EVENTS = 2.0
"""Seconds for what is to be told of an end, before the cloud may have the machine."""

Post = Callable[[events.Event], None]


class Hands:
    """Performs effects for one daemon; called by its one deciding thread."""

    def __init__(
        self, context: Context, watcher: Watcher, post: Post, ended: Callable[[Exit], None]
    ) -> None:
        self._context, self._watcher, self._post, self._ended = context, watcher, post, ended
        self._set_up = SetUp(context)
        self._origin = Origin(context, self._on_place)
        self._adopting = threading.Event()
        self._decided = threading.Event()
        self.teller = Teller(context)
        self.attempt: Attempt | None = None
        """The one that was claimed last."""

    def perform(self, effect: effects.Effect) -> None:
        """Begin it. Raises OSError for the local disk."""
        match effect:
            case effects.SetUp():
                self._context.thread("set-up", self._bring)
            case effects.Claim(attempt):
                self._context.thread("claim", lambda: self._claim(attempt))
            case effects.Adopt(attempt):
                self._begin(attempt)
                self._adopting.set()
                self._decided.set()
                self._context.thread("adopt", lambda: self._adopt(self._own()))
            case effects.RecordReboot(attempt):
                self._context.thread("reboot", lambda: self._record_reboot(attempt))
            case effects.Restore(attempt):
                self._begin(attempt)
                self._context.thread("restore", lambda: self._restore(self._own()))
            case effects.Abandon():
                self._origin.abandon()
            case effects.Start():
                self._context.thread("start", lambda: self._start(self._own()))
            case effects.Tell(_, notice):
                self._tell(notice)
            case effects.Publish(attempt, notice):
                self._publish(attempt, notice)
            case effects.Terminate():
                self._push("SIGTERM", self._own().terminate)
            case effects.Kill():
                self._push("SIGKILL", self._own().kill)
            case effects.Flush(until):
                self._flush(until)
            case effects.Record(attempt, ending):
                self._begin(attempt)
                self._context.thread("record", lambda: self._record(self._own(), ending))
            case effects.Acknowledge(notice):
                self._context.thread("acknowledge", lambda: self._acknowledge(notice))
            case effects.Say(kind, text):
                self.teller.tell(kind, text, attempt=self._number())
            case effects.PowerOff(reason):
                self.teller.tell("machine-ends", f"the machine ends itself: {reason}")

    def decided(self) -> None:
        """The store was read for the first time: it is known whether there is work to adopt."""
        self._decided.set()

    def close(self, within: float) -> None:
        """Say the last words, for at most ``within`` seconds."""
        self.teller.close(within)

    def _begin(self, number: int) -> None:
        if self.attempt is None or self.attempt.number != number:
            self.attempt = Attempt(self._context, number, self.teller)

    def _own(self) -> Attempt:
        assert self.attempt is not None
        return self.attempt

    def _number(self) -> int | None:
        return None if self.attempt is None else self.attempt.number

    # Setting up and claiming --------------------------------------------------------------------

    def _bring(self) -> None:
        try:
            self._set_up.run(self._download_ahead, self._measure_link)
        except StoppedError:
            return
        except CannotSetUpError as error:
            self.teller.tell("setup-failed", str(error), level="error")
            self._post(events.NotReady(error.ending, time.monotonic()))
        except (OSError, StoreError) as error:
            if isinstance(error, StoreError):  # what is there is too long to be what it should be
                ending = Ending("setup-failed", "error", str(error))
            else:
                ending = of_disk(error)
            self.teller.tell("setup-failed", ending.message, level="error")
            self._post(events.NotReady(ending, time.monotonic()))
        else:
            self._post(events.Ready(time.monotonic()))

    def _download_ahead(self) -> None:
        """The newest checkpoint, while somebody else may still train; what changes until the
        claim is brought then. Not needed where there is a running command to adopt."""
        while not self._decided.wait(1.0):
            if self._context.stop.is_set():
                return
        if self._adopting.is_set():
            return
        with suppress(NewerVersionError, RecordError):  # told when it matters, after the claim
            self._origin.ahead()

    def _on_place(self, chosen: Chosen) -> None:
        place = chosen.place
        if place.kind == "disk" and chosen.as_wanted:
            return
        where = {"ram": "in memory", "local": f"on {place.folder}", "disk": "on the OS disk"}
        self.teller.tell(
            "scratch",
            f"checkpoints are written {where[place.kind]} first: {chosen.why}",
            level="info" if chosen.as_wanted else "warning",
            data={"kind": place.kind},
        )

    def _measure_link(self) -> None:
        context, spec = self._context, self._context.spec
        prefix, within = layout.link_probe(spec.job, spec.launch), layout.link_probes(spec.job)
        context.link.measure(context.store, prefix, within=within)

    def _claim(self, attempt: int) -> None:
        spec = self._context.spec
        claim = records.Claim(
            at=stamp(),
            attempt=attempt,
            launch=spec.launch,
            machine=spec.machine,
            boot_id=self._context.boot_id,
            nonce=secrets.token_hex(16),
        )
        surely = self._context.surely("claim")
        key = layout.claim(spec.job, attempt)
        try:
            won = surely.create(self._context.store, key, records.dump(claim))
        except StoppedError:
            return
        if won:
            self.teller.tell("claimed", f"attempt {attempt} is this machine's", attempt=attempt)
            self._post(events.ClaimWon(attempt, time.monotonic()))
        else:
            self._post(events.ClaimLost(attempt))

    def _record_reboot(self, attempt: int) -> None:
        end = records.AttemptEnd(
            at=stamp(), attempt=attempt, by="daemon", outcome="lost",
            message="the machine restarted",
        )  # fmt: skip
        surely = self._context.surely("end")
        key = layout.attempt_end(self._context.spec.job, attempt)
        with suppress(StoppedError):
            surely.create(self._context.store, key, records.dump(end))
            self.teller.tell(
                "restarted", f"the machine restarted during attempt {attempt}", attempt=attempt
            )

    # Towards training ---------------------------------------------------------------------------

    def _adopt(self, attempt: Attempt) -> None:
        delay = START_DELAY
        while True:
            try:
                found = attempt.adopt(self._set_up.image)
                break
            except TryAgainError as error:
                self._context.board.put("runtime", str(error))
                if self._context.stop.wait(delay):
                    return
        self._context.board.put("runtime", None)
        if not found and attempt.was_started:
            text = "nothing is left of the command that this attempt had started"
            self._post(events.Refused(Ending("yielded", message=text)))
            return
        if found:
            self.teller.tell(
                "adopted", f"attempt {attempt.number} goes on under a restarted daemon",
                attempt=attempt.number,
            )  # fmt: skip
        self._post(events.Adopted(found, time.monotonic()))
        if found:
            attempt.watch(self._ended)

    def _restore(self, attempt: Attempt) -> None:
        try:
            self._origin.restore(attempt, self.teller)
        except StoppedError:
            if not self._origin.abandoned:
                return
        except HeldError as error:
            ending = Ending("setup-failed", "held", str(error))
            self.teller.tell("held", str(error), level="error", attempt=attempt.number)
            self._post(events.Refused(ending))
            return
        except (NewerVersionError, RecordError, StoreError) as error:
            ending = Ending("setup-failed", "error", str(error))
            self.teller.tell("not-restored", str(error), level="error", attempt=attempt.number)
            self._post(events.Refused(ending))
            return
        except OSError as error:
            ending = of_disk(error)
            self.teller.tell("not-restored", ending.message, level="error", attempt=attempt.number)
            self._post(events.Refused(ending))
            return
        self._post(events.Restored())

    def _start(self, attempt: Attempt) -> None:
        for number in range(1, START_TRIES + 1):
            try:
                attempt.start(self._set_up.image)
            except (CannotStartError, OSError) as error:
                if isinstance(error, OSError):
                    ending = of_disk(error)
                else:
                    ending = Ending("setup-failed", error.cause, str(error))
                text = ending.message
                self.teller.tell("not-started", text, level="error", attempt=attempt.number)
                self._post(events.Refused(ending))
                return
            except TryAgainError as error:
                self._context.board.put("runtime", str(error))
                if number == START_TRIES:
                    text = f"the command could not be started in {number} tries: {error}"
                    self._post(events.Refused(Ending("setup-failed", "error", text)))
                    return
                if self._context.stop.wait(START_DELAY):
                    return
            else:
                self._context.board.put("runtime", None)
                self.teller.tell("started", "the command runs", attempt=attempt.number)
                self._post(events.Started(time.monotonic()))
                attempt.watch(self._ended)
                return

    # Stopping -----------------------------------------------------------------------------------

    def _publish(self, attempt: int, notice: Notice) -> None:
        job = self._context.spec.job
        progress = self._own().progress
        value = records.AttemptNotice(
            at=stamp(),
            attempt=attempt,
            event_id=notice.id,
            reason=notice.reason,
            seconds_left=notice.seconds_left,
            step=None if progress is None else progress.step,
        )
        surely = self._context.surely("notice")
        self._context.hurry.set()

        def publish() -> None:
            with suppress(StoppedError):
                key = layout.attempt_notice(job, attempt)
                surely.create(self._context.store, key, records.dump(value))
                signal(self._context, surely, attempt, "notice")

        self._context.thread("notice", publish)
        self.teller.tell(
            "notice",
            f"notice: {notice.reason}, {notice.seconds_left:.0f} s left{self._planned(notice)}",
            attempt=attempt,
            data={"reason": notice.reason, "seconds_left": round(notice.seconds_left, 1)},
        )

    def _planned(self, notice: Notice) -> str:
        attempt, now = self._own(), time.monotonic()
        if attempt.uploader is None:  # nothing runs
            return ""
        chosen = attempt.outlook().plan(attempt.reckoned(notice) - now, now)
        return f"; {budget.in_words(chosen, durable_step=attempt.durable_step)}"

    def _tell(self, notice: Notice) -> None:
        attempt = self._own()
        try:
            attempt.tell(notice)
        except OSError as error:
            # A full disk, or a program that spoilt its control folder: SIGTERM says the same.
            text = f"the notice file cannot be written ({error}): SIGTERM instead"
            self.teller.tell("notice-untold", text, level="warning", attempt=attempt.number)
            self._push("SIGTERM", attempt.terminate)

    def _push(self, what: str, push: Callable[[], None]) -> None:
        self.teller.tell("stopping", f"{what} to the command", attempt=self._number())

        def work() -> None:
            while True:
                try:
                    push()
                except TryAgainError as error:
                    self._context.board.put("runtime", str(error))
                    if self._context.stop.wait(0.2):
                        return
                else:
                    return

        self._context.thread("push", work)

    def _flush(self, until: float | None) -> None:
        uploader = self._own().uploader
        assert uploader is not None
        uploader.flush(until, lambda: self._post(events.Flushed()))

    def _record(self, attempt: Attempt, ending: Ending) -> None:
        noticed = ending.outcome == "yielded"
        attempt.close(logs_within=LAST_LOGS_UNDER_NOTICE if noticed else LAST_LOGS)
        if ending.cause == "held":
            with suppress(StoppedError):
                self._origin.write_held(attempt.number, ending.message)
        self.teller.tell(
            ending.outcome,
            ending.message or f"the attempt {ending.outcome}",
            level="error" if ending.outcome in ("failed", "setup-failed") else "info",
            attempt=attempt.number,
        )
        try:
            record(self._context, attempt, ending, self.teller)
        except StoppedError:
            return
        # The store takes what it is given: it may have refused the log before.
        if (lost := attempt.close_log(within=LAST_LOGS_UNDER_NOTICE)) is not None:
            self.teller.tell("log-cut", lost, level="warning", attempt=attempt.number)
        self.teller.flush(LAST_EVENTS)
        with suppress(TryAgainError):  # what is left of it, the next daemon removes
            attempt.forget()
        self._post(events.Recorded(time.monotonic()))

    def _acknowledge(self, notice: Notice) -> None:
        for _ in range(3):
            try:
                self._watcher.acknowledge(notice)
            except WatcherError as error:
                self._context.journal.warning("the notice is not acknowledged", error=str(error))
                if self._context.stop.wait(1.0):
                    return
            else:
                return
