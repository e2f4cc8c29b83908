"""Stops a process at an exact system call: a seccomp filter asks here before each one that writes.

The calls of all threads come in one order, each waits for the answer, and so a point is "before
the N-th call" of one process, not of one thread. A write can also be done by half. It costs
some 50 microseconds a call where strace costs a process start, and the file system, the locks and
the program are the real ones. See seccomp_unotify(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import socket
import stat
import struct
from dataclasses import dataclass, replace
from pathlib import Path

CALLS = {
    1: "write", 18: "pwrite64", 73: "flock", 74: "fsync", 77: "ftruncate", 82: "rename",
    83: "mkdir", 86: "link", 87: "unlink", 257: "openat", 258: "mkdirat", 263: "unlinkat",
    264: "renameat", 265: "linkat", 316: "renameat2",
}  # fmt: skip
"""By number, on x86-64; ``openat`` and ``write`` only as the filter says."""
WRITES = ("write", "pwrite64")

_ARCH = 0xC000003E
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_LOAD, _EQUAL, _ANY, _GREATER, _RETURN = 0x20, 0x15, 0x45, 0x25, 0x06
_FD, _FLAGS = 16, 32
"""Offsets of the first and the third argument."""
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_SYS_SECCOMP, _SET_FILTER, _NEW_LISTENER = 317, 1, 8
_NO_NEW_PRIVILEGES, _PARENT_DEATH = 38, 1


def works() -> bool:
    """Whether this machine is of the kind whose calls are listed here."""
    return platform.machine() == "x86_64" and os.uname().sysname == "Linux"


@dataclass(frozen=True)
class Call:
    """One system call that waits to be allowed."""

    id: int
    thread: int
    name: str
    arguments: tuple[int, ...]

    def deletes(self) -> bool:
        """Whether an object or a manifest goes: of all files of a store, these have a hyphen."""
        if self.name != "unlinkat":
            return False
        with contextlib.suppress(OSError), Path(f"/proc/{self.thread}/mem").open("rb", 0) as memory:
            memory.seek(self.arguments[1])
            return b"-" in memory.read(48).partition(b"\0")[0]
        return False

    def target(self) -> str:
        """The file that an open descriptor is of; else ''."""
        if self.name in ("write", "pwrite64", "fsync", "ftruncate", "flock"):
            with contextlib.suppress(OSError):
                return str(Path(f"/proc/{self.thread}/fd/{self.arguments[0]}").readlink())
        return ""


def close_in(channel: socket.socket) -> None:
    """Have this process, which has one thread yet, ask before each call; dies with its parent.

    The descriptor to answer by goes through ``channel``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PARENT_DEATH, 9, 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    code = _filter()
    block = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(code), ctypes.addressof(block))
    )
    listener = libc.syscall(_SYS_SECCOMP, _SET_FILTER, _NEW_LISTENER, program)
    if listener < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp refused the filter: {os.strerror(number)}")
    socket.send_fds(channel, [b"gate"], [listener])
    os.close(listener)


def _filter() -> list[tuple[int, int, int, int]]:
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCH),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, 0),
    ]
    for number, name in CALLS.items():
        if name == "openat":  # those that may write
            test = [(_LOAD, 0, 0, _FLAGS), (_ANY, 0, 1, os.O_CREAT | os.O_WRONLY | os.O_RDWR)]
        elif name == "write":  # not what is printed
            test = [(_LOAD, 0, 0, _FD), (_GREATER, 0, 1, 2)]
        else:
            test = []
        block = [*test, (_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW)]
        code += [(_EQUAL, 0, len(block), number), *block]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


class Gate:
    """The other side: what one process asks."""

    def __init__(self, listener: int) -> None:
        self.listener = listener

    def next(self) -> Call | None:
        """The call that waits; None: it has gone, with its thread."""
        data = bytearray(80)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, data)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        id_, thread, _, number, _, _ = struct.unpack_from("QIIiIQ", data)
        call = Call(id_, thread, CALLS.get(number, str(number)), struct.unpack_from("6Q", data, 32))
        return replace(call, name="delete") if call.deletes() else call

    def allow(self, call: Call) -> None:
        """Let it be done."""
        answer = bytearray(struct.pack("QqiI", call.id, 0, 0, 1))
        with contextlib.suppress(FileNotFoundError):  # killed meanwhile
            fcntl.ioctl(self.listener, _SEND, answer)

    def close(self) -> None:
        """Of a process that has ended."""
        os.close(self.listener)


def tear(call: Call) -> bool:
    """Do the first half of a write in the place of its process; whether there is one."""
    if call.name not in WRITES or call.arguments[2] < 2:
        return False
    number, address, length = call.arguments[:3]
    process = Path(f"/proc/{call.thread}")
    try:
        path = process / f"fd/{number}"
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        at = call.arguments[3]
        if call.name == "write":
            at = int((process / f"fdinfo/{number}").read_text().split()[1])
        with (process / "mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            half = memory.read(length // 2)
        file = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(file, half, at)
        finally:
            os.close(file)
    except OSError:
        return False
    return True
