"""Checkpoints in a scratch folder, as the library lays them out, and an uploader for them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from outlast.manifest import CheckpointId, Manifest, ObjectRef, Part, dump_manifest
from outlast_agent import layout
from outlast_agent.board import Board
from outlast_agent.journal import open_journal
from outlast_agent.stores.base import Store, UnavailableError
from outlast_agent.surely import Surely
from outlast_agent.sync.cadence import Cadence
from outlast_agent.sync.collect import Rule
from outlast_agent.sync.sweep import Sweeper
from outlast_agent.sync.upload import Durable, Uploader
from outlast_agent.sync.whole import Lineage

JOB = "digits"


def ref(data: bytes, attempt: int) -> ObjectRef:
    return ObjectRef(attempt, xxhash.xxh3_128_hexdigest(data), len(data))


def write(
    root: Path,
    attempt: int,
    step: int,
    contents: list[bytes],
    *,
    parent: str | None = None,
    kind: str = "cadence",
    objects: tuple[ObjectRef, ...] = (),
    job: str = JOB,
    finite: bool = True,
    metrics: Mapping[str, float] | None = None,
) -> Manifest:
    """Put a whole checkpoint below ``root``; ``objects`` are named beside its own."""
    refs = []
    for data in contents:
        each = ref(data, attempt)
        path = root / each.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        refs.append(each)
    manifest = Manifest(
        job=job, attempt=attempt, step=step, parent=parent, kind=kind, written="",
        fingerprint={}, parts=(Part(0, {}, ()),), objects=(*refs, *objects),
        finite=finite, metrics=dict(metrics or {}),
    )  # fmt: skip
    path = root / manifest.id.key
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(dump_manifest(manifest))
    temporary.replace(path)
    return manifest


def store_checkpoint(store: Store, attempt: int, step: int, contents: list[bytes], **more: Any):
    """Put a whole checkpoint into the store; its manifest."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        manifest = write(Path(folder), attempt, step, contents, **more)
        for each in manifest.objects:
            if (Path(folder) / each.key).exists():
                data = (Path(folder) / each.key).read_bytes()
                store.create(layout.job_root(JOB) + each.key, data)
        store.create(layout.job_root(JOB) + manifest.id.key, dump_manifest(manifest))
    return manifest


def surely(stop: threading.Event | None = None) -> Surely:
    return Surely(Board(), open_journal(), "test", stop or threading.Event())


class Uploading:
    """An uploader of one attempt, and what it said."""

    def __init__(self, store: Store, scratch: Path, attempt: int = 1, **more: Any) -> None:
        parent = more.pop("parent", None)
        memory = more.pop("memory", [])
        self.durable: list[Durable] = []
        self.refused: list[str] = []
        self.crashed: list[BaseException] = []
        lineage = Lineage(JOB, attempt, parent)
        self.told: list[str] = []
        sweeper = Sweeper(store, lineage, Rule(more.pop("keep", 3)), self.told.append)
        self.uploader = Uploader(
            store, [scratch, *memory], lineage, surely, sweeper=sweeper,
            cadence=more.pop("cadence", Cadence(more.pop("every", 0.0))),
            expected_rate=more.pop("expected_rate", None),
            on_durable=self.durable.append, on_refused=self.refused.append,
            on_crash=self.crashed.append,
        )  # fmt: skip

    def __enter__(self) -> Uploading:
        self.uploader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.uploader.close()
        if not any(error):
            assert self.crashed == []

    def flush(self, until: float | None = None, timeout: float = 10) -> None:
        done = threading.Event()
        self.uploader.flush(until, done.set)
        assert done.wait(timeout)

    def steps(self) -> list[int]:
        return [each.id.step for each in self.durable]


class Slow(Store):
    """A store that takes a time for each object, and fails as it is told."""

    def __init__(self, inner: Store, seconds: float = 0.0) -> None:
        self.inner, self.seconds = inner, seconds
        self.away = False
        self.begun: list[str] = []
        self.created: list[str] = []
        self.url = inner.url
        self.pause = threading.Event()

    def create(self, key: str, data: bytes | Path) -> None:
        self.begun.append(key)
        if "/objects/" in key:
            self.pause.wait(self.seconds)
        if self.away:
            raise UnavailableError(f"create of {key}: the store is away")
        self.inner.create(key, data)
        self.created.append(key)

    def put(self, key: str, data: bytes) -> None:
        self.inner.put(key, data)

    def read(self, key: str, *, limit: int = 64 << 20) -> bytes:
        if self.away:
            raise UnavailableError(f"read of {key}: the store is away")
        return self.inner.read(key, limit=limit)

    def fetch(self, key: str, path: Path) -> str:
        if self.away:
            raise UnavailableError(f"fetch of {key}: the store is away")
        return self.inner.fetch(key, path)

    def list(self, prefix: str, *, after: str = "") -> Any:
        return self.inner.list(prefix, after=after)

    def delete(self, key: str) -> None:
        self.inner.delete(key)


def ids(store: Store) -> list[str]:
    prefix = layout.checkpoints(JOB)
    return [str(CheckpointId.parse(entry.key)) for entry in store.list(prefix)]
