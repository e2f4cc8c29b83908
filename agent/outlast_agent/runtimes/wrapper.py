"""Runs one command and writes down how it ended, so that the daemon may die meanwhile.

    python -I -S wrapper.py STATE LOG FOLDER COMMAND...

Run as a file, with nothing but the standard library, so that it starts in some milliseconds.
What it leaves in STATE, each written whole:

==============  ================================================================================
``wrapper``     pid and start time of this process
``main``        pid and start time of the command
``exit.json``   ``{"code": n, "oom": bool, "message": text}`` once nothing of the command lives
==============  ================================================================================

The command runs in a session of its own. When it has ended, whatever it left running is killed,
as a container would do.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with the pid it names it for ever.

    None if there is no such process, or only its remains that nobody has collected yet.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def pids() -> list[int]:
    """All processes that are there now."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def descendants(pid: int) -> list[int]:
    """All processes below ``pid``."""
    parents: dict[int, list[int]] = {}
    for each in pids():
        with contextlib.suppress(OSError, ValueError):
            stat = Path(f"/proc/{each}/stat").read_bytes()
            parent = int(stat[stat.rindex(b")") + 2 :].split()[1])
            parents.setdefault(parent, []).append(each)
    found: list[int] = []
    left = [pid]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _oom_kills() -> int:
    """How often the kernel has killed for memory since boot; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _become(log: int, folder: str, command: list[str]) -> None:
    """In the child: turn into the command. Leaves with 127 or 126 if that cannot be."""
    code, text = 126, ""
    try:
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        os.execvp(command[0], command)  # noqa: S606 - a shell is what it must not be
    except FileNotFoundError as error:
        code, text = 127, f"{error.filename or command[0]}: {error.strerror}"
    except OSError as error:
        text = f"{command[0]}: {error.strerror}"
    finally:
        os.write(2, f"outlast: {text or 'the command could not be run'}\n".encode())
        os._exit(code)


def _kill_rest() -> None:
    """Kill and collect everything that the command left; orphans became our children."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main(state: Path, log_path: str, folder: str, command: list[str]) -> None:
    """See the module."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _write(state / "wrapper", f"{os.getpid()} {start_time(os.getpid())}")
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    kills_before = _oom_kills()
    main_pid = os.fork()
    if main_pid == 0:
        _become(log, folder, command)
    _write(state / "main", f"{main_pid} {start_time(main_pid)}")
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == main_pid:
            break
    code = os.waitstatus_to_exitcode(status)
    code = 128 - code if code < 0 else code
    _kill_rest()
    oom = code == 128 + signal.SIGKILL and _oom_kills() > kills_before
    _write(state / "exit.json", json.dumps({"code": code, "oom": oom, "message": ""}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
