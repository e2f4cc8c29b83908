"""A server in front of a real store, in a process of its own, that fails as it is told.

What it lets pass is answered by the real one behind it. A plan lasts for so many seconds, then all
is well again. Which requests fail how is drawn by their order from the plan's seed.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUSES = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "429": (429, "TooManyRequests"),
    "403": (403, "AccessDenied"),
    "skewed": (403, "RequestTimeTooSkewed"),
}
"""Answered to anything, and nothing is done."""
CONFLICTS = {"409": (409, "ConditionalRequestConflict"), "412": (412, "PreconditionFailed")}
"""Answered to a PUT that is not done."""
KINDS = (
    *STATUSES, *CONFLICTS, "lost", "late", "cut-up", "cut-down", "slow", "hang", "flip", "short"
)  # fmt: skip
"""Besides: done, and the answer lost; the connection cut,
and done later; cut while the body comes up, while it goes down; late; no answer; wrong bytes and
fewer bytes than there are."""
_HANG = 3.0
_STAMP = re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT|(?<=>)\d{4}-\d\d-\d\dT[\d:.]+Z")
"""What servers write into headers and listings."""


@dataclass(frozen=True)
class Plan:
    """How requests fail, for how long."""

    kinds: tuple[str, ...] = ()
    share: float = 0.0
    """Of the requests that fail, in one of these ways."""
    seconds: float = 0.0
    seed: int = 0
    years: int = 0
    """The clock of the store is wrong by so many, in all that it says."""


@dataclass
class _State:
    plan: Plan = field(default_factory=Plan)
    until: float = 0.0
    chance: random.Random = field(default_factory=random.Random)
    spoilt: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, plan: Plan) -> None:
        with self.lock:
            self.plan, self.until = plan, time.monotonic() + plan.seconds
            self.chance = random.Random(plan.seed)

    def draw(self, method: str, path: str) -> tuple[str, float]:
        """What happens to this request ("": nothing), and a number to do it by."""
        with self.lock:
            if time.monotonic() > self.until or self.chance.random() >= self.plan.share:
                self.spoilt.discard(path)
                return "", 0.0
            kind, luck = self.chance.choice(self.plan.kinds), self.chance.random()
            if kind in CONFLICTS and method != "PUT":
                return "503", luck
            if kind in ("flip", "short"):
                # Never twice running: two reads with wrong bytes are proof of damage.
                if method != "GET" or path in self.spoilt or "comp=list" in path:
                    self.spoilt.discard(path)
                    return "slow", luck
                self.spoilt.add(path)
            return kind, luck


class Front:
    """The address of such a server before ``target`` (host:port), and its plan."""

    def __init__(self, target: str) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # dies with its parent
                self._ours.close()
                _serve(target, theirs)
            finally:
                os._exit(1)
        theirs.close()
        self.address = self._ours.recv(100).decode()
        """host:port."""

    def plan(self, plan: Plan) -> None:
        """From now on, once this returns."""
        self._ours.send(json.dumps(vars(plan)).encode())
        self._ours.recv(10)

    def close(self) -> None:
        """End it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._ours.close()


def _serve(target: str, channel: socket.socket) -> None:
    state = _State()

    class Handler(_Handler):
        pass

    Handler.state, Handler.target = state, target
    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    channel.send(f"127.0.0.1:{server.server_port}".encode())
    while data := channel.recv(4096):
        value = json.loads(data)
        state.set(Plan(**{**value, "kinds": tuple(value["kinds"])}))
        channel.send(b"set")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone: killed, or out of patience."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: _State
    target: str

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):  # all methods alike
            return self._pass
        raise AttributeError(name)

    def log_message(self, *args: Any) -> None:
        pass

    def _pass(self) -> None:
        kind, luck = self.state.draw(self.command, self.path)
        length = int(self.headers.get("Content-Length", 0))
        if kind == "cut-up":
            self.rfile.read(int(length * luck))
            self._reset()
            return
        body = self.rfile.read(length)
        if kind in STATUSES or kind in CONFLICTS:
            status, code = (STATUSES | CONFLICTS)[kind]
            self._answer(status, {}, f"<Error><Code>{code}</Code></Error>".encode())
            return
        if kind == "hang":
            time.sleep(_HANG * luck)
            self._reset()
            return
        if kind == "slow":
            time.sleep(0.2 * luck)
        if kind == "late":
            self._reset()
            time.sleep(0.4 * luck)
        try:
            status, headers, content = self._ask(body)
        except OSError:  # the store itself is gone: the end of the run
            self._reset()
            return
        if kind in ("lost", "late"):
            self._reset()
            return
        if kind == "flip" and content:
            at = int(luck * len(content))
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        elif kind == "short":
            content = content[: int(luck * len(content))]
        self._answer(status, headers, content, send=luck if kind == "cut-down" else 1.0)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.target, timeout=60)
        try:
            upstream.request(self.command, self.path, body=body, headers=dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            headers = dict(answer.getheaders())
        finally:
            upstream.close()
        if years := self.state.plan.years:
            headers = {name: _STAMP.sub(_later(years), text) for name, text in headers.items()}
            if "xml" in headers.get("Content-Type", ""):
                content = _STAMP.sub(_later(years), content.decode()).encode()
        return answer.status, headers, content

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, send: float = 1.0
    ) -> None:
        left_out = {"content-length", "transfer-encoding", "connection", "date", "server"}
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in left_out or name == "Date":
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if send < 1.0:
            self.wfile.write(content[: int(send * len(content))])
            self._reset()
        else:
            self.wfile.write(content)

    def _reset(self) -> None:
        """Cut the connection hard."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()


def _later(years: int) -> Callable[[re.Match[str]], str]:
    def change(found: re.Match[str]) -> str:
        text = found[0]
        if "GMT" not in text:
            return f"{int(text[:4]) + years}{text[4:]}"
        moved = parsedate_to_datetime(text) + timedelta(days=365 * years)
        return format_datetime(moved, usegmt=True)

    return change
