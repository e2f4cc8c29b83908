"""A metadata server for tests: scheduled events as Azure has them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Metadata:
    """Azure's scheduled events for one machine, as the real service shapes them."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self.events: Any = []
        self.acknowledged: list[str] = []
        self.polls: list[float] = []
        self.status = 200
        self.delay = 0.0
        """Seconds before each answer."""
        self.date: str | None = None
        """The server's own idea of now, instead of the right one."""
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metadata.polls.append(time.monotonic())
                time.sleep(metadata.delay)
                if self.headers.get("Metadata") != "true" or self.headers.get("X-Forwarded-For"):
                    self._answer(400, {"error": "Bad request"})
                elif metadata.status != 200:
                    self._answer(metadata.status, {})
                else:
                    value = {"DocumentIncarnation": len(metadata.polls), "Events": metadata.events}
                    self._answer(200, value)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                metadata.acknowledged += [each["EventId"] for each in body["StartRequests"]]
                self._answer(200, {})

            def date_time_string(self, timestamp: float | None = None) -> str:
                return metadata.date or super().date_time_string(timestamp)

            def _answer(self, code: int, value: Any) -> None:
                data = json.dumps(value).encode()
                with contextlib.suppress(ConnectionError):  # whoever asked was killed
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def evict(self, seconds: float, kind: str = "Preempt") -> str:
        """Announce the end of the machine."""
        id_ = str(uuid.uuid4()).upper()
        at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        self.events = [
            {
                "EventId": id_,
                "EventStatus": "Scheduled",
                "EventType": kind,
                "ResourceType": "VirtualMachine",
                "Resources": [self.resource],
                "NotBefore": format_datetime(at, usegmt=True),
                "Description": "",
                "EventSource": "Platform",
            }
        ]
        return id_

    def cancel(self) -> None:
        """Take it back: the event disappears."""
        self.events = []

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
