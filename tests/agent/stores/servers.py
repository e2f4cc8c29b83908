"""Real servers for the store tests: moto's S3, Azurite, and a proxy that breaks what it is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import httpx

BUCKET = "outlast-tests"
ACCOUNT = "devstoreaccount1"
# The account key that Azurite is documented with; it opens nothing else.
ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run ``command`` until it listens on ``port``; it is killed at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        limit = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"{command[0]}: {log.read_text()[-2000:]}") from None
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def moto(log: Path) -> Iterator[str]:
    """S3; yields its endpoint, with a bucket made."""
    port = free_port()
    # The version check at start would ask the network.
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with server(command, port, log):
        endpoint = f"http://127.0.0.1:{port}"
        boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        ).create_bucket(Bucket=BUCKET)
        yield endpoint


@contextmanager
def azurite(folder: Path, log: Path) -> Iterator[str]:
    """Azure Blob; yields its endpoint, with a container made."""
    port = free_port()
    command = ["azurite-blob", "--blobPort", str(port), "--location", str(folder)]
    with server([*command, "--skipApiVersionCheck", "--disableTelemetry"], port, log):
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        _make_container(endpoint, BUCKET)
        yield endpoint


def _make_container(endpoint: str, container: str) -> None:
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    text = f"PUT{chr(10) * 12}{signed}/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
    digest = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    url = f"{endpoint}/{container}?restype=container"
    httpx.put(url, headers=headers, trust_env=False).raise_for_status()


Fault = Callable[["Exchange"], None]


class Exchange:
    """One request on its way through the proxy; a fault changes what happens to it."""

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.status: int | None = None
        """Answer this without asking the server."""
        self.lose_answer = False
        """Ask the server, then cut the connection."""
        self.delay = 0.0
        """Seconds before the server is asked."""


@contextmanager
def proxy(endpoint: str, fault: Fault) -> Iterator[str]:
    """In front of ``endpoint``; ``fault`` may change each exchange. Yields the proxy's address."""
    target = endpoint.removeprefix("http://").split("/")[0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            exchange = Exchange(self.command, self.path, dict(self.headers.items()))
            fault(exchange)
            if exchange.status:
                self.send_response(exchange.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            time.sleep(exchange.delay)
            upstream = http.client.HTTPConnection(target, timeout=60)
            upstream.request(self.command, exchange.path, body=body, headers=exchange.headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            if exchange.lose_answer:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def __getattr__(self, name: str) -> Callable[[], None]:
            # The server looks for do_GET, do_PUT and so on: all are passed on alike.
            if name.startswith("do_"):
                return self._pass_on
            raise AttributeError(name)

        def log_message(self, *args: object) -> None:
            pass

    front = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=front.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{front.server_port}"
    finally:
        front.shutdown()
        front.server_close()
        thread.join()


@contextmanager
def google(s3_endpoint: str) -> Iterator[str]:
    """Google Cloud Storage's XML API, which is S3's but for the name of the condition.

    No server of it can be had here: moto answers, so this shows what our side asks for, and not
    how Google answers.
    """
    signed = "Credential=test/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"

    def translate(exchange: Exchange) -> None:
        lower = {name.lower(): value for name, value in exchange.headers.items()}
        if lower.get("x-goog-if-generation-match") == "0":
            exchange.headers["If-None-Match"] = "*"
        exchange.headers = {
            k: v for k, v in exchange.headers.items() if k.lower() != "authorization"
        }
        exchange.headers["Authorization"] = f"AWS4-HMAC-SHA256 {signed}"
        exchange.path = exchange.path.replace("%2D", "-")  # moto does not decode a bucket's name

    with proxy(s3_endpoint, translate) as endpoint:
        yield endpoint
