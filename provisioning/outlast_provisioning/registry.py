"""Where the jobs submitted from this machine are: ``jobs.json`` in Outlast's own folder.

Only a convenience, so that ``outlast status digits`` needs no ``--store``: a job's name and the
URL of its store. Nothing else depends on it.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from outlast.durable import read_json, replace_json


class Registry:
    """The file ``home/jobs.json``."""

    def __init__(self, home: Path) -> None:
        self._path = home / "jobs.json"

    def remember(self, job: str, store: str) -> None:
        """Note where ``job`` is. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with (self._path.parent / ".jobs.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            replace_json(self._path, {**self.stores(), job: store})

    def store_of(self, job: str) -> str | None:
        """The URL of the store of ``job``, if it was submitted from here."""
        return self.stores().get(job)

    def stores(self) -> dict[str, str]:
        """All that is known: job to store. A damaged file is as good as none."""
        try:
            value = read_json(self._path, limit=16 << 20)
        except (OSError, ValueError):
            return {}
        if not isinstance(value, dict):
            return {}
        return {str(job): str(store) for job, store in value.items()}
