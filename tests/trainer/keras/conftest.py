"""Scripts that run in a process forked from one that has imported TensorFlow."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from trainer.exactness.forks import Done, shared


class Scripts:
    """Runs functions, one process after the other.

    They are called ``name`` in :mod:`trainer.keras.scripts`, or ``module:name``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)

    def run(self, name: str, *, code: int = 0, environ: dict[str, str] | None = None, **more: Any):
        """``name`` with ``more``, which has to end with ``code``; what it printed as JSON."""
        done = self.start(name, environ=environ, **more)
        assert done.code == code, done.log
        lines = [line for line in done.log.splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}

    def start(self, name: str, *, environ: dict[str, str] | None = None, **more: Any) -> Done:
        log = self.folder / f"log-{next(self._numbers)}.txt"
        return shared().run(
            f"trainer.keras.{name if ':' in name else f'scripts:{name}'}",
            more,
            folder=self.folder,
            log=log,
            environ=environ or {},
            timeout=60.0,
        )

    @property
    def log(self) -> str:
        """What the latest one printed."""
        logs = sorted(self.folder.glob("log-*.txt"), key=lambda path: path.stat().st_mtime_ns)
        return logs[-1].read_text()

    def checkpoints(self) -> dict[str, bytes]:
        """Every file of the checkpoints, by name."""
        root = self.folder / ".outlast"
        files = [path for path in root.rglob("*") if path.is_file() and path.name != "lock"]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)
