"""Where the daemon keeps things on its machine, below one root.

::

    <root>/lock  status.json  lived.json  crashes.json
           jobs/<job>/code/                      unpacked, read-only for the command
                      inputs/<n>/
                      download/                  the newest checkpoint, fetched before the claim
                      attempts/<a>/scratch/      the command writes here: hostile
                                   outputs/      here
                                   control/      and here
                                   work.log      what it printed, log-shipped.json: up to where
                                   state/        the runtime's own
                                   parent  started  notes-told   the daemon's own

Every attempt has fresh folders, so whatever an earlier command planted in its own is not met
again.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AttemptFolders:
    """The folders of one attempt."""

    root: Path

    @property
    def scratch(self) -> Path:
        """Checkpoints, as the command writes them."""
        return self.root / "scratch"

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
        remove_tree(self.root)
        for folder in (self.scratch, self.outputs, self.control, self.state):
            folder.mkdir(parents=True)


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
    def download(self) -> Path:
        """The newest checkpoint, before an attempt takes it."""
        return self.home / "download"

    def input(self, number: int) -> Path:
        """The input of this number."""
        return self.home / "inputs" / str(number)

    def attempt(self, attempt: int) -> AttemptFolders:
        """The folders of ``attempt``."""
        return AttemptFolders(self.home / "attempts" / f"{attempt:06d}")

    def others(self, attempt: int) -> list[AttemptFolders]:
        """Folders of other attempts, left from before."""
        own = self.attempt(attempt).root
        found = sorted((self.home / "attempts").glob("*"))
        return [AttemptFolders(path) for path in found if path != own]


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it, following no link; not there is fine. Raises OSError.

    Folders that are closed to their owner are opened first: the owner may do that.
    """
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
