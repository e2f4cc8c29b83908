"""Finding the newest checkpoint in a store that holds many."""

from __future__ import annotations

import http.client
import os
import statistics
import time
from pathlib import Path
from typing import Any

import flush_sink

MANIFESTS, OBJECTS = 1000, 20_000


def measure(size: str, folder: Path, *, times: int = 15) -> dict[str, Any]:
    """``list_ms`` and ``list_requests``: from the question to the newest manifest, read.

    As a daemon does it that has its connection already, from a server in its own process.
    """
    from outlast.manifest import CheckpointId, Manifest, dump_manifest, newest_first, parse_manifest
    from outlast_agent import layout
    from outlast_agent.stores.open import open_store

    del size  # one row, whatever the state
    took: list[float] = []
    with flush_sink.running(folder) as port:
        os.environ.update(flush_sink.environment(port, folder, tls=False))
        root = f"jobs/{layout.job_root('bench')}"
        keys = [f"{root}objects/000001/{number:032x}-{1 << 20}" for number in range(OBJECTS)]
        _put(port, dict.fromkeys(keys, b""))
        each = {}
        for step in range(1, MANIFESTS + 1):
            manifest = Manifest(
                job="bench", attempt=1, step=step, parent=None, kind="cadence",
                written="2026-01-01T00:00:00+00:00", fingerprint={}, parts=(), objects=(),
                outputs=(), metrics={}, finite=True,
            )  # fmt: skip
            each[f"{root}{CheckpointId(1, step).key}"] = dump_manifest(manifest)
        _put(port, each)
        store = open_store(f"s3://{flush_sink.BUCKET}/jobs")
        requests = 0
        for _ in range(times + 1):
            before, began = _requests(port), time.perf_counter()
            listed = store.list(layout.checkpoints("bench"))
            newest = newest_first(entry.key for entry in listed)[0]
            data = store.read(layout.job_root("bench") + newest.key)
            took.append(time.perf_counter() - began)
            if parse_manifest(data, name=str(newest)).step != MANIFESTS:
                raise RuntimeError(f"{newest} was taken for the newest")
            requests = _requests(port) - before
    return {"list_ms": statistics.median(took[1:]) * 1e3, "list_requests": requests}


def _put(port: int, items: dict[str, bytes]) -> None:
    link = http.client.HTTPConnection("127.0.0.1", port)
    for key, content in items.items():
        link.request("PUT", f"/{flush_sink.BUCKET}/{key}", body=content)
        link.getresponse().read()
    link.close()


def _requests(port: int) -> int:
    """How many the server has answered, those that ask this left out."""
    link = http.client.HTTPConnection("127.0.0.1", port)
    link.request("COUNT", "/")
    count = int(link.getresponse().read())
    link.close()
    return count
