"""Where commands write: tables and data to stdout, words for a person to stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime, timezone
from typing import Any

import typer
from rich.console import Console

from outlast_provisioning.cli.visible import visible

out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False, soft_wrap=True)


def tell(text: str) -> None:
    """One line for a person: no markup, no control characters."""
    err.print(visible(text), markup=False)


def say(text: str, **facts: Any) -> None:
    """One log line: when, a sentence, then key=value.

    A log on a full disk, or that nobody reads, does not end what it is the log of.
    """
    shown = " ".join(f"{key}={value}" for key, value in facts.items() if value is not None)
    with contextlib.suppress(OSError):  # what happened to jobs is in their events, too
        complain(f"{now():%H:%M:%S} {text}" + (f"  {shown}" if shown else ""))


def complain(text: str) -> None:
    """One line on stderr, however wide the terminal is."""
    typer.echo(visible(text), err=True)


def print_json(value: Any, *, indent: int | None = 1) -> None:
    """One JSON value, for programs."""
    typer.echo(json.dumps(value, indent=indent))


def now() -> datetime:
    """By this machine's clock, for what a person reads."""
    return datetime.now(timezone.utc)
