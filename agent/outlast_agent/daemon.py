"""The daemon: the next event, one step of the machine, perform the effects.

Threads feed one queue: the store's views, the cloud's notices, answers to what was begun, the
end of the command. One thread takes them in turn. Whatever waits for a store, a disk or an
engine is done in a thread of its own and answers through the queue. A failure nobody foresaw
ends the daemon; it is started again and goes on from what it finds.
"""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

from outlast.notice import Notice
from outlast_agent import claim, effects, events, machine, outcome
from outlast_agent.beats import Beater, Standing
from outlast_agent.context import Context
from outlast_agent.hands import Hands
from outlast_agent.lifetime import Life
from outlast_agent.lookout import Lookout
from outlast_agent.records import RecordError
from outlast_agent.runtimes.base import Exit
from outlast_agent.state import SHUTDOWN, circumstances
from outlast_agent.stores.base import StoreError
from outlast_agent.watchers.base import Watcher, WatcherError

TICK = 0.25
"""Seconds: how often the control folder is read and time is looked at."""
POLL_SOON = 0.25
"""Seconds between two looks at the store while a claim may be free at any moment."""
POLL_STANDING_BY = 1.0
"""While another trains and nothing says that it will stop."""
POLL_TRAINING = 3.0
FIRST_POLL = 1.0
"""Seconds for the first word about notices, before anything is decided without it."""
LAST_WORDS = 10.0
"""Seconds for what is left to tell when the machine goes."""
RESTART_WORDS = 1.0
"""And when this daemon goes, and the next one follows."""
SHUTDOWN_SECONDS = 60.0
"""Seconds that a shutdown leaves; the unit's TimeoutStopSec is longer."""


@dataclass(frozen=True)
class ViewRead:
    """The store was read."""

    view: claim.View


@dataclass(frozen=True)
class CommandEnded:
    """The command has ended."""

    exit: Exit


@dataclass(frozen=True)
class Told:
    """SIGTERM came to the daemon."""


@dataclass(frozen=True)
class Crashed:
    """A thread of the daemon failed."""

    error: BaseException


Message: TypeAlias = events.Event | ViewRead | CommandEnded | Told | Crashed


