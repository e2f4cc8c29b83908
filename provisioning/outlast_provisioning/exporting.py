"""A checkpoint, or parts of it, as files that others read: safetensors, ``.weights.h5``, outputs.

Each object is read once, verified in memory, and its pieces are written to where they belong, in
files of temporary names; those get their own when all of it is on disk.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from outlast.durable import fsync_folder
from outlast.manifest import Manifest, ObjectRef, Piece
from outlast_agent.stores.base import Store
from outlast_agent.sync.restore import DamagedError
from outlast_provisioning import arrays_files
from outlast_provisioning.checkpoints import CheckpointError, Progress, each_object
from outlast_provisioning.units import size_for_people

Placed = tuple[int, Piece]
"""From which byte of a file on a piece lies."""


@dataclass(frozen=True)
class NewFile:
    """One file to be written."""

    size: int
    pieces: tuple[Piece, ...]
    lay: Callable[[Path], Iterable[Placed]]
    """Make the file, with all in it that comes from no object; where its pieces go."""
    below: str = ""
    """Its path below the plan's target; empty: it is the target."""


@dataclass(frozen=True)
class Plan:
    """One target, and what it will hold."""

    target: Path
    told: str
    """What it will be, for people."""
    files: tuple[NewFile, ...]
    folder: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


def plan(
    manifest: Manifest, *, to: Path | None, outputs: Path | None, weights: bool, force: bool
) -> list[Plan]:
    """What to write where, checked against what is there. Raises CheckpointError, DamagedError."""
    if to is None and outputs is None:
        raise CheckpointError(
            "say where to: --to FILE.safetensors, --to FILE.weights.h5 or --outputs FOLDER"
        )
    plans = []
    if to is not None:
        plans.append(_arrays_plan(manifest, to, weights=weights))
    if outputs is not None:
        if not manifest.outputs:
            raise CheckpointError(f"checkpoint {manifest.id} has no output files")
        told = f"{len(manifest.outputs)} output files"
        files = tuple(
            NewFile(file.size, file.pieces, _layer(b"", file.pieces, file.size), file.path)
            for file in manifest.outputs
        )
        plans.append(Plan(outputs.resolve(), told, files, folder=True))
    for each in plans:
        _check_target(each, force=force)
    return plans


def _arrays_plan(manifest: Manifest, to: Path, *, weights: bool) -> Plan:
    to = to.absolute()
    if to.name.endswith(".safetensors"):
        chosen = arrays_files.weights_of(manifest) if weights else None
        header, arrays = arrays_files.safetensors(manifest, only=chosen)
        pieces = tuple(piece for array in arrays for piece in array.pieces)
        size = len(header) + sum(piece.length for piece in pieces)
        file = NewFile(size, pieces, _layer(header, pieces, size))
        return Plan(to, f"{len(arrays)} arrays, {size_for_people(size)}", (file,))
    if to.name.endswith(".weights.h5"):
        found = arrays_files.weights_of(manifest)
        pieces = tuple(piece for array in found.values() for piece in array.pieces)
        size = sum(piece.length for piece in pieces)
        file = NewFile(size, pieces, lambda path: arrays_files.lay_h5(path, found))
        return Plan(to, f"{len(found)} weights, {size_for_people(size)}", (file,))
    raise CheckpointError(
        f"{to.name:.100}: what is it to be? Name it FILE.safetensors, or FILE.weights.h5, which is "
        "what Keras' load_weights takes"
    )


def _layer(header: bytes, pieces: Sequence[Piece], size: int) -> Callable[[Path], Iterable[Placed]]:
    def lay(path: Path) -> Iterable[Placed]:
        with path.open("xb") as file:
            file.write(header)
            file.truncate(size)
        at = len(header)
        placed = []
        for piece in pieces:
            placed.append((at, piece))
            at += piece.length
        return placed

    return lay


