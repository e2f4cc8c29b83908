"""A job's checkpoints as its store has them: listed, read, verified. All in there is hostile."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

import xxhash

from outlast.checkpoint import DamagedError as ArrayError
from outlast.checkpoint import check_array
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
from outlast_agent.stores.base import (
    NotFoundError,
    RefusedError,
    Store,
    StoreError,
    UnavailableError,
)
from outlast_agent.sync.collect import Facts, facts_of, kept
from outlast_agent.sync.restore import TRIES, DamagedError
from outlast_agent.sync.whole import MAX_OBJECT_BYTES
from outlast_provisioning.failures import GoOn, judge
from outlast_provisioning.job import Job, rule_of
from outlast_provisioning.persons import PersonError
from outlast_provisioning.world import World

READERS = 4
"""Objects read at a time; each is in memory while it is looked at."""

Progress = Callable[[int], None]
"""Told of bytes that were read, as they are."""


class CheckpointError(PersonError):
    """It cannot be done with the checkpoints that are there."""


@dataclass(frozen=True)
class Line:
    """One checkpoint, for people."""

    id: CheckpointId
    kind: str = ""
    written: str = ""
    """RFC 3339, by its writer's clock."""
    size: int = 0
    """Bytes of all its objects."""
    adds: int = 0
    """Bytes of objects that neither its parent nor the attempt's checkpoint before it has."""
    metrics: dict[str, float] = field(default_factory=dict)
    finite: bool = True
    newest: bool = False
    """The newest that can be read."""
    resume: bool = False
    """The next attempt begins with it."""
    set_aside: bool = False
    """No attempt begins with it."""
    trouble: str = ""
    """Why its manifest cannot be read."""
    kept: tuple[str, ...] = ()
    """Why it stays, as ``collect.kept`` says it; empty: it goes with the next sweep."""


@dataclass(frozen=True)
class _Seen:
    line: Line
    own: frozenset[ObjectRef]
    """Objects of its own attempt: no other can be new."""
    facts: Facts


def listed(store: Store, job: str) -> list[CheckpointId]:
    """All of ``job``, the newest first. Raises StoreError."""
    return newest_first(entry.key for entry in store.list(layout.checkpoints(job)))


def lines(
    store: Store,
    job: Job,
    ids: Sequence[CheckpointId],
    aside: Collection[str],
    *,
    most: int | None,
) -> list[Line]:
    """What is known of the newest ``most`` (None: all) of ``ids``. Raises StoreError.

    What was removed since ``ids`` were listed is left out.
    """
    rule = rule_of(job.file)
    # One more: what a checkpoint adds is told by the one before it. Which is the best, or the
    # first after a multiple, is told by all of them.
    few = most is not None and rule.every is None and rule.best is None
    wanted = ids[: most + 1] if few and most is not None else ids
    with ThreadPoolExecutor(2 * READERS, thread_name_prefix="manifest") as pool:
        answers = pool.map(lambda id_: _look(store, job.name, id_), wanted)
        seen = [one for one in answers if one is not None]
    found = [_added(one, before) for one, before in pairwise([*seen, None])]
    why = kept([one.facts for one in seen], rule)
    found = [replace(line, kept=tuple(why.get(line.id, ()))) for line in found[:most]]
    return _marked(found, aside)


def _look(store: Store, job: str, id_: CheckpointId) -> _Seen | None:
    try:
        manifest = read_manifest(store, job, id_)
    except CheckpointError:
        return None
    except (DamagedError, NewerVersionError) as error:
        return _Seen(Line(id_, trouble=str(error)), frozenset(), Facts(id_, damaged=True))
    line = Line(
        id_,
        kind=manifest.kind,
        written=manifest.written,
        size=sum(ref.size for ref in set(manifest.objects)),
        metrics=finite(manifest),
        finite=manifest.finite,
    )
    # A save reuses only objects of its own attempt or of its parent, which is of a lower one.
    own = frozenset(ref for ref in manifest.objects if ref.attempt == id_.attempt)
    return _Seen(line, own, facts_of(manifest))


def finite(manifest: Manifest) -> dict[str, float]:
    """Its metrics, without what JSON cannot say (of a number like 1e999)."""
    return {name: value for name, value in manifest.metrics.items() if math.isfinite(value)}


def _added(one: _Seen | None, before: _Seen | None) -> Line:
    assert one is not None, "only the last has none before it"
    known: Collection[ObjectRef] = ()
    if before is not None and before.line.id.attempt == one.line.id.attempt:
        known = before.own
    return replace(one.line, adds=sum(ref.size for ref in one.own if ref not in known))


def _marked(found: list[Line], aside: Collection[str]) -> list[Line]:
    found = [replace(line, set_aside=str(line.id) in aside) for line in found]
    whole = [index for index, line in enumerate(found) if not line.trouble]
    usable = [index for index in whole if not found[index].set_aside]
    for index in whole[:1]:
        found[index] = replace(found[index], newest=True)
    for index in usable[:1]:
        found[index] = replace(found[index], resume=True)
    return found


def set_aside(world: World) -> frozenset[str]:
    """The checkpoints that the job's next attempt would not begin with. Pure."""
    verdict = judge(
        world.attempts, world.checkpoints, world.resumed, world.job.file.retries.failures
    )
    if isinstance(verdict, GoOn):
        return frozenset(verdict.set_aside)
    told = [launch.record.set_aside for launch in world.launches[-1:]]
    return frozenset(name for names in told for name in names)


