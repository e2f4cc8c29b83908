"""Which local checkpoints go, so that scratch stays small. What is durable is the daemon's."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from outlast.checkpoint import DamagedError, checkpoints_in, read_manifest
from outlast.manifest import (
    CheckpointId,
    Manifest,
    ManifestError,
    NewerVersionError,
    ObjectRef,
)
from outlast.spares import Spares


def superseded(
    whole: Iterable[CheckpointId],
    *,
    attempt: int,
    parent: CheckpointId | None,
    pinned: Iterable[CheckpointId] = (),
    keep: int = 2,
) -> list[CheckpointId]:
    """The checkpoints among ``whole`` that ``attempt`` may remove, oldest first. Pure.

    Kept are this attempt's newest ``keep``, the ``pinned``, the one resumed from, and all of lower
    attempts until this one has ``keep`` of its own. Higher attempts are never touched.
    """
    own = sorted((id_ for id_ in whole if id_.attempt == attempt), reverse=True)
    lower = [id_ for id_ in whole if id_.attempt < attempt] if len(own) >= keep else []
    kept = {*own[:keep], *pinned, parent}
    return sorted(id_ for id_ in [*own, *lower] if id_ not in kept)


@dataclass(frozen=True)
class _Seen:
    objects: frozenset[ObjectRef]
    finite: bool


class Retention:
    """Keeps the scratch folder of one attempt small."""

    def __init__(self, scratch: Path, attempt: int, spares: Spares) -> None:
        """``spares`` gets the files of what is removed."""
        self.parent: CheckpointId | None = None
        """The checkpoint resumed from: it stays."""
        self._scratch, self._attempt, self._spares = scratch, attempt, spares
        self._seen: dict[CheckpointId, _Seen] = {}
        self._ends_of_fits: set[CheckpointId] = set()
        # A later save of the same step takes the place of the earlier one, whose objects someone
        # may be reading still: those of the latest three stay whatever names them.
        self._latest: deque[frozenset[ObjectRef]] = deque(maxlen=3)
        self._unnamed: set[ObjectRef] = set()

    def added(self, manifest: Manifest, unnamed: Iterable[ObjectRef] = ()) -> None:
        """A checkpoint became whole; ``unnamed`` objects were written for none."""
        self._unnamed.update(unnamed)
        before = self._seen.get(manifest.id)
        self._unnamed |= before.objects if before is not None else frozenset()
        seen = _Seen(frozenset(manifest.objects), manifest.finite)
        self._seen[manifest.id] = seen
        self._latest.append(seen.objects)
        if manifest.kind == "fit":
            self._ends_of_fits.add(manifest.id)
        else:
            self._ends_of_fits.discard(manifest.id)

    def apply(self) -> None:
        """Remove what is superseded: manifests first, then what they alone named.

        Raises OSError; what was not removed is when this is called again.
        """
        whole = checkpoints_in(self._scratch)
        gone = superseded(
            whole,
            attempt=self._attempt,
            parent=self.parent,
            pinned=self._pinned(whole),
        )
        if not gone and not self._unnamed:
            return
        stay = set[ObjectRef]().union(*self._latest)
        for id_ in whole:
            if id_ not in gone and id_.attempt <= self._attempt:
                stay |= self._look(id_).objects
        for id_ in gone:
            self._unnamed |= self._look(id_).objects
            (self._scratch / id_.key).unlink(missing_ok=True)
            del self._seen[id_]
        for ref in self._unnamed - stay:
            self._spares.put(self._scratch / ref.key, ref.size)
            self._unnamed.discard(ref)

    def named(self, id_: CheckpointId) -> frozenset[ObjectRef]:
        """The objects that the manifest of ``id_`` names, as it lies there. Raises OSError."""
        return self._read(id_).objects

    def _pinned(self, whole: Iterable[CheckpointId]) -> Iterator[CheckpointId]:
        """The newest end of a fit: with it a script run again passes over its finished fits.

        And the newest with finite metrics: when a loss is NaN, all saves from there on are.
        """
        yield from sorted(self._ends_of_fits, reverse=True)[:1]
        newest = sorted((id_ for id_ in whole if id_.attempt <= self._attempt), reverse=True)
        yield from islice((id_ for id_ in newest if self._look(id_).finite), 1)

    def _look(self, id_: CheckpointId) -> _Seen:
        if id_ not in self._seen:
            self._seen[id_] = self._read(id_)
        return self._seen[id_]

    def _read(self, id_: CheckpointId) -> _Seen:
        try:
            manifest = read_manifest(self._scratch, id_)
        except (ManifestError, DamagedError):
            # Nothing to keep it for; the sweep at the next start finds its objects.
            return _Seen(frozenset(), finite=False)
        return _Seen(frozenset(manifest.objects), manifest.finite)


def sweep(scratch: Path, attempt: int) -> None:
    """Remove what killed writers left below ``scratch``, before anything is written there.

    Temporary files, and objects of ``attempt`` and lower ones that no manifest names. Raises
    OSError.
    """
    for folder in (scratch, *(scratch / name for name in ("checkpoints", "parts", "objects"))):
        for path in (*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")):
            path.unlink(missing_ok=True)
    for path in (*scratch.glob("parts/*.json"), *scratch.glob("plan-*.json")):
        path.unlink(missing_ok=True)
    named = set[ObjectRef]()
    for id_ in checkpoints_in(scratch):
        try:
            named.update(read_manifest(scratch, id_).objects)
        except NewerVersionError:
            return  # what it names cannot be told
        except (ManifestError, DamagedError):
            continue
    for ref in _objects_in(scratch):
        if ref.attempt <= attempt and ref not in named:
            (scratch / ref.key).unlink(missing_ok=True)


def next_attempt(scratch: Path) -> int:
    """One more than the highest attempt that left anything below ``scratch``.

    Empty folders count, which :func:`sweep` leaves: all ranks come to the same number, whether
    they look before or after it.
    """
    found = [id_.attempt for id_ in checkpoints_in(scratch)[:1]]
    for folder in scratch.glob("objects/*"):
        with suppress(ValueError):
            found.append(int(folder.name))
    return max(found, default=0) + 1


def _objects_in(scratch: Path) -> list[ObjectRef]:
    found = []
    for path in scratch.glob("objects/*/*"):
        with suppress(ManifestError):
            found.append(ObjectRef.parse(f"objects/{path.parent.name}/{path.name}"))
    return found
