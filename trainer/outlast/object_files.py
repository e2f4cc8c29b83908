"""Where objects go: files below a scratch folder, or memory that the daemon reads."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from outlast.blocks import BlockFile, Blocks, create, set_direct
from outlast.durable import fsync_folder, make_folder
from outlast.manifest import ObjectRef
from outlast.shared import Room
from outlast.spares import Spares

_UNSETTLED = 4
"""Objects written and not yet waited for: the disk works while the next is packed."""


class ObjectFiles:
    """Puts the objects of one save below ``root``, or all of them into ``room``.

    ``blocks`` and ``spares`` are used again from save to save. What is written with ``fsync``
    goes past the page cache, to be durable at once; what is not will be read back at once.
    ``rest`` is called after every few MB.
    """

    def __init__(
        self,
        root: Path,
        attempt: int,
        *,
        blocks: Blocks | None,
        spares: Spares | None,
        room: Room | None,
        fsync: bool,
        rest: Callable[[], None],
    ) -> None:
        self.created: list[ObjectRef] = []
        """The objects that were not there yet."""
        self._root, self._attempt, self._room = root, attempt, room
        self._fsync, self._rest = fsync, rest
        self._folder = object_folder(root, attempt)
        self._blocks = Blocks() if blocks is None else blocks
        self._spares = Spares(self._folder) if spares is None else spares
        self._there: dict[ObjectRef, bool] = {}
        self._unsettled: deque[tuple[BlockFile, Path, Path]] = deque()

    def begin(self) -> None:
        """Have the folder. Raises OSError."""
        make_folder(self._folder, fsync=self._fsync)

    def put(self, parts: Sequence[Any], memory: Any = None) -> ObjectRef:
        """One object of the buffers ``parts``. Raises OSError, NoRoomError.

        With ``memory`` all of it lies there already, one after the other.
        """
        size = sum(memoryview(part).nbytes for part in parts)
        if self._room is not None:
            ref = self._published(self._room, parts, size, memory)
        else:
            ref = self._written(parts, size, memory)
        if not self._there.get(ref):
            self._there[ref] = True
            self.created.append(ref)
        return ref

    def is_there(self, ref: ObjectRef) -> bool:
        """Whether it was before, or was put here."""
        if ref not in self._there:
            try:
                self._there[ref] = (self._root / ref.key).stat().st_size == ref.size
            except OSError:
                self._there[ref] = False
        return self._there[ref]

    def end(self) -> None:
        """Wait until all is there, durable if it is to be. Raises OSError."""
        while self._unsettled:
            self._settle()
        if self.created and self._fsync:
            fsync_folder(self._folder)

    def give_up(self) -> None:
        """Remove what was put."""
        for file, temporary, _ in self._unsettled:
            _drop(file, temporary)
        self._unsettled.clear()
        remove(self._root, self.created)
        self._spares.clear()  # the disk may be full

    def _published(self, room: Room, parts: Sequence[Any], size: int, memory: Any) -> ObjectRef:
        if memory is None:
            return room.put(self._attempt, parts, size)
        return room.adopt(self._attempt, memory, size)

    def _written(self, parts: Sequence[Any], size: int, memory: Any) -> ObjectRef:
        temporary, descriptor = self._spares.take(size) or self._new_file()
        if self._fsync:
            set_direct(descriptor)
        as_is = memory is None and not self._fsync
        file = BlockFile(descriptor, self._blocks, memory=memory, as_is=as_is, rest=self._rest)
        try:
            for part in parts:
                file.write(part)
            ref = ObjectRef(self._attempt, file.end(fsync=self._fsync), file.size)
        except BaseException:
            _drop(file, temporary)
            raise
        if self.is_there(ref):  # of a save that failed, say
            _drop(file, temporary)
            return ref
        self._unsettled.append((file, temporary, self._root / ref.key))
        # Whoever uploads begins with an object as soon as it has its name.
        while self._unsettled and (self._unsettled[0][0].done or len(self._unsettled) > _UNSETTLED):
            self._settle()
        return ref

    def _new_file(self) -> tuple[Path, int]:
        temporary = self._spares.temporary()
        return temporary, create(temporary)

    def _settle(self) -> None:
        file, temporary, path = self._unsettled[0]
        file.settle()
        temporary.replace(path)
        self._unsettled.popleft()


def _drop(file: BlockFile, temporary: Path) -> None:
    file.give_up()
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def object_folder(root: Path, attempt: int) -> Path:
    """Where the objects of ``attempt`` lie below ``root``."""
    return root / "objects" / f"{attempt:06d}"


def remove(root: Path, refs: Iterable[ObjectRef]) -> None:
    """Remove objects, as far as that is possible."""
    for ref in refs:
        with contextlib.suppress(OSError):
            (root / ref.key).unlink(missing_ok=True)
