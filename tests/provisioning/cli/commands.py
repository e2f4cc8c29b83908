"""A job file, and how a test calls the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Outlast = Callable[..., tuple[str, str]]


def write(folder: Path, **fields: str) -> Path:
    base = {
        "version": "1",
        "name": "digits",
        "code": ".",
        "command": "[python, train.py]",
        "store": "file://./store",
        "pools": "[{provider: local}]",
        **fields,
    }
    path = folder / "job.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in base.items()))
    return path