def _check_target(each: Plan, *, force: bool) -> None:
    target = each.target
    if not target.parent.is_dir():
        raise CheckpointError(f"there is no folder {target.parent}: make it first")
    if each.folder:
        if target.exists() and (not target.is_dir() or any(target.iterdir())) and not force:
            raise CheckpointError(f"{target} is there already: give a new folder, or --force")
        if target.exists() and not target.is_dir():
            raise CheckpointError(f"{target} is a file: give a folder")
    elif target.is_dir():
        raise CheckpointError(f"{target} is a folder: give the name of a file")
    elif os.path.lexists(target) and not force:
        raise CheckpointError(f"{target} is there already: give another name, or --force")
    free = shutil.disk_usage(target.parent).free
    if each.size > free:
        raise CheckpointError(
            f"{target} would take {size_for_people(each.size)}, and {size_for_people(free)} are "
            "free there: make room, or name another disk"
        )


def objects(manifest: Manifest, plans: Sequence[Plan]) -> list[ObjectRef]:
    """What has to be read."""
    pieces = (piece for each in plans for file in each.files for piece in file.pieces)
    used = {piece.object for piece in pieces if piece.length}
    return list(dict.fromkeys(manifest.objects[index] for index in sorted(used)))


def export(
    store: Store,
    job: str,
    manifest: Manifest,
    plans: Sequence[Plan],
    progress: Progress,
    *,
    force: bool,
) -> None:
    """Write ``plans``: all of them, or nothing. Raises DamagedError, CheckpointError, StoreError.

    The last steps, each of which puts one file to its name, are not one for several files.
    """
    temporaries = [_temporary(each.target) for each in plans]
    try:
        runs: dict[ObjectRef, list[tuple[Path, int, Piece]]] = {}
        for each, temporary in zip(plans, temporaries, strict=True):
            for path, at, piece in _laid(each, temporary):
                runs.setdefault(manifest.objects[piece.object], []).append((path, at, piece))
        _fill(store, job, objects(manifest, plans), runs, progress)
        for each, temporary in zip(plans, temporaries, strict=True):
            _put(each, temporary, force=force)
    except OSError as error:
        told = f"{error.filename or plans[0].target} cannot be written: {error.strerror or error}"
        raise CheckpointError(told) from error
    finally:
        for temporary in temporaries:
            _remove(temporary)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.tmp")


def _laid(each: Plan, temporary: Path) -> Iterable[tuple[Path, int, Piece]]:
    if each.folder:
        temporary.mkdir()
    for file in each.files:
        path = temporary / file.below if file.below else temporary
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            placed = file.lay(path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError, UnicodeError) as error:
            raise DamagedError(f"it has no file {file.below!r:.200}: {error}") from error
        yield from ((path, at, piece) for at, piece in placed if piece.length)


def _fill(
    store: Store,
    job: str,
    refs: Sequence[ObjectRef],
    runs: dict[ObjectRef, list[tuple[Path, int, Piece]]],
    progress: Progress,
) -> None:
    def take(ref: ObjectRef, data: bytes) -> None:
        view = memoryview(data)
        for path, at, piece in runs[ref]:
            with path.open("r+b", buffering=0) as file:
                file.seek(at)
                left = view[piece.offset : piece.offset + piece.length]
                while left:
                    left = left[file.write(left) :]

    errors = each_object(store, job, refs, take, progress)
    with contextlib.closing(errors):
        for error in errors:
            raise error


def _put(each: Plan, temporary: Path, *, force: bool) -> None:
    for path in [temporary, *temporary.rglob("*")]:
        written = os.open(path, os.O_RDONLY)
        try:
            os.fsync(written)
        finally:
            os.close(written)
    target = each.target
    if not each.folder:
        _name(temporary, target, force=force)
    elif not target.exists():
        temporary.replace(target)
    else:
        for file in each.files:
            (target / file.below).parent.mkdir(parents=True, exist_ok=True)
            (temporary / file.below).replace(target / file.below)
    fsync_folder(target.parent)


def _name(temporary: Path, target: Path, *, force: bool) -> None:
    if not force:
        try:
            os.link(temporary, target)  # which, unlike a rename, fails when the name is taken
        except FileExistsError as error:
            told = f"{target} came to be meanwhile: give another name, or --force"
            raise CheckpointError(told) from error
        except OSError:  # a file system without links
            if os.path.lexists(target):
                raise
        else:
            return
    temporary.replace(target)


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
