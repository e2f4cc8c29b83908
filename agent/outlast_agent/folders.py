"""Where the daemon keeps things on its machine, below one root.

::

    <root>/lock  status.json  lived.json  crashes.json
           jobs/<job>/code/                      unpacked, read-only for the command
                      inputs/<n>/
                      place                      link, where scratch is not on this disk
                      memory                     link, to a place in memory
                      attempts/<a>/outputs/      the command writes here: hostile
                                   control/      and here
                                   work.log      what it printed, log-shipped.json: up to where
                                   state/        the runtime's own
                                   parent  started  notes-told   the daemon's own
    <place>/download/                            the newest checkpoint, fetched before the claim
            attempts/<a>/scratch/                the command writes here too
    <memory>/attempts/<a>/memory/                and here

The place is ``<root>/jobs/<job>`` itself, or on a faster disk or in memory
(:mod:`outlast_agent.scratch`).

Every attempt has fresh folders, so whatever an earlier command planted in its own is not met
again.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PLACE_PREFIX = "outlast-"
"""Names of places that are not the job's own folder begin so."""


@dataclass(frozen=True)
class AttemptFolders:
    """The folders of one attempt."""

    home: Path
    """Those of the job."""
    name: str

    @property
    def root(self) -> Path:
        """All but scratch, where that is elsewhere."""
        return self.home / "attempts" / self.name

    @property
    def scratch(self) -> Path:
        """Checkpoints, as the command writes them."""
        return place_of(self.home) / "attempts" / self.name / "scratch"

    @property
    def memory(self) -> Path | None:
        """What the command lets the daemon read from memory; None: there is no place for it."""
        place = memory_of(self.home)
        return None if place is None else place / "attempts" / self.name / "memory"

    @property
    def roots(self) -> tuple[Path, ...]:
        """Where the command's checkpoints lie: in scratch, and in memory if that is there."""
        memory = self.memory
        return (self.scratch, memory) if memory is not None and memory.is_dir() else (self.scratch,)

    @property
    def outputs(self) -> Path:
        """Files that belong to the checkpoint."""
        return self.root / "outputs"

    @property
    def control(self) -> Path:
        """Notices in; progress and end out."""
        return self.root / "control"

    @property
    def state(self) -> Path:
        """What the runtime remembers."""
        return self.root / "state"

    @property
    def log(self) -> Path:
        """What the command printed."""
        return self.root / "work.log"

    @property
    def parent(self) -> Path:
        """Name and manifest of the checkpoint that it resumed from."""
        return self.root / "parent"

    @property
    def started(self) -> Path:
        """There once the command is about to be started."""
        return self.root / "started"

    @property
    def notes_told(self) -> Path:
        """How many of the program's notes were told on."""
        return self.root / "notes-told"

    def make(self) -> None:
        """Make them, empty. Raises OSError."""
        self.remove()
        for folder in (self.scratch, self.outputs, self.control, self.state):
            folder.mkdir(parents=True)
        with suppress(OSError):  # gone with a reboot, or full: scratch will do
            if self.memory is not None:
                # Never the place itself: others can write beside it.
                self.memory.parents[1].mkdir(exist_ok=True)
                self.memory.parent.mkdir()
                self.memory.mkdir()
        for root in self.roots:  # before the command can put a link there
            (root / "checkpoints").mkdir()
            (root / "objects" / self.name).mkdir(parents=True)

    def remove(self) -> None:
        """Remove all of it. Raises OSError."""
        remove_tree(self.root)
        remove_tree(self.scratch.parent)
        self.remove_memory()

    def remove_memory(self) -> None:
        """Give back the memory. Raises OSError."""
        if self.memory is not None:
            remove_tree(self.memory.parent)


@dataclass(frozen=True)
class Folders:
    """Everything below the daemon's root."""

    root: Path
    job: str

    @property
    def home(self) -> Path:
        """All of the job."""
        return self.root / "jobs" / self.job

    @property
    def lock(self) -> Path:
        """Held by the one daemon of this root."""
        return self.root / "lock"

    @property
    def status(self) -> Path:
        """What ``outlast-agent status`` prints."""
        return self.root / "status.json"

    @property
    def lived(self) -> Path:
        """How long this machine has lived, over restarts."""
        return self.root / "lived.json"

    @property
    def crashes(self) -> Path:
        """How often the daemon failed in a row."""
        return self.root / "crashes.json"

    @property
    def code(self) -> Path:
        """The unpacked code."""
        return self.home / "code"

    @property
    def place_link(self) -> Path:
        """Points to where scratch is, if it is not below ``home``."""
        return place_link(self.home)

    @property
    def memory_link(self) -> Path:
        """Points to a place in memory, if there is one."""
        return memory_link(self.home)

    @property
    def place(self) -> Path:
        """Where scratch is, and the checkpoint that is put there."""
        return place_of(self.home)

    def input(self, number: int) -> Path:
        """The input of this number."""
        return self.home / "inputs" / str(number)

    def attempt(self, attempt: int) -> AttemptFolders:
        """The folders of ``attempt``."""
        return AttemptFolders(self.home, f"{attempt:06d}")

    def others(self, attempt: int) -> list[AttemptFolders]:
        """Folders of other attempts, left from before."""
        own = self.attempt(attempt).name
        places = {self.home, self.place, memory_of(self.home) or self.place}
        names = {path.name for at in places for path in at.glob("attempts/*")}
        return [AttemptFolders(self.home, name) for name in sorted(names - {own})]


def place_link(home: Path) -> Path:
    """Where the place of scratch is told, if it is not ``home``, the folder of a job."""
    return home / "place"


def place_of(home: Path) -> Path:
    """Where scratch is, of the job whose folder is ``home``."""
    try:
        return place_link(home).readlink()
    except OSError:  # no link
        return home


def memory_link(home: Path) -> Path:
    """Where the place in memory is told, of the job whose folder is ``home``."""
    return home / "memory"


def memory_of(home: Path) -> Path | None:
    """The place in memory; None: there is none."""
    try:
        return memory_link(home).readlink()
    except OSError:
        return None


def remove_place(home: Path) -> None:
    """Remove what is elsewhere, and forget where that was. Raises OSError."""
    for link in (place_link(home), memory_link(home)):
        if link.is_symlink():
            there = link.readlink()
            if there.name.startswith(PLACE_PREFIX):  # made by us
                remove_tree(there)
            link.unlink()


def remove_root(root: Path) -> None:
    """Remove all that a daemon has on its machine. Raises OSError."""
    for home in root.glob("jobs/*"):
        remove_place(home)
    remove_tree(root)


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it, following no link; not there is fine. Raises OSError.

    Folders that are closed to their owner are opened first: the owner may do that.
    """
    try:
        _remove_tree(path)
    except (RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
            raise
        # A hostile program's: deeper than a stack, or longer than a path may be.
        done = subprocess.run(
            ["rm", "-rf", "--", str(path)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise OSError(f"{path} is not removed: {done.stderr.strip():.200}") from None


def _remove_tree(path: Path) -> None:
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        return
    if path.is_dir():
        path.chmod(0o700)
    for here, folders, _ in os.walk(path):  # goes into these only after they are opened
        for folder in (Path(here, name) for name in folders):
            mode = folder.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                folder.chmod(0o700)
    shutil.rmtree(path)
