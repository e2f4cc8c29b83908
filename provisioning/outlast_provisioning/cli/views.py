"""What commands show: rich tables and panels from the values of ``reading``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from outlast_agent.records import Controller, Event
from outlast_provisioning.cli.visible import visible, visible_log
from outlast_provisioning.listing import Line
from outlast_provisioning.reading import Status
from outlast_provisioning.units import for_people

_COLOURS = {
    "training": "green",
    "finished": "green",
    "starting": "cyan",
    "waiting": "yellow",
    "stopping": "yellow",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "held": "red",
    "failed": "red",
}
_LEVELS = {"info": "", "warning": "yellow", "error": "red"}
WATCHED_SECONDS = 30.0
"""A controller that said something this lately is taken to be there."""


def _text(said: str, style: str = "") -> Text:
    return Text(visible(said), style=style)


def ago(stamp: str | None, now: datetime) -> str:
    """``3 min 20 s ago`` from an RFC 3339 stamp; as good as the two clocks agree."""
    seconds = seconds_since(stamp, now)
    return "-" if seconds is None else f"{for_people(max(seconds, 0.0))} ago"


def seconds_since(stamp: str | None, now: datetime) -> float | None:
    """Seconds from an RFC 3339 stamp to ``now``; None for what is no stamp."""
    try:
        then = datetime.fromisoformat((stamp or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=timezone.utc)
    return (now - then).total_seconds()


def status_panel(status: Status, events: Sequence[Event], now: datetime) -> RenderableType:
    """Where, since when, what is durable, what happened, what to do."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    colour = _COLOURS[status.state]
    detail = f": {status.detail}" if status.detail else ""
    table.add_row("state", _text(status.state, style=colour) + _text(detail))
    if status.machine:
        table.add_row("where", _text(f"{status.machine} in {status.pool}"))
    if status.attempt is not None:
        since = f", since {ago(status.since, now)}" if status.since else ""
        heard = f", heard of {ago(status.beat, now)}" if status.beat else ""
        table.add_row("attempt", _text(f"{status.attempt}{since}{heard}"))
    if status.notice_seconds_left is not None:
        left = f"eviction in {for_people(status.notice_seconds_left)}"
        table.add_row("notice", _text(left, style="yellow"))
    table.add_row("step", _progress(status))
    if status.metrics:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in status.metrics.items())
        table.add_row("metrics", _text(shown))
    table.add_row("durable", _text(_durable(status)))
    if status.save_every is not None:
        table.add_row("saves", _text(_saves(status)))
    for text in status.concerns:
        table.add_row("mind", _text(text, style="yellow"))
    counts = f"{status.evictions} with notice, {status.losses} without; {status.failures} failures"
    table.add_row("lost machines", _text(counts))
    if status.todo:
        table.add_row("to do", _text(status.todo))
    parts: list[RenderableType] = [table]
    if events:
        parts += [_text(""), event_table(events)]
    if status.state == "failed" and status.log_tail:
        parts += [_text(""), _text("The end of its log:", style="dim")]
        parts += [_text(visible_log(line)) for line in status.log_tail[-50:]]
    return Panel(
        Group(*parts), title=escape(visible(status.job)), title_align="left", border_style=colour
    )


def _progress(status: Status) -> RenderableType:
    step = "-" if status.step is None else str(status.step)
    pace = f", {for_people(status.step_seconds)} each" if status.step_seconds else ""
    if not status.epochs or status.epoch is None or status.over:
        return _text(step + pace)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        _text(f"{step}{pace}; epoch {status.epoch} of {status.epochs}"),
        ProgressBar(total=status.epochs, completed=status.epoch, width=30),
    )
    return grid


def _durable(status: Status) -> str:
    text = "nothing yet" if status.durable_step is None else f"step {status.durable_step}"
    if status.durable_step is not None and status.durable_age is not None:
        text += f", {for_people(status.durable_age)} old"
    if status.flush_seconds is not None:
        text += f"; to save the step under way would take {for_people(status.flush_seconds)}"
    elif status.state == "training":
        text += "; how long a save takes is known after the first"
    return text


def _saves(status: Status) -> str:
    text = f"every {for_people(status.save_every)} on the machine"
    if status.durable_every is None:
        return text
    # What is uploaded is a local save.
    return f"{text}, durable every {for_people(max(status.durable_every, status.save_every or 0))}"


def event_table(events: Sequence[Event]) -> Table:
    """One line for each event."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for event in events:
        attempt = "" if event.attempt is None else f"attempt {event.attempt}"
        table.add_row(
            _text(event.at[11:19]), attempt, _text(event.text, style=_LEVELS[event.level])
        )
    return table


def job_table(lines: Sequence[Line], now: datetime) -> Table:
    """All jobs."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("job", "state", "step", "epoch", "durable", "machine", "heard of", ""):
        table.add_column(heading, no_wrap=heading not in ("", "machine"))
    for line in lines:
        epoch = f"{line.epoch}/{line.epochs}" if line.epochs and line.epoch is not None else ""
        durable = "" if line.durable_step is None else str(line.durable_step)
        table.add_row(
            _text(line.job),
            _text(line.state, style=_COLOURS.get(line.state, "")),
            "" if line.step is None else str(line.step),
            epoch,
            durable,
            _text(line.machine),
            ago(line.beat, now) if line.beat else "",
            _text(line.message[:100]),
        )
    return table


def watched(controllers: Sequence[Controller], now: datetime) -> bool:
    """Whether some controller said lately that it watches."""
    ages = [seconds_since(one.at, now) for one in controllers]
    return any(age is not None and age < WATCHED_SECONDS for age in ages)
