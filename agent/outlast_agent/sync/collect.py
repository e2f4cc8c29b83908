"""Which durable checkpoints and objects an attempt may delete. Pure. See DESIGN, *Collecting*.

An attempt deletes only its own and lower attempts' things; the latter after two whole
checkpoints of its own; never what its newest two manifests or its parent name. Nothing is
deleted once the attempt has notice: another may by then resume from what would go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from outlast.manifest import CheckpointId, ObjectRef

LEAST_KEPT = 2
"""Whatever ``keep`` says, this many of the attempt's own stay."""


def superseded(
    durable: Iterable[CheckpointId],
    *,
    attempt: int,
    parent: CheckpointId | None,
    pinned: Collection[CheckpointId],
    keep: int,
) -> list[CheckpointId]:
    """Checkpoints that ``attempt`` may delete, oldest first.

    ``pinned`` stay: the newest taken at the end of a ``fit``, the newest with finite metrics.
    """
    present = set(durable)
    own = sorted((id_ for id_ in present if id_.attempt == attempt), reverse=True)
    kept = {*own[: max(keep, LEAST_KEPT)], *pinned, parent}
    lower = [id_ for id_ in present if id_.attempt < attempt] if len(own) >= LEAST_KEPT else []
    return sorted(id_ for id_ in [*own, *lower] if id_ not in kept)


def unused(
    present: Iterable[ObjectRef],
    kept: Mapping[CheckpointId, Collection[ObjectRef]],
    *,
    attempt: int,
    own_whole: int,
) -> list[ObjectRef]:
    """Objects that ``attempt`` may delete: none of the ``kept`` manifests names them.

    ``kept`` holds every manifest that stays, ``own_whole`` counts the attempt's own among them.
    """
    named = {ref for refs in kept.values() for ref in refs}
    highest = attempt if own_whole >= LEAST_KEPT else 0
    return sorted(
        (ref for ref in present if ref not in named and ref.attempt <= highest),
        key=lambda ref: ref.key,
    )
