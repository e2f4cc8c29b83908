"""A metadata endpoint like Azure's Scheduled Events, one for each local machine.

Source of the forms: Microsoft Learn, *Azure Metadata Service: Scheduled Events for Linux VMs*
(api-version 2020-07-01).
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from dataclasses import dataclass, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PATH = "/metadata/scheduledevents"
_VERSIONS = ["2020-07-01", "2019-08-01", "2019-04-01", "2019-01-01"]
_MAX_BODY = 64 << 10


@dataclass(frozen=True)
class ScheduledEvent:
    """One event."""

    id: str
    kind: str
    """``Preempt``, ``Freeze``, ``Reboot``, ``Redeploy``."""
    not_before: float
    """Unix seconds."""
    started: bool = False


class Metadata:
    """The events of one machine, served on a port of 127.0.0.1."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        self._incarnation = 1
        self._event: ScheduledEvent | None = None
        self.acknowledged = threading.Event()
        """Set once the event was acknowledged: it may begin at once."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def publish(self, kind: str, seconds: float) -> None:
        """Announce an event that begins in ``seconds``; the one that is announced stays."""
        with self._lock:
            if self._event is None:
                event_id = str(uuid.uuid4()).upper()
                self._event = ScheduledEvent(event_id, kind, time.time() + seconds)
                self._incarnation += 1

    def begin(self) -> None:
        """The event begins now."""
        with self._lock:
            if self._event is not None:
                self._event = replace(self._event, started=True)
                self._incarnation += 1

    def withdraw(self) -> None:
        """The event is cancelled, or over: it disappears."""
        with self._lock:
            self._event = None
            self.acknowledged.clear()
            self._incarnation += 1

    def document(self) -> dict[str, Any]:
        """What a GET answers."""
        with self._lock:
            event = self._event
            events = []
            if event is not None:
                # To the second, as the service has it; empty once begun.
                when = "" if event.started else formatdate(int(event.not_before), usegmt=True)
                events.append(
                    {
                        "EventId": event.id,
                        "EventStatus": "Started" if event.started else "Scheduled",
                        "EventType": event.kind,
                        "ResourceType": "VirtualMachine",
                        "Resources": [self._machine],
                        "NotBefore": when,
                        "Description": "",
                        "EventSource": "Platform",
                        "DurationInSeconds": -1,
                    }
                )
            return {"DocumentIncarnation": self._incarnation, "Events": events}

    def acknowledge(self, ids: list[str]) -> bool:
        """Whether ``ids`` name the event that is announced."""
        with self._lock:
            known = self._event is not None and self._event.id in ids
            if known:
                self.acknowledged.set()
            return known


def _handler(metadata: Metadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "IMDS/150"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            if self._acceptable():
                self._answer(200, metadata.document())

        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("Content-Length", "0"))
            except ValueError:
                length = -1
            if not 0 <= length <= _MAX_BODY:
                self.close_connection = True
                self._answer(400, {"error": "Bad request. Content-Length is invalid"})
                return
            body = self.rfile.read(length)
            if not self._acceptable():
                return
            ids = _start_requests(body)
            if ids is None or not metadata.acknowledge(ids):
                self._answer(400, {"error": "Bad request. No such event, or not a start request"})
                return
            self._answer(200, None)

        def do_PUT(self) -> None:
            self._answer(405, {"error": "Method not allowed"})

        do_DELETE = do_PUT  # noqa: N815 - the name that http.server looks for

        def _acceptable(self) -> bool:
            parts = urlsplit(self.path)
            version = parse_qs(parts.query).get("api-version", [""])[0]
            if parts.path != PATH:
                self._answer(404, {"error": "Not found"})
            elif self.headers.get("Metadata", "").lower() != "true":
                self._answer(400, {"error": "Bad request. Required metadata header not specified"})
            elif "X-Forwarded-For" in self.headers:
                self._answer(400, {"error": "Bad request. X-Forwarded-For is not allowed"})
            elif version not in _VERSIONS:
                told = "Bad request. api-version is invalid or was not specified in the request"
                self._answer(400, {"error": told, "newest-versions": _VERSIONS})
            else:
                return True
            return False

        def _answer(self, status: int, value: dict[str, Any] | None) -> None:
            body = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """One line a second would say nothing."""

    return Handler


def _start_requests(body: bytes) -> list[str] | None:
    try:
        return [str(one["EventId"]) for one in json.loads(body)["StartRequests"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
