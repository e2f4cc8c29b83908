"""Which durable checkpoints and objects stay, and which an attempt may delete. Pure.

See DESIGN, *Collecting*: an attempt deletes only its own and lower attempts' things; the latter
after two whole checkpoints of its own; never what its newest two manifests or its parent name.
Nothing is deleted once the attempt has notice, or another has claimed: that one may by then stand
on what would go.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from outlast.manifest import CheckpointId, Manifest, ObjectRef

LEAST_KEPT = 2
"""Whatever the rule says, this many of the attempt's own stay."""


@dataclass(frozen=True)
class Best:
    """Keep the best by a metric, of all attempts."""

    metric: str
    mode: Literal["min", "max"]
    """Whether less is better, or more."""
    count: int = 1


@dataclass(frozen=True)
class Rule:
    """What the job wants kept, beside what a resume needs."""

    newest: int = 3
    every: int | None = None
    """Steps: the first checkpoint at or after each multiple of it. None: no such."""
    best: Best | None = None


@dataclass(frozen=True)
class Facts:
    """What is to be known of one durable checkpoint."""

    id: CheckpointId
    parent: CheckpointId | None = None
    """The one that its attempt resumed from; None: its attempt began anew."""
    kind: str = "cadence"
    finite: bool = True
    metrics: Mapping[str, float] = field(default_factory=dict)
    damaged: bool = False
    """Its manifest cannot be read, nothing of the above is known: nobody can resume from it."""


def facts_of(manifest: Manifest) -> Facts:
    """What ``manifest`` says."""
    return Facts(
        manifest.id,
        parent=None if manifest.parent is None else CheckpointId.parse(manifest.parent),
        kind=manifest.kind,
        finite=manifest.finite,
        metrics=manifest.metrics,
    )


def kept(durable: Collection[Facts], rule: Rule) -> dict[CheckpointId, list[str]]:
    """Those of ``durable`` that stay, with why, in a few words each.

    ``newest``: of the way to the newest one, the newest ``rule.newest``, at least two.
    ``resumed from``: the newest attempt began with it.
    ``step 3000``: the first on that way at or after a multiple of ``rule.every``.
    ``best val_loss``: of those with one value the earliest, as a value is that of the last
    validation, and the checkpoints after it are of other weights.
    ``end of fit``: on that way, each of them.
    ``last finite``: once a loss is NaN it stays so, and what was saved before must not go for it.
    """
    why: dict[CheckpointId, list[str]] = {}

    def keep(those: Iterable[Facts], reason: str) -> None:
        for one in those:
            why.setdefault(one.id, []).append(reason)

    newest_first = sorted(durable, key=lambda one: one.id, reverse=True)
    if not newest_first:
        return why
    way = _way(newest_first)
    keep(_newest(way, max(rule.newest, LEAST_KEPT)), "newest")
    attempt = newest_first[0].id.attempt
    parents = {one.parent for one in way if one.id.attempt == attempt}
    keep([one for one in newest_first if one.id in parents], "resumed from")
    if every := rule.every:
        whole = [one for one in reversed(way) if not one.damaged]
        for multiple, those in groupby(whole, lambda one: one.id.step // every):
            if multiple:
                keep([next(those)], f"step {multiple * every}")
    if rule.best is not None:
        keep(_best(newest_first, rule.best), f"best {rule.best.metric}")
    keep([one for one in way if one.kind == "fit"], "end of fit")
    finite = [one for one in newest_first if one.finite and not one.damaged]
    if finite[:1] != newest_first[:1]:
        keep(finite[:1], "last finite")
    return why


def superseded(
    durable: Iterable[Facts], rule: Rule, *, attempt: int, parent: CheckpointId | None
) -> list[CheckpointId]:
    """Checkpoints that ``attempt``, which resumed from ``parent``, may delete, oldest first."""
    known = [one for one in durable if one.id.attempt <= attempt]
    stay = {*kept(known, rule), parent}
    own = [one for one in known if one.id.attempt == attempt]
    whole = sum(not one.damaged for one in own)
    may_go = known if whole >= LEAST_KEPT else own
    return sorted(one.id for one in may_go if one.id not in stay)


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


def without_metric(durable: Collection[Facts], rule: Rule) -> str | None:
    """One line if the best is to be kept by a metric that no checkpoint has; else None."""
    names = {name for one in durable for name in one.metrics}
    if rule.best is None or rule.best.metric in names:
        return None
    there = f"they have {', '.join(sorted(names)[:20])}" if names else "they have none at all"
    return (
        f"no checkpoint so far has the metric {rule.best.metric!r:.100} that checkpoint.keep.best "
        f"names; {there:.1000}. Until one has it, none is kept for being the best"
    )


def _way(newest_first: Sequence[Facts]) -> list[Facts]:
    """The checkpoints that the newest stands on, it included, the newest first.

    What an attempt saved beyond the step that its successor began with was done again there.
    """
    way: list[Facts] = []
    highest, last = math.inf, math.inf  # attempt, step
    for attempt, those in groupby(newest_first, lambda one: one.id.attempt):
        if attempt > highest:
            continue
        own = list(those)
        way += [one for one in own if one.id.step <= last]
        whole = next((one for one in own if not one.damaged), None)
        if whole is None:
            continue
        if whole.parent is None:
            break
        highest, last = whole.parent.attempt, min(last, whole.parent.step)
    return way


def _newest(way: Sequence[Facts], count: int) -> Sequence[Facts]:
    """The newest ``count``, and what is damaged among them: that is not counted."""
    whole = [index for index, one in enumerate(way) if not one.damaged]
    return way[: whole[count - 1] + 1] if len(whole) >= count else way


def _best(newest_first: Sequence[Facts], best: Best) -> list[Facts]:
    earliest = {
        one.metrics[best.metric]: one
        for one in newest_first
        if one.finite and math.isfinite(one.metrics.get(best.metric, math.nan))
    }
    return [earliest[value] for value in sorted(earliest, reverse=best.mode == "max")][: best.count]
