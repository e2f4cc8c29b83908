"""Store -> machine: the newest whole checkpoint, every byte verified as it arrives.

Falling back to an older checkpoint needs proof that the newer one is damaged: something it
names is not there, or was read twice with a wrong hash. Whatever is only late is waited for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import xxhash

from outlast.durable import replace_file
from outlast.manifest import (
    MAX_MANIFEST_BYTES,
    CheckpointId,
    Manifest,
    ManifestError,
    NewerVersionError,
    ObjectRef,
    newest_first,
    parse_manifest,
)
from outlast_agent import layout
from outlast_agent.stores.base import NotFoundError, Store, StoreError
from outlast_agent.surely import Surely
from outlast_agent.sync import newest

CARRIERS = 8
TRIES = 2
"""Reads with a wrong hash that prove damage."""

_CHUNK = 8 << 20


class DamagedError(Exception):
    """Proof that a checkpoint is not whole in the store; the message says what."""


@dataclass(frozen=True)
class Found:
    """What the store has to begin from; its files are below the download folder."""

    manifest: Manifest | None
    """None: nothing, training begins anew."""
    damaged: dict[CheckpointId, str] = field(default_factory=dict)
    """Newer ones that were passed over, and why."""


class Downloader:
    """Brings the newest checkpoint below a folder, laid out as a scratch folder is.

    ``folder`` is asked for it once it is known how many bytes a checkpoint has. What a call has
    brought and verified, the next call of the same object does not read again.
    ``progress`` is told bytes that are here and bytes in all.
    """

    def __init__(
        self,
        store: Store,
        job: str,
        folder: Callable[[int], Path],
        surely: Surely,
        progress: Callable[[int, int], None] = lambda _here, _all: None,
    ) -> None:
        self._store, self._job, self._surely = store, job, surely
        self._folder_for = folder
        self._progress = progress
        self._folder = Path()
        self._verified: set[ObjectRef] = set()
        self._lock = Lock()
        self._here = 0
        self.fetched_bytes = 0
        """Brought from the store by this object, over all calls."""

    def newest(self, *, below: int, set_aside: Collection[str]) -> Found:
        """The newest whole checkpoint of the attempts before ``below``, here and verified.

        Raises NewerVersionError for one from a newer Outlast: to go on from an older one would
        lose what is in it. StoppedError when broken off; OSError for the local disk.
        """
        damaged: dict[CheckpointId, str] = {}
        while True:
            listed = self._surely.do(self._list)
            left = [
                id_
                for id_ in newest.candidates(listed, below=below, set_aside=set_aside)
                if id_ not in damaged
            ]
            if not left:
                return Found(None, damaged)
            id_ = left[0]
            try:
                return Found(self._bring(id_), damaged)
            except DamagedError as error:
                # A live attempt sweeps while a spare downloads: what was swept is not damaged.
                if id_ in self._surely.do(self._list):
                    damaged[id_] = str(error)

    def move(self, manifest: Manifest, scratch: Path) -> None:
        """Put a checkpoint that was brought into an attempt's fresh scratch. Raises OSError."""
        for ref in dict.fromkeys(manifest.objects):
            target = scratch / ref.key
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._folder / ref.key, target)  # noqa: PTH105 - as durable.py
            self._verified.discard(ref)
        target = scratch / manifest.id.key
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._folder / manifest.id.key, target)  # noqa: PTH105

    def _list(self) -> list[CheckpointId]:
        keys = self._store.list(layout.checkpoints(self._job))
        return newest_first(entry.key for entry in keys)

    def _bring(self, id_: CheckpointId) -> Manifest:
        manifest, data = self._read_manifest(id_)
        refs = list(dict.fromkeys(manifest.objects))
        self._here = 0
        total = sum(ref.size for ref in refs)
        self._folder = self._folder_for(total)
        for attempt in {ref.attempt for ref in refs}:
            (self._folder / "objects" / f"{attempt:06d}").mkdir(parents=True, exist_ok=True)

        def bring(ref: ObjectRef) -> None:
            self._bring_object(ref)
            with self._lock:
                self._here += ref.size
                self._progress(self._here, total)

        with ThreadPoolExecutor(CARRIERS, thread_name_prefix="fetch") as pool:
            for _ in pool.map(bring, refs):
                pass
        path = self._folder / id_.key
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, fsync=False)
        self._drop_others(manifest)
        return manifest

    def _drop_others(self, manifest: Manifest) -> None:
        """What an earlier call brought and this checkpoint does not name."""
        wanted = {self._folder / ref.key for ref in manifest.objects}
        wanted.add(self._folder / manifest.id.key)
        with self._lock:
            self._verified &= set(manifest.objects)  # a later one may name again what goes now
        for path in self._folder.glob("*/**/*"):
            if path.is_file() and path not in wanted:
                path.unlink()

    def _read_manifest(self, id_: CheckpointId) -> tuple[Manifest, bytes]:
        key = layout.job_root(self._job) + id_.key
        why = ""
        for _ in range(TRIES):
            try:
                data = self._surely.do(lambda: self._store.read(key, limit=MAX_MANIFEST_BYTES))
                return parse_manifest(data, name=str(id_)), data
            except NotFoundError as error:
                raise DamagedError(f"{key} is not there") from error
            except NewerVersionError:
                raise
            except (ManifestError, StoreError) as error:  # the latter: longer than any manifest
                why = str(error)
        raise DamagedError(why)

    def _bring_object(self, ref: ObjectRef) -> None:
        if ref in self._verified:
            return
        path = self._folder / ref.key
        if not _holds(path, ref):
            key = layout.job_root(self._job) + ref.key
            for _ in range(TRIES):
                try:
                    arrived = self._surely.do(lambda: self._store.fetch(key, path))
                except NotFoundError as error:
                    raise DamagedError(f"{key} is not there") from error
                with self._lock:
                    self.fetched_bytes += ref.size
                if arrived == ref.hash and path.stat().st_size == ref.size:
                    break
            else:
                path.unlink(missing_ok=True)
                raise DamagedError(f"{key} was read {TRIES} times with other bytes than written")
        with self._lock:
            self._verified.add(ref)


def _holds(path: Path, ref: ObjectRef) -> bool:
    """Whether an earlier daemon brought it: the file has the bytes that its name says."""
    try:
        if path.stat().st_size != ref.size:
            return False
        digest = xxhash.xxh3_128()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == ref.hash
