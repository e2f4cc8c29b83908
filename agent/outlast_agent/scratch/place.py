"""Settles where scratch is on this machine, and remembers it.

The choice is a link beside the job's folders, so that a restarted daemon, and whoever cleans up,
finds what is elsewhere. Memory is gone after a reboot: then it is chosen anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from outlast.memory import available
from outlast_agent.folders import PLACE_PREFIX, Folders, remove_place
from outlast_agent.scratch import local_disks
from outlast_agent.scratch.choice import Chosen, Place, Wanted, choose
from outlast_agent.scratch.rate import write_rate

MEMORY = Path("/dev/shm")  # noqa: S108 - below it a folder of our own is made, for nobody else


class Places:
    """The places of one machine."""

    def __init__(
        self,
        folders: Folders,
        wanted: Wanted,
        notice: float,
        tell: Callable[[Chosen], None] = lambda _chosen: None,
        *,
        memory: Path = MEMORY,
        local: Callable[[], list[Path]] = local_disks.mounted,
        rate: Callable[[Path], float | None] = write_rate,
    ) -> None:
        self._folders, self._wanted, self._notice, self._tell = folders, wanted, notice, tell
        self._memory, self._local, self._rate = memory, local, rate
        self._settled = False

    def settle(self, size: int | None) -> Path:
        """The folder; chosen by the first call for checkpoints of ``size`` bytes.

        Raises OSError.
        """
        folders = self._folders
        if self._settled:
            return folders.place
        if folders.place_link.is_symlink() and folders.place.is_dir():
            self._have_memory()
            return folders.place
        chosen = self._choose(size)
        remove_place(folders.home)
        folders.home.mkdir(parents=True, exist_ok=True)
        self._have_memory()
        if chosen.place.kind != "disk":
            try:
                made = _made(chosen.place.folder)
            except OSError as error:
                disk = replace(chosen.place, kind="disk", folder=folders.home)
                chosen = Chosen(disk, f"{chosen.place.folder}: {error}", as_wanted=False)
            else:
                folders.place_link.symlink_to(made)
        self._settled = True
        self._tell(chosen)
        return folders.place

    def _have_memory(self) -> None:
        """A place in memory beside that of scratch, if there can be one."""
        link = self._folders.memory_link
        with suppress(OSError):  # a flush goes by scratch then
            if link.is_symlink() and not link.is_dir():  # the machine has started anew
                link.unlink()
            if not link.is_symlink() and is_memory(self._memory):
                link.symlink_to(_made(self._memory))

    def _choose(self, size: int | None) -> Chosen:
        places = [Place("disk", self._folders.root, 0)]
        if self._wanted != "disk":
            places.extend(self._others())
        rate = cache(lambda place: self._rate(place.folder) or 0.0)
        return choose(self._wanted, places, size, self._notice, rate)

    def _others(self) -> list[Place]:
        found = [
            Place("local", folder, shutil.disk_usage(folder).free)
            for folder in self._local()
            if os.access(folder, os.W_OK | os.X_OK)
        ]
        left = available()
        if left is not None and is_memory(self._memory):
            free = min(left, shutil.disk_usage(self._memory).free)
            found.append(Place("ram", self._memory, free))
        return found


def _made(folder: Path) -> str:
    """A new folder in ``folder`` that nobody else may open: others can write beside it."""
    return tempfile.mkdtemp(prefix=PLACE_PREFIX, dir=folder)


def is_memory(folder: Path) -> bool:
    """Whether it is a file system in memory that may be written."""
    mounted = {at for _, at, kind in local_disks.mounts() if kind == "tmpfs"}
    return str(folder) in mounted and os.access(folder, os.W_OK | os.X_OK)
