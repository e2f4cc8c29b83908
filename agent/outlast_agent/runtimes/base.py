"""What a runtime is: it runs one command of one attempt and outlives the daemon that started it.

Seven methods; every runtime passes one suite (``tests/agent/runtimes``). What a runtime started
goes on when the daemon dies, and :meth:`Runtime.adopt` finds it again, running or ended.

What the command prints (stdout and stderr, in order) is appended to :attr:`Work.log` while it
runs, every byte once, also across a restart of the daemon: a runtime that has to follow an
engine's log does so in a thread of its own from ``start`` or ``adopt`` on, and goes on where the
file ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from outlast_agent.spec import ResourceSpec

Cause = Literal["image", "command", "disk-full", "input", "error"]
"""Why something cannot be started; a word of ``AttemptEnd.cause``."""


class CannotStartError(Exception):
    """It will not work by trying again; the message is one line for the person."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause: Cause = cause


class TryAgainError(Exception):
    """A passing fault: a registry or an engine that does not answer."""


@dataclass(frozen=True)
class Work:
    """One command of one attempt. All paths are the daemon's; the folders exist."""

    job: str
    machine: str
    """The machine's name: with ``job`` and ``attempt`` it labels what is started."""
    launch: int
    attempt: int
    image: str | None
    """What :meth:`Runtime.prepare` returned."""
    command: tuple[str, ...]
    env: Mapping[str, str]
    """The user's variables. The runtime adds the ``OUTLAST_*`` ones of
    ``outlast.environment``, with the paths as the command sees them. Never logged."""
    scratch: Path
    """Writable: checkpoints."""
    outputs: Path
    """Writable: files that belong to the checkpoint."""
    control: Path
    """Writable: notices in, progress and end out. New for each attempt."""
    code: Path | None
    """Read-only, the working folder. None: the image's own working folder."""
    log: Path
    """File that the command's output is appended to."""
    state: Path
    """Folder for what the runtime itself has to remember (pids); the command never sees it."""
    memory: Path | None = None
    """Writable, on a file system in memory: what the daemon reads from there."""
    inputs: tuple[tuple[Path, str], ...] = ()
    """Folder or file here, and the absolute path where the command finds it, read-only."""
    resources: ResourceSpec = field(default_factory=ResourceSpec)
    network: str = "bridge"
    """Network of the container engine."""

    @property
    def attempts(self) -> Path:
        """Folder that the folders of all attempts of the job on this machine lie in."""
        return self.control.parent.parent


@dataclass(frozen=True)
class Running:
    """What was started: running still, or ended and not yet removed."""

    work: Work
    id: str
    """The runtime's own name for it: a container id, a pid with its start time."""


@dataclass(frozen=True)
class Exit:
    """How it ended."""

    code: int
    """Exit code as a shell gives it: 128 + n after signal n; 127 and 126 for a command that
    is not there or cannot be run."""
    out_of_memory: bool = False
    """The kernel killed it for memory."""
    message: str = ""
    """What the runtime knows beyond the code, one line."""


class Runtime(ABC):
    """Runs commands. Methods may be repeated, from any thread; none but ``wait`` waits long."""

    @abstractmethod
    def prepare(self, image: str | None) -> str | None:
        """Have ``image`` (a reference, or ``name@sha256:...``) here; how to name it from now on.

        The answer holds the digest (``name@sha256:...``) where an image has one. May take as
        long as a pull takes. Raises CannotStartError (cause ``image`` or ``disk-full``),
        TryAgainError.
        """

    @abstractmethod
    def start(self, work: Work) -> Running:
        """Start it. Call once for an attempt, after ``adopt`` found nothing.

        Leaves nothing behind when it fails. Raises CannotStartError, TryAgainError. A command
        that does not exist may also show as an Exit with code 127.
        """

    @abstractmethod
    def adopt(self, work: Work) -> Running | None:
        """What ``start`` started for this job, machine and attempt, running or ended, or None.

        Whatever is left of other attempts of this job on this machine is killed and removed:
        nothing of an older attempt may train beside this one. Raises TryAgainError.
        """

    @abstractmethod
    def terminate(self, running: Running) -> None:
        """SIGTERM to the main process, and to no other. Ended already is fine."""

    @abstractmethod
    def kill(self, running: Running) -> None:
        """SIGKILL to everything of it. Its Exit can still be read. Ended already is fine."""

    @abstractmethod
    def wait(self, running: Running, timeout: float) -> Exit | None:
        """How it ended, or None if it still runs after ``timeout`` seconds.

        When this answers with an Exit, no process of it lives and the log is whole: whatever
        the main process left running was killed. Raises TryAgainError.
        """

    @abstractmethod
    def remove(self, running: Running) -> None:
        """Forget it and remove what is left of it, killing it first if need be."""
