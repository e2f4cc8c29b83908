"""Deletes durable checkpoints that are not needed any more; :mod:`collect` decides which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

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
from outlast_agent.stores.base import NotFoundError, Store
from outlast_agent.sync import collect
from outlast_agent.sync.collect import Facts, Rule
from outlast_agent.sync.whole import Lineage

READ_AT_ONCE = 50
"""Manifests of earlier attempts, in one sweep: uploads wait meanwhile."""
ENOUGH = 3
"""So many checkpoints may lack a metric before that is told."""


@dataclass(frozen=True)
class _Seen:
    facts: Facts
    objects: Sequence[ObjectRef]


class Sweeper:
    """Sweeps for one attempt. Used by one thread, between two uploads."""

    def __init__(
        self, store: Store, lineage: Lineage, rule: Rule, tell: Callable[[str], None]
    ) -> None:
        """``tell`` is given what a person should know, once: a metric that there is not."""
        self._store, self._lineage, self._rule, self._tell = store, lineage, rule, tell
        self._prefix = layout.job_root(lineage.job)
        self._seen: dict[CheckpointId, _Seen] = {}
        self._told = False
        self.deletes = False
        """Whether an object is being deleted; read by another thread."""
        if lineage.parent is not None:
            self.saw(lineage.parent)

    def saw(self, manifest: Manifest) -> None:
        """This one is durable: it need not be read again."""
        self._seen[manifest.id] = _Seen(collect.facts_of(manifest), manifest.objects)

    def sweep(
        self,
        forget: Callable[[ObjectRef], None],
        over: Callable[[], bool],
        *,
        spared: Collection[ObjectRef] = (),
    ) -> None:
        """Delete what may go, but none of ``spared``: a save under way will name them.

        Raises StoreError.

        ``forget`` is told of each object before it goes. Breaks off once it is ``over``: a
        notice has come, and nothing is deleted under one.
        """
        job, attempt, parent = self._lineage.job, self._lineage.attempt, self._lineage.parent
        keys = (entry.key for entry in self._store.list(layout.checkpoints(job)))
        listed = [id_ for id_ in newest_first(keys) if id_.attempt <= attempt]
        if any(True for _ in self._store.list(layout.claim(job, attempt + 1))):
            # Superseded by one that stands on what would go. Whoever claims after this look
            # begins from something at least as new as the newest listed, which stays.
            return
        unread = [id_ for id_ in listed if id_ not in self._seen]
        for id_ in unread[:READ_AT_ONCE]:
            if over() or not self._read(id_):
                return
        if len(unread) > READ_AT_ONCE:
            return  # nothing can be told before all are known: the next sweep goes on
        durable = [id_ for id_ in listed if id_ in self._seen]
        facts = [self._seen[id_].facts for id_ in durable]
        self._look_for_metric(facts)
        going = collect.superseded(
            facts, self._rule, attempt=attempt, parent=parent.id if parent else None
        )
        for id_ in going:
            if over():
                return
            self._store.delete(self._prefix + id_.key)
            self._seen.pop(id_)
        kept = {id_: self._seen[id_].objects for id_ in durable if id_ in self._seen}
        own_whole = sum(
            id_.attempt == attempt and not self._seen[id_].facts.damaged for id_ in kept
        )
        if parent is not None:
            kept[parent.id] = parent.objects  # whatever became of its manifest
        refs = collect.unused(self._present(), kept, attempt=attempt, own_whole=own_whole)
        for ref in refs:
            if over():
                return
            if ref in spared:
                continue
            self.deletes = True
            try:
                if over():
                    return
                forget(ref)
                self._store.delete(self._prefix + ref.key)
            finally:
                self.deletes = False

    def _look_for_metric(self, facts: Sequence[Facts]) -> None:
        told = collect.without_metric(facts, self._rule) if len(facts) >= ENOUGH else None
        if told is not None and not self._told:
            self._told = True
            self._tell(told)

    def _read(self, id_: CheckpointId) -> bool:
        """Read a manifest that this attempt did not write; it may be gone meanwhile.

        False: it is of a newer Outlast, and what it names cannot be told.
        """
        for _ in range(2):  # what was damaged on the way is whole the next time
            try:
                data = self._store.read(self._prefix + id_.key, limit=MAX_MANIFEST_BYTES)
                self.saw(parse_manifest(data, name=str(id_)))
            except (NewerVersionError, NotFoundError) as error:
                return isinstance(error, NotFoundError)
            except ManifestError:
                # Damaged: it names nothing that could be kept for it, and may go in its turn.
                self._seen[id_] = _Seen(Facts(id_, kind="damaged", finite=False, damaged=True), ())
            else:
                return True
        return True

    def _present(self) -> list[ObjectRef]:
        found = []
        for entry in self._store.list(layout.objects(self._lineage.job)):
            try:
                found.append(ObjectRef.parse(entry.key))
            except ManifestError:
                continue
        return found
