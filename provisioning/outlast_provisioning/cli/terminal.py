"""Where commands write: tables and data to stdout, words for a person to stderr."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any

import typer
from rich.console import Console

out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False, soft_wrap=True)


def tell(text: str) -> None:
    """One line for a person, as it is."""
    err.print(text, markup=False)


def say(text: str, **facts: Any) -> None:
    """One log line: when, a sentence, then key=value."""
    shown = " ".join(f"{key}={value}" for key, value in facts.items() if value is not None)
    typer.echo(f"{now():%H:%M:%S} {text}" + (f"  {shown}" if shown else ""), err=True)


def print_json(value: Any, *, indent: int | None = 1) -> None:
    """One JSON value, for programs."""
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def now() -> datetime:
    """By this machine's clock, for what a person reads."""
    return datetime.now(timezone.utc)
