"""A provider of local machines; whatever a test leaves is deleted."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast_provisioning.providers.local import LocalProvider
from outlast_provisioning.providers.local_folder import MachineFolder


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[LocalProvider]:
    made = LocalProvider(tmp_path / "home")
    yield made
    for machine in made.list():
        made.delete(machine.name)


@pytest.fixture
def no_daemon(tmp_path: Path) -> Iterator[None]:
    """The machine's daemon, which would acknowledge a notice by itself, finds its root taken."""
    disk = MachineFolder(tmp_path / "home" / "local" / "digits-1").disk
    disk.mkdir(parents=True)
    with (disk / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
