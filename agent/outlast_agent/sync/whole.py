"""The checkpoints that are whole in one attempt's scratch, and may be uploaded."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from outlast.manifest import (
    MAX_MANIFEST_BYTES,
    CheckpointId,
    Manifest,
    ManifestError,
    ObjectRef,
    newest_first,
    parse_manifest,
)
from outlast_agent.sync import beneath
from outlast_agent.sync.beneath import HostileError, Opened

MAX_OBJECT_BYTES = 256 << 20
"""The library writes objects of about 64 MiB. Each carrier holds one in memory."""

MAX_KIND = 40
"""Letters; the library has four kinds."""
MOST_TOLD = 20
"""Checkpoints that are refused: a hostile program can make as many as it likes."""

LOOKED_THROUGH = 16
"""Manifests, the newest, that are read for what they name: an honest library keeps fewer."""


_OFFSET = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Lineage:
    """What an attempt stands on."""

    job: str
    attempt: int
    parent: Manifest | None
    """What it resumed from: its objects may be named again."""


class Scratch:
    """One attempt's scratch, read as hostile.

    It may lie in several ``roots``. An object's file is called like the object, or it is a larger
    one, called like the object, ``@`` and its first byte.
    """

    def __init__(
        self, roots: Sequence[Path], lineage: Lineage, on_refused: Callable[[str], None]
    ) -> None:
        self._roots, self._lineage, self._on_refused = tuple(roots), lineage, on_refused
        self._refused: set[CheckpointId] = set()
        self._manifests: dict[CheckpointId, Manifest] = {}
        self._inside: dict[ObjectRef, tuple[Path, str]] = {}
        self._named: set[ObjectRef] = set()
        self._looked_through: set[CheckpointId] = set()
        self._spoilt = False

    def newer_than(self, durable: CheckpointId | None) -> list[CheckpointId]:
        """This attempt's checkpoints newer than ``durable``, the newest first."""
        try:
            names = self._names()
        except OSError as error:
            if not self._spoilt:
                self._spoilt = True
                self._on_refused(f"the folder of checkpoints in scratch cannot be read: {error}")
            return []
        found = [
            id_
            for id_ in newest_first(names)
            if id_.attempt == self._lineage.attempt
            and (durable is None or id_ > durable)
            and id_ not in self._refused
        ]
        present = set(found)
        self._manifests = {id_: m for id_, m in self._manifests.items() if id_ in present}
        return found

    def manifest(self, id_: CheckpointId) -> Manifest | None:
        """One of them, checked; None if it has gone or is refused."""
        if id_ in self._manifests:
            return self._manifests[id_]
        if id_ in self._refused:
            return None
        try:
            manifest = self._read(id_)
            self._check(manifest)
        except FileNotFoundError:
            return None
        except (OSError, ManifestError) as error:
            self.refuse(id_, str(error))
            return None
        self._manifests[id_] = manifest
        return manifest

    def hold(
        self, manifest: Manifest, refs: Sequence[ObjectRef], held: ExitStack
    ) -> dict[ObjectRef, Opened] | None:
        """``refs``, open until ``held`` is; None if it is not whole any more."""
        descriptors = {}
        for ref in refs:
            try:
                descriptors[ref] = held.enter_context(self.open(ref))
            except (FileNotFoundError, BlockingIOError):
                # The library may have removed it, or saved the same step again with other
                # objects; else somebody else has had his hands in it.
                self._manifests.pop(manifest.id, None)
                if self.manifest(manifest.id) == manifest:
                    self.refuse(manifest.id, f"{ref.key} is not there")
                return None
            except OSError as error:
                self.refuse(manifest.id, str(error))
                return None
        return descriptors

    def ahead(self) -> list[ObjectRef]:
        """Whole objects of this attempt that no manifest here has named yet."""
        lying = set(self.objects())
        if not lying <= self._named:
            self._named = (self._named | self._named_now()) & lying
        return sorted(lying - self._named, key=lambda ref: ref.key)

    def _named_now(self) -> set[ObjectRef]:
        """What the manifests that lie here name, whatever else is wrong with them."""
        named: set[ObjectRef] = set()
        with suppress(OSError):
            names = self._names()
            for id_ in newest_first(names)[:LOOKED_THROUGH]:
                known = self._manifests.get(id_)
                if known is None and id_ not in self._looked_through:
                    self._looked_through.add(id_)
                    with suppress(OSError, ManifestError):
                        known = self._read(id_)
                named.update(known.objects if known is not None else ())
        return named

    def _names(self) -> list[str]:
        return [name for root in self._roots for name in beneath.names(root, "checkpoints")]

    def _read(self, id_: CheckpointId) -> Manifest:
        parts = ("checkpoints", f"{id_}.json")
        *others, last = self._roots
        for root in others:
            with suppress(FileNotFoundError):
                data = beneath.read(root, *parts, limit=MAX_MANIFEST_BYTES)
                return parse_manifest(data, name=str(id_))
        data = beneath.read(last, *parts, limit=MAX_MANIFEST_BYTES)
        return parse_manifest(data, name=str(id_))

    def objects(self) -> list[ObjectRef]:
        """This attempt's objects that lie here, of a size that can be sent."""
        folder = f"{self._lineage.attempt:06d}"
        found: dict[ObjectRef, tuple[Path, str]] = {}
        for root in self._roots:
            names: list[str] = []
            with suppress(OSError):  # told when a manifest names something in it
                names = beneath.names(root, "objects", folder)
            for name in names:
                with suppress(ManifestError):
                    ref = ObjectRef.parse(f"objects/{folder}/{name.partition('@')[0]}")
                    if ref.size <= MAX_OBJECT_BYTES:
                        found.setdefault(ref, (root, name))
        self._inside = {ref: there for ref, there in found.items() if "@" in there[1]}
        return list(found)

    @contextmanager
    def open(self, ref: ObjectRef) -> Iterator[Opened]:
        """An object that the library does not write over. Raises OSError."""
        with ExitStack() as held:
            try:
                opened = self._opened(ref, held)
            except FileNotFoundError:
                if len(self._roots) == 1:
                    raise
                self.objects()  # it may have come meanwhile, or lie elsewhere by now
                opened = self._opened(ref, held)
            yield opened

    def _opened(self, ref: ObjectRef, held: ExitStack) -> Opened:
        *folders, name = ref.key.split("/")
        root, name = self._inside.get(ref, (self._roots[0], name))
        _, at, start = name.partition("@")
        if at and not _OFFSET.fullmatch(start):
            raise HostileError(f"{name!r:.200} is not the name of an object")
        descriptor = held.enter_context(beneath.open_file(root, *folders, name))
        _lock(descriptor)
        _check_name(root, (*folders, name), descriptor)
        return Opened(descriptor, int(start) if at else None)

    def refuse(self, id_: CheckpointId, why: str) -> None:
        """Do not look at it again."""
        self._refused.add(id_)
        if len(self._refused) <= MOST_TOLD:
            self._on_refused(f"checkpoint {id_} in scratch is not uploaded: {why}")
        elif len(self._refused) == MOST_TOLD + 1:
            self._on_refused("more checkpoints in scratch are not uploaded; none of them is told")

    def _check(self, manifest: Manifest) -> None:
        """Only what this attempt may name: its own objects and those it resumed from."""
        lineage = self._lineage
        parent = lineage.parent
        allowed = set(parent.objects) if parent else set()
        kind = manifest.kind
        if not kind.isidentifier() or not kind.isascii() or len(kind) > MAX_KIND:
            raise ManifestError(f"it calls its kind {kind!r:.80}")
        if manifest.job != lineage.job:
            raise ManifestError(f"it is of job {manifest.job!r:.80}")
        if manifest.parent != (str(parent.id) if parent else None):
            raise ManifestError(f"it names another parent: {manifest.parent}")
        for ref in manifest.objects:
            if ref.attempt != lineage.attempt and ref not in allowed:
                raise ManifestError(f"it names {ref.key}, which is not its own")
            if ref.size > MAX_OBJECT_BYTES:
                raise ManifestError(
                    f"it names an object of {ref.size} bytes; at most {MAX_OBJECT_BYTES} go up"
                )


def _lock(descriptor: int) -> None:
    """Keep the library from writing over a file that it needs no more. Raises BlockingIOError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise  # it does so already
    except OSError:
        pass  # a file system without locks, on which it writes over none


def _check_name(root: Path, parts: Sequence[str], descriptor: int) -> None:
    """Raises FileNotFoundError if another file has its name by now, or none.

    Between the opening and the lock it may have been taken away and written over.
    """
    with beneath.open_file(root, *parts) as named:
        if not os.path.samestat(os.fstat(named), os.fstat(descriptor)):
            raise FileNotFoundError("/".join(parts))
