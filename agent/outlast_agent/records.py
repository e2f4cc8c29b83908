"""What daemons and controllers tell each other through the store, one model per record.

Every record carries ``version``; :func:`load` refuses a higher one in one line. All but
:class:`Beat` and :class:`Controller` are created once and never changed. Stamps (``at``) are
RFC 3339 by the writer's clock, for people; nothing is decided by them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from outlast_agent.layout import JOBS

VERSION = 1

R = TypeVar("R", bound="Record")


class RecordError(ValueError):
    """A record that cannot be used; the message says which and why."""


class Record(BaseModel):
    """Base of all records. Unknown fields are passed over: a newer minor writer may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    version: int = VERSION
    at: str = ""


class Launch(Record):
    """The intent to have a machine, written before the cloud is asked for it."""

    job: str
    number: int
    provider: str
    pool: dict[str, Any]
    """The pool (region, zone, size, spot, price in USD per hour) as placement chose it."""
    machine: str
    """The machine's name, made from job and number: asking twice makes one machine."""
    nonce: str
    reason: str
    """Why: ``first``, ``evicted``, ``notice``, ``failed``, ``lost``, ``never-claimed``."""
    set_aside: tuple[str, ...] = ()
    """Checkpoints not to start from: two starts from them failed."""


class LaunchClosed(Record):
    """The launch is over."""

    reason: str
    again: str = ""
    """About when the next machine is asked for, for people; empty: at once, if one is needed."""


class Claim(Record):
    """A daemon trains as this attempt."""

    attempt: int
    launch: int
    machine: str
    boot_id: str
    nonce: str


class AttemptNotice(Record):
    """The machine of this attempt was given notice."""

    attempt: int
    event_id: str
    reason: str
    seconds_left: float = Field(ge=0)
    """When this was written."""
    step: int | None = None


class AttemptEnd(Record):
    """The attempt is over: nothing of it trains any more."""

    attempt: int
    by: Literal["daemon", "controller"]
    outcome: Literal["finished", "yielded", "failed", "lost", "cancelled", "setup-failed"]
    """``lost``: the cloud confirmed that the machine is gone. ``yielded``: stopped after a save."""
    step: int | None = None
    """Last step done, as far as known."""
    durable_step: int | None = None
    started_from: str | None = None
    """Checkpoint id that the attempt resumed from."""
    given_seconds: float | None = None
    """From its notice to its machine's last sign of life, if that went before the daemon could
    end the attempt; as seen by the controller, so a little less than it was."""
    exit_code: int | None = None
    cause: str | None = None
    """One word for the failure table: ``error``, ``out-of-memory``, ``image``, ``command``,
    ``disk-full``, ``code``, ``input``, ``stuck``, ``held``."""
    message: str | None = None
    """One line for a person."""
    log_tail: tuple[str, ...] = ()
    """At most the last 50 lines, when it failed."""


class Beat(Record):
    """The heartbeat of a job's daemon. Overwritten every few seconds. Durations in seconds."""

    job: str
    attempt: int | None
    """None while standing by."""
    launch: int
    machine: str
    boot_id: str
    sequence: int
    """Counts up: a reader tells a live daemon by the change, on its own clock."""
    phase: str
    """A state of ``machine``: ``preparing``, ``standing-by``, ``training``, ``flushing``..."""
    detail: str = ""
    """What it waits for, in words."""
    step: int | None = None
    step_seconds: float | None = None
    step_age: float | None = None
    """Since the step last advanced; None outside training, where no step is due."""
    activity: str = ""
    """What the program says that it does: ``training``, ``validation``, ``tracing``..."""
    activity_age: float | None = None
    """Since that, or the step, last changed."""
    saved_step: int | None = None
    save_every: float | None = None
    """From one local save to the next, as it is chosen now."""
    durable_every: float | None = None
    """From one upload on cadence to the next, as it is chosen now."""
    durable_step: int | None = None
    durable_age: float | None = None
    """Since the durable checkpoint was made durable; if another machine did that, since it was
    written, by its stamp."""
    flush_seconds: float | None = None
    """What making everything durable would take now, the step under way included. None before
    the size of a save is known."""
    concerns: tuple[str, ...] = ()
    """What a person should know of for as long as it lasts, one line each."""
    epoch: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    resumed_step: int | None = None
    notice_seconds_left: float | None = None


class Event(Record):
    """Something happened that a person may want to read later."""

    source: str
    """``daemon``, ``library`` or ``controller``."""
    kind: str
    """Stable words: ``claimed``, ``notice``, ``durable``, ``evicted``, ``resumed``..."""
    level: Literal["info", "warning", "error"] = "info"
    text: str
    """One sentence."""
    attempt: int | None = None
    launch: int | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class Signal(Record):
    """Wakes a controller; what it says is in the record that it points to."""

    job: str
    attempt: int
    kind: Literal["notice", "end", "finished", "cancel", "resume"]
    """The last two are a person's."""


class Result(Record):
    """The job is over."""

    outcome: Literal["finished", "failed", "cancelled"]
    attempt: int | None = None
    step: int | None = None
    message: str = ""
    log_tail: tuple[str, ...] = ()
    checkpoint: str | None = None
    """The last whole checkpoint."""


class Cancel(Record):
    """A person asked for the job to end."""

    by: str = ""


class Held(Record):
    """Less is in the store than was said to be durable; nobody trains until a person decides."""

    attempt: int
    expected: str
    """The checkpoint that was said to be durable."""
    found: str | None
    """The newest whole one."""
    message: str


class Resumed(Record):
    """A person decided about a hold: go on from this checkpoint."""

    attempt: int
    """The attempt that was held."""
    checkpoint: str
    """Go on from this one; every newer one of that attempt or an earlier is set aside."""
    set_aside: tuple[str, ...] = ()
    """Those newer ones, the missing one among them."""
    by: str = ""


class Image(Record):
    """What the job's image was when it was first pulled."""

    reference: str
    digest: str
    """``name@sha256:...``"""


class Controller(Record):
    """A controller watches this store. Overwritten."""

    id: str
    host: str
    pid: int
    sequence: int
    jobs: int = 0


def dump(record: Record) -> bytes:
    """As JSON."""
    return record.model_dump_json().encode()


def load(kind: type[R], data: bytes, *, key: str) -> R:
    """Read a record found at ``key``. Raises RecordError for damage or a higher version."""
    try:
        record = kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else "it is not a whole JSON object"
        mend = ": put a whole copy of it back, or submit the job under another name"
        told = f"{key} is damaged: {what}{mend if key.startswith(JOBS) else ''}"
        raise RecordError(told) from error
    if record.version > VERSION:
        raise RecordError(
            f"{key} has version {record.version}, this Outlast reads up to {VERSION}: "
            "update outlast here"
        )
    return record