def pick(store: Store, job: str, checkpoint: str | None) -> CheckpointId:
    """The one called ``checkpoint``; None: the newest. Raises CheckpointError, StoreError."""
    ids = listed(store, job)
    if not ids:
        raise CheckpointError(f"job {job} has no checkpoint yet: see `outlast status {job}`")
    if checkpoint is None:
        return ids[0]
    try:
        id_ = CheckpointId.parse(checkpoint)
    except ManifestError:
        id_ = None
    if id_ not in ids:
        newest = ", ".join(str(one) for one in ids[:5])
        raise CheckpointError(f"job {job} has no checkpoint {checkpoint!r:.100}; newest: {newest}")
    return id_


def read_manifest(store: Store, job: str, id_: CheckpointId) -> Manifest:
    """The manifest of ``id_``.

    Raises CheckpointError if it is not there, DamagedError, NewerVersionError, StoreError.
    """
    key = layout.job_root(job) + id_.key
    why = ""
    for _ in range(TRIES):
        try:
            manifest = parse_manifest(store.read(key, limit=MAX_MANIFEST_BYTES), name=str(id_))
        except NotFoundError as error:
            told = f"checkpoint {id_} of job {job} is not in the store any more"
            raise CheckpointError(f"{told}: see `outlast checkpoints ls {job}`") from error
        except (NewerVersionError, UnavailableError, RefusedError):
            raise
        except (ManifestError, StoreError) as error:  # the latter: longer than any manifest
            why = str(error)
        else:
            if manifest.job != job:
                raise DamagedError(f"manifest {id_} is of job {manifest.job!r:.80}")
            return manifest
    raise DamagedError(why)


def read_object(store: Store, job: str, ref: ObjectRef) -> bytes:
    """Its bytes, all as they were written. Raises DamagedError, StoreError."""
    key = layout.job_root(job) + ref.key
    if ref.size > MAX_OBJECT_BYTES:
        raise DamagedError(f"{key}: no object of Outlast has so many bytes")
    why = ""
    for _ in range(TRIES):
        try:
            data = store.read(key, limit=ref.size)
        except NotFoundError as error:
            raise DamagedError(f"{key} is not there") from error
        except (UnavailableError, RefusedError):
            raise
        except StoreError:
            why = f"{key} has more than the {ref.size} bytes that it should have"
            continue
        if len(data) != ref.size:
            why = f"{key} has {len(data)} bytes, and should have {ref.size}"
        elif xxhash.xxh3_128_hexdigest(data) != ref.hash:
            why = f"{key} has other bytes than were written: its hash is another"
        else:
            return data
    raise DamagedError(why)


def each_object(
    store: Store,
    job: str,
    refs: Sequence[ObjectRef],
    take: Callable[[ObjectRef, bytes], None],
    progress: Progress,
) -> Generator[DamagedError, None, None]:
    """Read ``refs``, several at a time, and hand each to ``take``, from any thread.

    Yields what is wrong with those that are not handed over. Raises StoreError, and what
    ``take`` raises.
    """

    def carry(ref: ObjectRef) -> DamagedError | None:
        try:
            take(ref, read_object(store, job, ref))
        except DamagedError as error:
            return error
        finally:
            progress(ref.size)
        return None

    pool = ThreadPoolExecutor(READERS, thread_name_prefix="object")
    try:
        yield from (error for error in pool.map(carry, refs) if error is not None)
    finally:
        pool.shutdown(cancel_futures=True)


class Verifier:
    """Reads every byte of checkpoints of one job; objects that several share, once."""

    def __init__(self, store: Store, job: str) -> None:
        self._store, self._job = store, job
        self._known: dict[ObjectRef, str | None] = {}

    def missing(self, manifest: Manifest) -> list[ObjectRef]:
        """The objects of ``manifest`` that were not read yet."""
        return [ref for ref in dict.fromkeys(manifest.objects) if ref not in self._known]

    def faults(self, manifest: Manifest, progress: Progress) -> list[str]:
        """All that is wrong with it; none: it is whole.

        Raises StoreError, and CheckpointError if it was removed while it was read.
        """

        def whole(ref: ObjectRef, _data: bytes) -> None:
            self._known[ref] = None

        refs = self.missing(manifest)
        errors = list(each_object(self._store, self._job, refs, whole, progress))
        if errors and manifest.id not in listed(self._store, self._job):
            raise CheckpointError(f"checkpoint {manifest.id} was removed while it was read")
        troubles = iter(errors)  # in the order of refs, as map gives them
        for ref in refs:
            if ref not in self._known:
                self._known[ref] = str(next(troubles))
        found = [self._known[ref] for ref in dict.fromkeys(manifest.objects)]
        return [*shapes(manifest), *(why for why in found if why is not None)]


def shapes(manifest: Manifest, *, most: int = 20) -> list[str]:
    """The arrays whose bytes are not as many as their shape says, the first ``most``. Pure."""

    def wrong() -> Iterator[str]:
        for part in manifest.parts:
            for array in part.arrays:
                try:
                    check_array(array)
                except ArrayError as error:
                    yield str(error)
                except ValueError:  # of a type that is not known here
                    continue

    return list(islice(wrong(), most))