class Daemon:
    """One life of the daemon, from its start to the machine's end or its own failure."""

    def __init__(
        self, context: Context, watcher: Watcher, life: Life, inbox: queue.Queue[Message]
    ) -> None:
        self._context, self._watcher, self._life, self._inbox = context, watcher, life, inbox
        now = time.monotonic()
        left = context.spec.max_lifetime_seconds - life.lived(now)
        self._state, self._first = machine.begin(now, lifetime_left=left)
        spec = context.spec
        self._me = claim.Me(spec.launch, spec.machine, context.boot_id)
        self._look_now = threading.Event()
        self._polled = threading.Event()
        self._off: str | None = None
        self._ending_as: Literal["restart", "shutdown"] | None = None
        self._hands = Hands(context, watcher, inbox.put, lambda e: inbox.put(CommandEnded(e)))

    def run(self) -> str | None:
        """Until the machine may go; why. None: told to end, and the command goes on, or its
        work is safe. Raises what a thread failed with."""
        context = self._context
        beater = Beater(context, self._standing, lambda: self._life.write(time.monotonic()))
        context.thread("look", self._look)
        context.thread("watch", self._watch)
        context.thread("beat", beater.run)
        try:
            for effect in self._first:
                self._perform(effect)
            ticked = time.monotonic()
            while self._off is None and not self._may_end():
                try:
                    message: Message | None = self._inbox.get(timeout=TICK)
                except queue.Empty:
                    message = None
                self._listen()
                if message is not None:
                    self._take(message)
                if time.monotonic() >= ticked + TICK:
                    ticked = time.monotonic()
                    self._step(events.Tick(ticked, waits=context.board.waits()))
        finally:
            context.stop.set()
        if self._off is None:
            # The next daemon beats; a notice may be running, so it must not wait for this one.
            self._hands.close(RESTART_WORDS)
        else:
            self._hands.close(LAST_WORDS)
            beater.last()
        return self._off

    def _take(self, message: Message) -> None:
        match message:
            case Crashed(error):
                raise error
            case ViewRead(view):
                now = time.monotonic()
                verdict = claim.judge(view, self._me, own=self._state.attempt, now=now)
                self._step(events.Judged(verdict, now))
                self._hands.decided()
            case CommandEnded(exit_):
                self._step(events.Exited(self._ending(exit_)))
            case Told():
                self._told()
            case _:
                self._step(message)

    def _told(self) -> None:
        """A restart of the service alone leaves the command running, for the next daemon. With
        the whole machine going down, it is a notice beside those that the cloud has given."""
        if self._ending_as == "shutdown":
            return
        self._ending_as = "restart"
        if machine_goes_down():
            self._ending_as = "shutdown"
            now = time.monotonic()
            notice = Notice(SHUTDOWN, "terminate", SHUTDOWN_SECONDS, now + SHUTDOWN_SECONDS, "")
            self._step(events.NoticeCame(notice, now))

    def _may_end(self) -> bool:
        if self._ending_as == "shutdown":
            return self._state.attempt is None
        return self._ending_as == "restart"

    def _step(self, event: events.Event) -> None:
        before = self._state
        self._state, todo = machine.step(before, event)
        if self._state.phase != before.phase:
            self._context.journal.info(
                f"{before.phase} -> {self._state.phase}",
                on=type(event).__name__,
                attempt=self._state.attempt,
            )
            self._look_now.set()
        for effect in todo:
            self._perform(effect)

    def _perform(self, effect: effects.Effect) -> None:
        self._hands.perform(effect)
        if isinstance(effect, effects.PowerOff):
            self._off = effect.reason

    def _listen(self) -> None:
        """What the program says, while there is one."""
        attempt = self._hands.attempt
        if attempt is None or self._state.phase not in ("training", "stopping"):
            return
        said = attempt.listen()
        if said.announced and not self._state.announced:
            self._step(events.Announced())
        if said.end is not None and self._state.phase == "stopping":
            self._step(events.SaidEnd(time.monotonic()))

    def _ending(self, exit_: Exit) -> outcome.Ending:
        attempt = self._hands.attempt
        assert attempt is not None
        said = attempt.listen()
        around = circumstances(
            self._state,
            announced=said.announced,
            started_step=0 if attempt.parent is None else attempt.parent.step,
            disk_full=attempt.disk_full(),
        )
        return outcome.judge(exit_, said.end, around)

    def _standing(self) -> Standing:
        state, attempt = self._state, self._hands.attempt
        live = attempt if state.attempt is not None else None
        others = state.attempt is None and isinstance(state.verdict, claim.Wait)
        waits = state.verdict.reason if isinstance(state.verdict, claim.Wait | claim.Leave) else ""
        return Standing(state, live, waits, others)

    def _look(self) -> None:
        """Read the store, often while an attempt could be claimed."""
        context = self._context
        lookout = Lookout(context.store, context.spec.job, context.spec.launch)
        # A daemon that was restarted under a notice must not claim before it has heard of it.
        self._polled.wait(FIRST_POLL)
        while not context.stop.is_set():
            self._look_now.clear()
            try:
                view = lookout.view()
            except (StoreError, RecordError) as error:
                if context.board.put("store", str(error)):
                    context.journal.warning("the store cannot be read", error=str(error))
            else:
                context.board.put("store", None)
                self._inbox.put(ViewRead(view))
            self._look_now.wait(self._patience(lookout.another_trains))

    def _patience(self, another_trains: bool) -> float:
        """Each look costs requests: seldom while nothing is to be decided."""
        if self._state.phase not in ("preparing", "standing-by", "claiming"):
            return POLL_TRAINING
        return POLL_STANDING_BY if another_trains else POLL_SOON

    def _watch(self) -> None:
        """Poll the cloud's notices; tell what is new, what is sooner, what is gone."""
        context, seen = self._context, dict[str, Notice]()
        while not context.stop.is_set():
            try:
                notices = self._watcher.poll()
            except WatcherError as error:
                if context.board.put("notices", str(error)):
                    context.journal.warning("notices cannot be seen", error=str(error))
            else:
                if context.board.put("notices", None):
                    context.journal.info("notices are seen again")
                now = time.monotonic()
                for notice in notices:
                    known = seen.get(notice.id)
                    if known is None or notice.deadline_monotonic < known.deadline_monotonic:
                        self._inbox.put(events.NoticeCame(notice, now))
                current = {notice.id: notice for notice in notices}
                for id_ in seen.keys() - current.keys():
                    self._inbox.put(events.NoticeWent(id_, now))
                seen = current
            self._polled.set()
            context.stop.wait(self._watcher.interval)


def machine_goes_down() -> bool:
    """Whether systemd is shutting the machine down; False where there is none."""
    try:
        done = subprocess.run(
            ["systemctl", "is-system-running"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "stopping"
