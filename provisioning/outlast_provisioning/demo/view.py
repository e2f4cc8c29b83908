"""What the demo shows: a live view while it runs, then a timeline and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from outlast_provisioning.demo.measure import LossCost, Report
from outlast_provisioning.demo.steplog import Step

WIDTH = 38
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan")


@dataclass(frozen=True)
class Scene:
    """One moment of the demo."""

    title: str
    step: int
    steps_total: int
    """0: not known yet."""
    job: str = ""
    """One line about the job: where it runs, what is durable."""
    events: Sequence[str] = field(default_factory=tuple)
    """The latest lines, oldest first."""


def show_scene(scene: Scene) -> RenderableType:
    """The live view."""
    total = max(scene.steps_total, scene.step, 1)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=total, completed=scene.step, width=WIDTH),
        Text(f"step {scene.step}" + (f" of {scene.steps_total}" if scene.steps_total else "")),
    )
    parts: list[RenderableType] = [bar]
    if scene.job:
        parts.append(Text(scene.job))
    parts.extend(Text(event, style="dim") for event in scene.events)
    return Panel(Group(*parts), title=scene.title, title_align="left", width=78)


def show_timeline(report: Report, steps: Sequence[Step]) -> RenderableType:
    """Each attempt as a bar over time, from its first step to its last."""
    begin, end = min(step.at for step in steps), max(step.at for step in steps)
    scale = (WIDTH - 1) / max(end - begin, 1e-9)
    losses = {cost.attempt: cost for cost in report.losses}
    table = Table.grid(padding=(0, 1))
    for attempt in sorted({step.attempt for step in steps}):
        own = [step for step in steps if step.attempt == attempt]
        left, right = round((own[0].at - begin) * scale), round((own[-1].at - begin) * scale)
        bar = Text(" " * left)
        bar.append("█" * max(right - left, 1), style=COLOURS[(attempt - 1) % len(COLOURS)])
        if attempt in losses:
            ending = "▎evicted" if losses[attempt].kind == "notice" else "✖ killed"
            bar.append(ending, style="red")
        else:
            bar.append(" finished", style="bold green")
        table.add_row(
            Text(f"attempt {attempt}", style="bold"),
            Text(f"{own[0].number:>5} to {own[-1].number:<5}"),
            bar,
        )
    seconds = f"{end - begin:.0f} s from the first step to the last"
    return Panel(Group(table, Text(seconds, style="dim")), title="Timeline", title_align="left")


def show_table(report: Report) -> RenderableType:
    """What each loss cost, and the verdict."""
    table = Table(
        title="What each lost machine cost (seconds)",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    columns = ("attempt", "notice", "last", "next", "again", "seen", "durable", "recovery", "extra")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for cost in report.losses:
        table.add_row(*_cells(cost))
    verdict = Table.grid(padding=(0, 2))
    for name, good, text in _verdict(report):
        verdict.add_row(Text("✔" if good else "✖", style="green" if good else "red"), name, text)
    legend = (
        "last, next: the last step before and the first after; again: steps repeated.\n"
        "seen: until the daemon saw the notice; durable: from then until the last save was.\n"
        "recovery: from the last step to the next; extra: beyond a plain start, "
        f"{report.plain_start_seconds:.1f} s."
    )
    return Group(table, Text(legend, style="dim"), Text(), verdict)


def _cells(cost: LossCost) -> list[str]:
    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    return [
        str(cost.attempt),
        "yes" if cost.kind == "notice" else "no",
        str(cost.stopped_step),
        str(cost.resumed_step),
        str(cost.repeated_steps),
        seconds(cost.notice_seen_seconds),
        seconds(cost.flush_seconds),
        seconds(cost.recovery_seconds),
        seconds(cost.recovery_over_start_seconds),
    ]


def _verdict(report: Report) -> list[tuple[str, bool, str]]:
    comparison = report.comparison
    wrong = comparison.mismatching_variables
    lines = [
        (
            "variables",
            not wrong,
            f"{comparison.variables - len(wrong)} of {comparison.variables} equal bit for bit"
            + (f"; the first that differs: {wrong[0]}" if wrong else ""),
        ),
        ("History", comparison.history_equal, "equal to the last digit"),
        ("log.csv", comparison.log_equal, "equal byte for byte"),
        (
            "losses",
            report.different_losses == 0,
            f"{report.different_losses} of {report.steps_total} steps differ",
        ),
        ("steps", report.steps_skipped == 0, f"{report.steps_skipped} left out"),
    ]
    if report.reference_again_equal is not None:
        lines.insert(0, ("two uninterrupted runs", report.reference_again_equal, "equal"))
    return [(name, good, text if good else f"NOT {text}") for name, good, text in lines]
