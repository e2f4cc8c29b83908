"""What a person should know of for as long as it lasts: told once as an event, shown in status.

Nothing was made durable for too long: for three times the interval of uploads, and ten minutes at
least, although there were steps to lose. A full save cannot fit the notice.

All times are seconds, all instants on the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from outlast.progress import Note, Progress
from outlast_agent import budget
from outlast_agent.outlook import Outlook
from outlast_agent.teller import Teller

LATE_INTERVALS = 3.0
LATE_SECONDS = 600.0

_ABOUT_SAVING = frozenset({
    "outputs-changed", "outputs-unreadable", "scratch-full", "scratch-read-only", "save-memory",
    "scratch-failed",
})  # fmt: skip
"""Codes of the library's notes that say why a save failed."""


@dataclass(frozen=True)
class Facts:
    """How one attempt stands with what is durable."""

    since: float
    """When something was made durable last, or else when it began to train."""
    durable_step: int | None
    interval: float
    """Between two uploads, as wanted; 0: one follows the other."""
    waits: str = ""
    """Why the upload waits for the store, if it does."""
    failed: str = ""
    """Why the latest save failed, or was not taken."""


def late(facts: Facts, outlook: Outlook, now: float) -> str | None:
    """Why nothing was made durable for too long, in one line; None: it was, or nothing was due."""
    said, seconds = outlook.progress, now - facts.since
    done = 0 if facts.durable_step is None else facts.durable_step
    if said is None or said.step <= done:
        return None
    if seconds <= max(LATE_SECONDS, LATE_INTERVALS * facts.interval):
        return None
    last = "from the beginning" if facts.durable_step is None else f"from step {done}"
    return (
        f"nothing was made durable for {seconds / 60:.0f} min: {_reason(facts, outlook, said)}; "
        f"if the machine went now, training would go on {last}"
    )


def _reason(facts: Facts, outlook: Outlook, said: Progress) -> str:
    if facts.waits:
        return f"the upload waits for the store: {facts.waits}"
    if facts.failed:
        return f"saves fail: {facts.failed}"
    if outlook.waiting:
        missing, rate = outlook.waiting[0].missing, outlook.rate
        needed = budget.flush_seconds(missing, rate)
        if rate is None or needed is None:
            return f"no upload has ended yet, and {missing / 1e6:,.0f} MB are left"
        return (
            f"uploads are slower than saves: {missing / 1e6:,.0f} MB are left, about {needed:.0f} "
            f"s at the measured {rate / 1e6:,.1f} MB/s: save less, or choose a machine with a "
            "faster network"
        )
    if said.saving_step is not None:
        return f"the save of step {said.saving_step} is still being written: is the disk slow?"
    return f"the program has saved nothing newer, and is in {said.phase} at step {said.step}"


class Concerns:
    """Of one attempt. Used by the daemon's one deciding thread, but for reading :meth:`lines`."""

    def __init__(self, teller: Teller, attempt: int, grace: float) -> None:
        """``grace``: the notice that is reckoned with."""
        self._teller, self._attempt, self._grace = teller, attempt, grace
        self._late: str | None = None
        self._short: str | None = None
        self._warned = False
        self._failed: tuple[str, int | None] | None = None

    def lines(self) -> tuple[str, ...]:
        """Those that there are now."""
        return tuple(text for text in (self._late, self._short) if text)

    def heard(self, note: Note, progress: Progress | None) -> None:
        """The program told this."""
        if note.code in _ABOUT_SAVING:
            self._failed = note.text, None if progress is None else progress.saved_step

    def failed(self, progress: Progress | None) -> str:
        """Why saves fail, by the last word of it; empty once there is a newer save."""
        if self._failed is None or progress is None:
            return ""
        text, saved_step = self._failed
        return text if saved_step == progress.saved_step else ""

    def look(self, facts: Facts, outlook: Outlook, now: float) -> None:
        """Tell what is new, and what is over."""
        self.fits(outlook.size, outlook.rate)
        before, self._late = self._late, late(facts, outlook, now)
        if before is None and self._late is not None:
            self._tell("not-durable", self._late)
        elif before is not None and self._late is None:
            text = f"step {facts.durable_step} is durable: saves reach the store again"
            self._teller.tell("durable-again", text, attempt=self._attempt)

    def fits(self, size: int, rate: float | None) -> None:
        """Tell, once, if a full save of ``size`` bytes cannot be flushed within the notice."""
        if not size or rate is None:
            return
        self._short = budget.too_short(size, rate=rate, grace=self._grace)
        if self._short is not None and not self._warned:
            self._warned = True
            self._tell("notice-too-short", self._short)

    def _tell(self, kind: str, text: str) -> None:
        self._teller.tell(kind, text, level="warning", attempt=self._attempt)
