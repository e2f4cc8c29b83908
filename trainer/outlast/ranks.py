"""Several processes that train together: they stop at one step and save one checkpoint.

Rank 0 alone reads the notice. It publishes the step at which all stop (or save), two ahead: a
process may be one step ahead of rank 0 (it waits for rank 0 in the next step's collective
operation), so all learn of it before they get there. This holds if each step waits for all
ranks once, as a gradient's all-reduce does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from outlast.durable import make_folder, read_json, replace_file, replace_json
from outlast.manifest import (
    Array,
    CheckpointId,
    Manifest,
    ObjectRef,
    Part,
    Piece,
    dump_manifest,
    parse_manifest,
)

_PATIENCE = 120.0
_TICK = 0.02


@dataclass(frozen=True)
class Plan:
    """What rank 0 published."""

    stop_at: int | None = None
    """All stop once this step is done."""
    save_at: int | None = None
    """All save once this step is done."""


class Board:
    """The file through which rank 0 tells the others."""

    def __init__(self, scratch: Path, attempt: int) -> None:
        self._path = scratch / f"plan-{attempt:06d}.json"
        self._seen: tuple[int, int] | None = None
        self._plan = Plan()

    def publish(self, plan: Plan) -> None:
        """Tell all ranks. Raises OSError."""
        replace_json(self._path, {"stop_at": plan.stop_at, "save_at": plan.save_at}, fsync=False)
        self._plan = plan

    def read(self) -> Plan:
        """The newest plan. One stat if nothing changed, cheap enough for each step."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return self._plan
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp != self._seen:
            value = read_json(self._path, limit=4096)
            self._plan = Plan(value["stop_at"], value["save_at"])
            self._seen = stamp
        return self._plan

    def agree(self, step: int, *, ahead: int, stop: bool, save: Callable[[], bool]) -> Plan:
        """The plan, once ``step`` is done. On rank 0, publish what is asked for.

        ``ahead`` is the distance in steps that no rank can have gone beyond. Raises OSError.
        """
        plan = self.read()
        wanted = plan
        if stop and plan.stop_at is None:
            wanted = replace(plan, stop_at=step + ahead)
        elif (plan.save_at is None or plan.save_at < step) and save():
            wanted = replace(plan, save_at=step + ahead)
        if wanted != plan:
            self.publish(wanted)
        return wanted


class Parts:
    """What the ranks saved, on its way into one manifest."""

    def __init__(self, scratch: Path, attempt: int, world_size: int) -> None:
        self._scratch, self._attempt, self._world_size = scratch, attempt, world_size
        self._forgotten: set[ObjectRef] = set()

    def put(self, number: int, manifest: Manifest, *, fsync: bool) -> None:
        """Leave a rank's part of the save ``number`` for rank 0. Raises OSError.

        All ranks make the same saves in the same order, so they count alike. The step is not
        enough: one is saved twice if a save was due after it and it was the last.
        """
        path = self._path(number, manifest.id, manifest.parts[0].rank)
        make_folder(path.parent, fsync=fsync)
        replace_file(path, dump_manifest(manifest), fsync=fsync)

    def combine(self, number: int, manifest: Manifest) -> Manifest:
        """Rank 0's ``manifest`` of the save ``number`` with the parts of all others, once there.

        Raises TimeoutError (an OSError) if one does not come in two minutes; ManifestError.
        """
        deadline = time.monotonic() + _PATIENCE
        for rank in range(1, self._world_size):
            path = self._path(number, manifest.id, rank)
            while not path.exists():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"rank {rank} did not save step {manifest.step}")
                time.sleep(_TICK)
            part = parse_manifest(path.read_bytes(), name=str(manifest.id))
            for ref in part.objects:
                # Rank 0 may just have removed what the other found there already.
                if not (self._scratch / ref.key).exists():
                    raise FileNotFoundError(f"{ref.key} of rank {rank} is gone")
            manifest = _joined(manifest, part)
            path.unlink(missing_ok=True)
        self._forget_before(number)
        return manifest

    def _forget_before(self, number: int) -> None:
        # Rank 0 passes over a save when a newer one comes; the others make all.
        if self._world_size == 1:
            return
        for path in (self._scratch / "parts").glob(f"{self._attempt:06d}-*.json"):
            name, counted, _rank = path.stem.rsplit("-", 2)
            if int(counted) < number:
                self._forgotten.update(parse_manifest(path.read_bytes(), name=name).objects)
                path.unlink(missing_ok=True)

    def forgotten(self) -> set[ObjectRef]:
        """Objects of parts that no checkpoint took up, told once."""
        told, self._forgotten = self._forgotten, set()
        return told

    def _path(self, number: int, id_: CheckpointId, rank: int) -> Path:
        return self._scratch / "parts" / f"{id_}-{number}-{rank}.json"


def _joined(manifest: Manifest, other: Manifest) -> Manifest:
    objects = list(manifest.objects)
    place: dict[ObjectRef, int] = {ref: index for index, ref in enumerate(objects)}
    for ref in other.objects:
        if ref not in place:
            place[ref] = len(objects)
            objects.append(ref)

    def moved(piece: Piece) -> Piece:
        return replace(piece, object=place[other.objects[piece.object]])

    parts = tuple(
        Part(
            part.rank,
            part.state,
            tuple(
                Array(array.name, array.dtype, array.shape, tuple(map(moved, array.pieces)))
                for array in part.arrays
            ),
        )
        for part in other.parts
    )
    return replace(
        manifest,
        parts=(*manifest.parts, *parts),
        objects=tuple(objects),
        finite=manifest.finite and other.finite,
    )
