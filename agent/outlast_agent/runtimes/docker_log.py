"""A container's output, appended to a file while it runs: every byte once.

The engine keeps the newest of the output, far more than is asked for again, and gives it in the
same order each time, so a follower that starts again passes over as many bytes as were written
already. From where on it asks is remembered beside the file: a second by the engine's own stamps,
and how long the file was before what was printed in it; at first, the container's first byte.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from outlast.durable import read_json, replace_json
from outlast_agent.runtimes.docker_errors import one_line

_PAUSE_SECONDS = 1.0

_TO_SECOND = len("2026-11-21T09:20:35")

ENGINE_LOG = {"max-size": "128m", "max-file": "3", "mode": "blocking"}
"""What the engine keeps, with its own marks around each line: for a daemon that starts again."""
MARK_BYTES = 16 << 20
"""At most about so much is asked for again; the engine's marks may make six times of it."""
RECENT_LINES = 20_000
END_LINES, END_BYTES = 1000, 256 << 10
SETTLE_SECONDS, _QUIET_SECONDS = 4.0, 1.0
_LEFT_OUT = b"\noutlast: a part of the log is left out here: it came faster than it could be read\n"
_LINE_BYTES = 16
"""What each line counts beside its bytes: the engine keeps some 80 more with it."""


class LogFollower:
    """Follows one container in a thread of its own."""

    def __init__(self, container: Container, log: Path, state: Path) -> None:
        """``state`` is a folder; what is remembered lies there."""
        self._container = container
        self._log = log
        self._start_file = state / "docker-log.json"
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._cut = False
        self._newest = b""
        """Stamp of what was written last."""
        self.fault = "the engine still holds it"
        """Why the output is not whole, while it is not."""

    def begin(self) -> None:
        """Remember where this container's output begins. Before it is started. Raises OSError."""
        with self._log.open("ab") as file:
            self._mark(file.tell(), 0)

    def start(self) -> None:
        """Follow until the output ends."""
        thread = threading.Thread(target=self._run, name="container-log", daemon=True)
        thread.start()

    def finish(self, timeout: float) -> bool:
        """Wait until all is written, or after ``timeout`` seconds its end: a flood of short lines
        comes from the engine slower than it was printed. False if not even that can be had.
        """
        return self._done.wait(timeout) or self._take_end()

    def _take_end(self) -> bool:
        try:
            until, parts = time.monotonic() + SETTLE_SECONDS, self._end()
            while time.monotonic() < until:
                # The engine says that a container has ended before it has read all of its output.
                time.sleep(_QUIET_SECONDS)
                before, parts = parts, self._end()
                if before == parts:
                    break
            with self._lock, self._log.open("ab") as file:
                if self._cut or self._done.is_set():
                    return True
                self._cut = True
                new = [data for stamp, _, data in parts if stamp > self._newest]
                left_out = b"" if len(new) < len(parts) else _LEFT_OUT
                file.write(left_out + b"".join(new)[-END_BYTES:])
                self._mark(file.tell(), 0, cut=True)
        except (DockerException, requests.exceptions.RequestException, OSError) as error:
            self.fault = one_line(error)
            return False
        return True

    def _end(self) -> list[tuple[bytes, bytes, bytes]]:
        """The last lines that the engine has, each as stamp, space and words."""
        lines: Iterable[bytes] = self._container.logs(
            stdout=True, stderr=True, stream=True, follow=False, timestamps=True, tail=END_LINES
        )
        return [line.partition(b" ") for line in lines]

    def _run(self) -> None:
        try:
            while not self._follow():
                # The engine broke off: it restarts, perhaps. What it keeps is asked for again.
                time.sleep(_PAUSE_SECONDS)
        finally:
            self._done.set()

    def _follow(self) -> bool:
        """Whether the output came to its end."""
        try:
            with self._log.open("ab", buffering=0) as file:
                written = os.fstat(file.fileno()).st_size
                at, since, cut = self._begin()
                if cut:
                    return True
                newest, passed = b"", 0
                for line in once(self._lines(since)):
                    stamp, _, data = line.partition(b" ")
                    with self._lock:
                        if self._cut:
                            return True
                        if stamp[:_TO_SECOND] > newest:
                            newest = stamp[:_TO_SECOND]
                            if passed > MARK_BYTES:
                                self._mark(at, _seconds(newest))
                                passed = 0
                        if at + len(data) > written:
                            file.write(data[max(0, written - at) :])
                        self._newest = max(self._newest, stamp)
                    at += len(data)
                    passed += len(data) + _LINE_BYTES
            self._container.reload()
        except NotFound:
            return True
        except (DockerException, requests.exceptions.RequestException, OSError) as error:
            self.fault = one_line(error)
            return False
        return self._container.status in {"exited", "dead"}

    def _lines(self, since: int) -> Iterator[bytes]:
        """What the engine has, line by line, each with a stamp before it."""
        some = {"since": since} if since else {}
        lines: Iterator[bytes] = self._container.logs(
            stdout=True, stderr=True, stream=True, follow=True, timestamps=True, **some
        )
        return lines

    def _mark(self, size: int, since: int, *, cut: bool = False) -> None:
        """The file had ``size`` bytes before what was printed from this second on.

        ``cut``: its end is there already, and nothing is to come between.
        """
        value = {"container": self._container.id, "size": size, "since": since, "cut": cut}
        replace_json(self._start_file, value)

    def _begin(self) -> tuple[int, int, bool]:
        """What was marked last."""
        try:
            begun = read_json(self._start_file)
        except (OSError, ValueError):
            return 0, 0, False
        if begun["container"] != self._container.id:
            return 0, 0, False
        return int(begun["size"]), int(begun.get("since", 0)), bool(begun.get("cut"))


def once(lines: Iterable[bytes]) -> Iterator[bytes]:
    """``lines``, each with a stamp before it, without those that come again.

    When the engine begins a new file (28.2 at least), it sends again what it has sent of it.
    """
    newest, before, nth, whole, recent = b"", b"", 0, True, dict[int, None]()
    for line in lines:
        stamp = line[: line.find(b" ")]
        # The parts of a line that is longer than 16 KiB have one stamp, and may be alike. After a
        # whole line its own stamp comes only with what is sent again.
        nth = nth + 1 if stamp == before and not whole else 0
        before, whole = stamp, line.endswith(b"\n")
        key = hash((line, nth))
        if stamp <= newest and key in recent:
            continue
        newest = max(newest, stamp)
        recent[key] = None
        if len(recent) > RECENT_LINES:
            recent.pop(next(iter(recent)))
        yield line


def _seconds(stamp: bytes) -> int:
    """Since 1970, of a stamp to the second."""
    return int(datetime.fromisoformat(f"{stamp.decode()}+00:00").timestamp())
