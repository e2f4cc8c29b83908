"""Deletes durable checkpoints that are not needed any more; :mod:`collect` decides which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from outlast.manifest import (
    MAX_MANIFEST_BYTES,
    CheckpointId,
    Manifest,
    ManifestError,
    ObjectRef,
    newest_first,
    parse_manifest,
)
from outlast_agent import layout
from outlast_agent.stores.base import NotFoundError, Store
from outlast_agent.sync import collect
from outlast_agent.sync.whole import Lineage


@dataclass(frozen=True)
class _Seen:
    kind: str
    finite: bool
    objects: Sequence[ObjectRef]


class Sweeper:
    """Sweeps for one attempt. Used by one thread, between two uploads."""

    def __init__(self, store: Store, lineage: Lineage, keep: int) -> None:
        self._store, self._lineage, self._keep = store, lineage, keep
        self._prefix = layout.job_root(lineage.job)
        self._seen: dict[CheckpointId, _Seen] = {}
        if lineage.parent is not None:
            self.saw(lineage.parent)

    def saw(self, manifest: Manifest) -> None:
        """This one is durable: it need not be read again."""
        self._seen[manifest.id] = _Seen(manifest.kind, manifest.finite, manifest.objects)

    def sweep(self, forget: Callable[[ObjectRef], None], over: Callable[[], bool]) -> None:
        """Delete what may go. Raises StoreError.

        ``forget`` is told of each object before it goes. Breaks off once it is ``over``: a
        notice has come, and nothing is deleted under one.
        """
        job, attempt = self._lineage.job, self._lineage.attempt
        parent = self._lineage.parent
        keys = (entry.key for entry in self._store.list(layout.checkpoints(job)))
        durable = [id_ for id_ in newest_first(keys) if id_.attempt <= attempt]
        durable = [id_ for id_ in durable if self._known(id_)]
        fits = [id_ for id_ in durable if self._seen[id_].kind == "fit"]
        # Once a loss is NaN it stays so: what was saved before must not go for what comes after.
        finite = [id_ for id_ in durable if self._seen[id_].finite]
        going = collect.superseded(
            durable,
            attempt=attempt,
            parent=parent.id if parent else None,
            pinned=[*fits[:1], *finite[:1]],
            keep=self._keep,
        )
        for id_ in going:
            if over():
                return
            self._store.delete(self._prefix + id_.key)
            self._seen.pop(id_)
        kept = {id_: self._seen[id_].objects for id_ in durable if id_ in self._seen}
        own_whole = sum(id_.attempt == attempt for id_ in kept)
        refs = collect.unused(self._present(), kept, attempt=attempt, own_whole=own_whole)
        for ref in refs:
            if over():
                return
            forget(ref)
            self._store.delete(self._prefix + ref.key)

    def _known(self, id_: CheckpointId) -> bool:
        """Read a manifest that this attempt did not write; False if it has gone meanwhile."""
        if id_ in self._seen:
            return True
        try:
            data = self._store.read(self._prefix + id_.key, limit=MAX_MANIFEST_BYTES)
            self.saw(parse_manifest(data, name=str(id_)))
        except NotFoundError:
            return False
        except ManifestError:
            # Damaged: it names nothing that could be kept for it, and may go in its turn.
            self._seen[id_] = _Seen("damaged", False, ())
        return True

    def _present(self) -> list[ObjectRef]:
        found = []
        for entry in self._store.list(layout.objects(self._lineage.job)):
            try:
                found.append(ObjectRef.parse(entry.key))
            except ManifestError:
                continue
        return found
