"""A small S3 server in a process of its own, that takes what comes as fast as it can be sent.

It knows what a store asks of S3: conditional creates, ranges, listings, deletes. Of what is
longer than a record it keeps the length alone. One thread serves one connection.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import mmap
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bench"
KEPT_BYTES = 1 << 20
_BUFFER = 1 << 20


@dataclass
class Item:
    size: int
    content: bytes | None


class Link:
    """Lets through ``rate`` bytes a second, over all connections; None: all there are."""

    def __init__(self, rate: float | None) -> None:
        self._rate, self._free_at, self._lock = rate, 0.0, threading.Lock()

    def passed(self, size: int) -> None:
        """Wait as long as ``size`` bytes take."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.01) + size / self._rate
            wait = self._free_at - now
        if wait > 0.002:
            time.sleep(wait)


class Sink:
    """What was put there, and answers to requests about it."""

    def __init__(self, link: Link) -> None:
        self.items: dict[str, Item] = {}
        self.answered = 0
        self.link = link
        self.lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """Answer requests until the other side has had enough."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = mmap.mmap(-1, _BUFFER)  # aligned: receiving takes a quarter of the time
        rest = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in rest:
                    received = connection.recv(65536)
                    if not received:
                        return
                    rest += received
                head, _, rest = rest.partition(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                pairs = (line.split(":", 1) for line in lines)
                headers = {name.lower(): value.strip() for name, value in pairs}
                length = int(headers.get("content-length", 0))
                if headers.get("expect", "").lower() == "100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body, rest = self._body(connection, length, rest, buffer)
                status, more, content = self.answer(method, target, headers, length, body)
                told = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                if "Content-Length" not in more:
                    told += f"Content-Length: {len(content)}\r\n"
                connection.sendall(f"HTTP/1.1 {status} x\r\n{told}\r\n".encode() + content)

    def _body(
        self, connection: socket.socket, length: int, rest: bytes, buffer: mmap.mmap
    ) -> tuple[bytes | None, bytes]:
        kept = bytearray(rest[:length]) if length <= KEPT_BYTES else None
        left = length - min(length, len(rest))
        rest = rest[length:]
        view = memoryview(buffer)
        while left:
            count = connection.recv_into(view[: min(left, _BUFFER)])
            if not count:
                raise ConnectionError("cut off")
            if kept is not None:
                kept += view[:count]
            left -= count
            self.link.passed(count)
        return (None if kept is None else bytes(kept)), rest

    def answer(
        self, method: str, target: str, headers: dict[str, str], length: int, body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content; to COUNT, how many requests were answered."""
        if method == "COUNT":
            return 200, {}, str(self.answered).encode()
        self.answered += 1
        parts = urlsplit(target)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        with self.lock:
            if method == "PUT":
                if headers.get("if-none-match") == "*" and key in self.items:
                    return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
                self.items[key] = Item(length, body)
                return 200, {"ETag": f'"{length}"'}, b""
            if method == "DELETE":
                self.items.pop(key, None)
                return 204, {}, b""
            if not key:
                return 200, {"Content-Type": "application/xml"}, self._list(parts.query)
            if (item := self.items.get(key)) is None:
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        return _content(method, headers, item)

    def _list(self, query: str) -> bytes:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        prefix = asked.get("prefix", "")
        after = asked.get("continuation-token") or asked.get("start-after", "")
        found = sorted(k for k in self.items if k.startswith(prefix) and k > after)
        page = found[:1000]
        last = escape(page[-1]) if page else ""
        more = f"<NextContinuationToken>{last}</NextContinuationToken>"
        lines = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z"
            f"</LastModified><ETag>&quot;{self.items[key].size}&quot;</ETag>"
            f"<Size>{self.items[key].size}</Size></Contents>"
            for key in page
        )
        cut = len(found) > len(page)
        return (
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<KeyCount>{len(page)}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>{str(cut).lower()}</IsTruncated>{more if cut else ''}{lines}"
            "</ListBucketResult>"
        ).encode()


def _content(method: str, headers: dict[str, str], item: Item) -> tuple[int, dict[str, str], bytes]:
    told = {"ETag": f'"{item.size}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
    if method == "HEAD":
        return 200, {**told, "Content-Length": str(item.size)}, b""
    content = item.content or b""
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
    if asked is None:
        return 200, told, content
    start, end = int(asked[1]), min(int(asked[2]) + 1, len(content))
    if start >= len(content):
        return 416, told, b""
    told["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
    return 206, told, content[start:end]


@contextmanager
def running(folder: Path, *, tls: bool = False, rate: float | None = None) -> Iterator[int]:
    """The port on 127.0.0.1 of a sink in its own process; with ``tls`` under a certificate at
    ``folder/cert.pem``."""
    command = [sys.executable, __file__]
    if rate is not None:
        command += ["--rate", str(rate)]
    if tls:
        make_certificate(folder)
        command += ["--tls", str(folder)]
    with Popen(command, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def environment(port: int, folder: Path, *, tls: bool) -> dict[str, str]:
    """What a client of the sink needs in its environment."""
    found = {
        "AWS_ENDPOINT_URL": f"{'https' if tls else 'http'}://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": hashlib.sha256(b"bench").hexdigest(),
        "AWS_REGION": "us-east-1",
    }
    if tls:
        return found | {"SSL_CERT_FILE": str(folder / "cert.pem")}
    # Over plain HTTP a signature hashes the content, which nobody pays for who has TLS.
    return found | {"AWS_SKIP_SIGNATURE": "true"}


def make_certificate(folder: Path) -> None:
    """A certificate of 127.0.0.1 and its key, through openssl."""
    with Popen(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        stderr=PIPE,
    ) as process:  # fmt: skip
        _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"openssl made no certificate: {said.decode()[-300:]}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float)
    parser.add_argument("--tls", type=Path)
    options = parser.parse_args()
    sink = Sink(Link(options.rate))
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls / "cert.pem", options.tls / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client has gone
            sink.serve(context.wrap_socket(connection, server_side=True) if context else connection)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
