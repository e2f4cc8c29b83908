"""A command as bare processes on this machine: for the local provider only.

A small wrapper process (:mod:`outlast_agent.runtimes.wrapper`) stands between, so that an exit
code survives the daemon, and so that nothing of a command outlives it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from outlast.durable import read_json
from outlast_agent.runtimes import wrapper
from outlast_agent.runtimes.base import (
    CannotStartError,
    Exit,
    Running,
    Runtime,
    TryAgainError,
    Work,
)

START_SECONDS = 20.0
"""The wrapper starts the command within milliseconds; on a machine that swaps, in seconds."""

_POLL = 0.005


class ProcessRuntime(Runtime):
    """Runs commands as process groups. The command sees this machine's file system."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """``environ``: what commands inherit; None: what this process has."""
        self._environ = dict(os.environ if environ is None else environ)
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def prepare(self, image: str | None) -> str | None:
        """Nothing to bring: the command finds what is installed here."""
        return image

    def start(self, work: Work) -> Running:
        """See :meth:`Runtime.start`."""
        for here, there in work.inputs:
            _link_input(here, Path(there))
        folder = work.code if work.code is not None else work.outputs
        argv = [sys.executable, "-I", "-S", wrapper.__file__]
        argv += [str(work.state), str(work.log), str(folder), *work.command]
        try:
            child = subprocess.Popen(
                argv,
                env=self._environment(work),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotStartError("error", f"no process can be started: {error}") from error
        self._children[child.pid] = child
        until = time.monotonic() + START_SECONDS
        while not (work.state / "main").exists():
            if child.poll() is not None or time.monotonic() > until:
                child.kill()
                child.wait()
                raise CannotStartError(
                    "error", f"the command was not started: its wrapper ended ({child.returncode})"
                )
            time.sleep(_POLL)
        return Running(work, _read_name(work.state / "wrapper") or "")

    def adopt(self, work: Work) -> Running | None:
        """See :meth:`Runtime.adopt`."""
        for pid in _marked(work):
            if _variables(pid).get("OUTLAST_ATTEMPT") != str(work.attempt):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        name = _read_name(work.state / "wrapper")
        return None if name is None else Running(work, name)

    def terminate(self, running: Running) -> None:
        """See :meth:`Runtime.terminate`."""
        _signal(_read_name(running.work.state / "main"), signal.SIGTERM)

    def kill(self, running: Running) -> None:
        """See :meth:`Runtime.kill`. The wrapper sees the main process end and kills the rest."""
        _signal(_read_name(running.work.state / "main"), signal.SIGKILL)

    def wait(self, running: Running, timeout: float) -> Exit | None:
        """See :meth:`Runtime.wait`."""
        if not self._wait_for(running.id, timeout):
            return None
        try:
            value = read_json(running.work.state / "exit.json")
            return Exit(int(value["code"]), bool(value["oom"]), str(value["message"]))
        except FileNotFoundError:
            _kill_marked(running.work)
            return Exit(137, message="the process that watched over the command was killed")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TryAgainError(f"how the command ended cannot be read: {error}") from error

    def remove(self, running: Running) -> None:
        """See :meth:`Runtime.remove`."""
        self.kill(running)
        if not self._wait_for(running.id, START_SECONDS):
            _signal(running.id, signal.SIGKILL)
        _kill_marked(running.work)
        for name in ("wrapper", "main", "exit.json"):
            (running.work.state / name).unlink(missing_ok=True)

    def _environment(self, work: Work) -> dict[str, str]:
        kept = {name: v for name, v in self._environ.items() if not name.startswith("OUTLAST_")}
        return {
            **kept,
            "PYTHONUNBUFFERED": "1",  # what it prints is in the log when it prints it
            **work.env,
            "OUTLAST_SCRATCH": str(work.scratch),
            "OUTLAST_MEMORY": "" if work.memory is None else str(work.memory),
            "OUTLAST_OUTPUTS": str(work.outputs),
            "OUTLAST_CONTROL": str(work.control),
            "OUTLAST_JOB": work.job,
            "OUTLAST_ATTEMPT": str(work.attempt),
            # Whoever runs several machines on one computer tells them apart by a value of its own.
            "OUTLAST_MACHINE": self._environ.get("OUTLAST_MACHINE", work.machine),
        }

    def _wait_for(self, name: str, timeout: float) -> bool:
        """Whether the process of this name ends within ``timeout`` seconds."""
        pid = int(name.split(maxsplit=1)[0])
        ended = _name(pid) != name or _ends(pid, name, timeout)
        if ended and pid in self._children:
            self._children.pop(pid).wait()
        return ended


def _name(pid: int) -> str | None:
    """Pid and start time, as the wrapper writes them; None if it does not run."""
    started = wrapper.start_time(pid)
    return None if started is None else f"{pid} {started}"


def _ends(pid: int, name: str, timeout: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if _name(pid) != name:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(descriptor)


def _read_name(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _signal(name: str | None, number: signal.Signals) -> None:
    """Send a signal to the process of this name, and to no later one with its pid."""
    if name is None:
        return
    pid = int(name.split()[0])
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if _name(pid) == name:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _variables(pid: int) -> dict[str, str]:
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}  # gone, or another user's
    pairs = (item.partition(b"=") for item in data.split(b"\0") if item.startswith(b"OUTLAST_"))
    return {name.decode(): value.decode(errors="replace") for name, _, value in pairs}


def _marked(work: Work) -> list[int]:
    """Processes of any attempt of its job on its machine: their folders lie beside its own.

    Names would not do: two machines of one name may be on one computer.
    """
    return [
        pid
        for pid in wrapper.pids()
        if pid != os.getpid()
        and Path(_variables(pid).get("OUTLAST_CONTROL", "")).parent.parent == work.attempts
    ]


def _kill_marked(work: Work) -> None:
    """Kill what carries this attempt's marks: children of a wrapper that was killed itself."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        left = [
            pid
            for pid in _marked(work)
            if _variables(pid).get("OUTLAST_ATTEMPT") == str(work.attempt)
            and _name(pid) is not None
        ]
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL)
    raise TryAgainError(f"processes {left} of attempt {work.attempt} cannot be killed")


def _link_input(here: Path, there: Path) -> None:
    """Let the command find ``here`` at ``there``: a link, renewed if it is one of ours."""
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
        if there.is_symlink() and "inputs" in there.readlink().parts:
            there.unlink()
        there.symlink_to(here)
    except OSError as error:
        raise CannotStartError(
            "input",
            f"an input cannot be put at {there}: {error.strerror}; with the local provider choose "
            "a path that you may write to and where nothing is",
        ) from error
