"""A snapshot as the files will have it: arrays copied into memory that is written as it is.

An *image* is an object before it is one: the safetensors header and the arrays behind it, in
page-aligned memory that was touched before. What is copied there is copied once, and neither the
program nor the disk waits for the other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from outlast import tensors
from outlast.arena import PAGE, Arena

OBJECT_BYTES = 64 << 20
"""Arrays are split at this, and an object is closed before it grows past it by a quarter."""
_AT_ONCE = 4 << 20
"""Bytes that one thread copies at a time."""
_WORTH_A_THREAD = 16 << 20
_SPARE = 4 << 20
"""Bytes for what a save has beside the arrays that were known before."""


def full(length: int, more: int, limit: int) -> bool:
    """Whether an object of ``length`` bytes is closed before ``more`` would go into it.

    What is large shares none: where some layers are frozen, others' bytes are not with theirs.
    """
    large = limit // 4
    return length > 0 and (length + more > limit * 5 // 4 or (length >= large and more >= large))


@dataclass(frozen=True)
class Copied:
    """An array whose bytes lie in images."""

    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[tuple[tensors.Entry, np.ndarray], ...]


@dataclass(frozen=True)
class Image:
    """One object in memory: ``memory`` is page-aligned, ``size`` bytes of it count."""

    memory: np.ndarray
    size: int
    header: int
    """Bytes of the header."""
    labels: tuple[str, ...]
    """Of the entries, in their order."""


@dataclass(frozen=True)
class _Laid:
    start: int
    header: bytes
    entries: tuple[tensors.Entry, ...]

    @property
    def size(self) -> int:
        return len(self.header) + sum(entry.length for entry in self.entries)


class Layout:
    """Where entries lie, side by side in objects, every object at a page of its own. Pure."""

    def __init__(self, groups: Sequence[Sequence[tensors.Entry]], limit: int) -> None:
        """Entries of different ``groups`` never share an object."""
        self.laid: list[_Laid] = []
        self.places: dict[str, int] = {}
        """Label to offset."""
        self.bytes = 0
        """All of it."""
        for group in groups:
            under_way: list[tensors.Entry] = []
            length = 0
            for entry in group:
                if full(length, entry.length, limit):
                    self._close(under_way)
                    under_way, length = [], 0
                under_way.append(entry)
                length += entry.length
            self._close(under_way)

    def _close(self, entries: list[tensors.Entry]) -> None:
        if not entries:
            return
        laid = _Laid(self.bytes, tensors.header(entries), tuple(entries))
        self.laid.append(laid)
        at = laid.start + len(laid.header)
        for entry in entries:
            self.places[entry.name] = at
            at += entry.length
        self.bytes = -(-at // PAGE) * PAGE


@dataclass(frozen=True)
class _Taken:
    name: str
    array: np.ndarray
    entries: list[tuple[int, tensors.Entry]]


class Copier:
    """Copies snapshots into one arena, which holds one at a time. Used by one thread."""

    def __init__(self, arena: Arena, *, limit: int = OBJECT_BYTES) -> None:
        self._arena, self._limit = arena, limit
        self._layout: tuple[Any, Layout] | None = None

    def prepare(self, arrays: Mapping[str, Any]) -> None:
        """Have memory for ``arrays``, touched: the first save is no slower than others then."""
        taken = _taken(arrays, self._limit)
        size = self._laid_out([taken]).bytes
        self._arena.make(size + max(_SPARE, size // 64))

    def copy(
        self, arrays: Mapping[str, Any], *, live: bool, changing: Collection[str]
    ) -> tuple[dict[str, Any], tuple[Image, ...]] | None:
        """``arrays`` with what lies in images now, and the images; None: nothing is copied.

        If something is, the arena is taken, and to be given back when the images are written.

        ``live`` arrays belong to the program: all of them are copied. Of others, which stay as
        they are, those are left that do not change from save to save (``changing`` names the
        entries that do; empty: not known).
        """
        taken = _taken(arrays, self._limit)
        groups = _groups(taken, live=live, changing=changing)
        layout = self._laid_out(groups)
        memory = self._arena.take(layout.bytes) if layout.bytes else None
        if memory is None:
            return None
        try:
            copied = self._copied(groups, layout, memory)
        except BaseException:
            self._arena.give()
            raise
        return {**arrays, **copied}, tuple(_image(laid, memory) for laid in layout.laid)

    def _copied(
        self, groups: Sequence[Sequence[_Taken]], layout: Layout, memory: np.ndarray
    ) -> dict[str, Copied]:
        work: deque[tuple[np.ndarray, np.ndarray]] = deque()
        found = {}
        for each in (each for group in groups for each in group):
            source = np.frombuffer(tensors.bytes_of(each.array), np.uint8)
            pieces = []
            for start, entry in each.entries:
                at = layout.places[entry.name]
                there = memory[at : at + entry.length]
                pieces.append((entry, there))
                for first in range(0, entry.length, _AT_ONCE):
                    last = min(first + _AT_ONCE, entry.length)
                    work.append((there[first:last], source[start + first : start + last]))
            found[each.name] = Copied(each.array.dtype.name, each.array.shape, tuple(pieces))
        _copy_all(work, self._arena.threads if layout.bytes >= _WORTH_A_THREAD else 1)
        return found

    def _laid_out(self, groups: Sequence[Sequence[_Taken]]) -> Layout:
        """The layout for ``groups``; that of the save before, if nothing is different."""
        entries = [[entry for each in group for _, entry in each.entries] for group in groups]
        if self._layout is None or self._layout[0] != entries:
            self._layout = (entries, Layout(entries, self._limit))
        return self._layout[1]


def _image(laid: _Laid, memory: np.ndarray) -> Image:
    header = np.frombuffer(laid.header, np.uint8)
    memory[laid.start : laid.start + len(header)] = header
    end = laid.start + -(-laid.size // PAGE) * PAGE
    labels = tuple(entry.name for entry in laid.entries)
    return Image(memory[laid.start : end], laid.size, len(header), labels)


def _taken(arrays: Mapping[str, Any], limit: int) -> list[_Taken]:
    """Those of ``arrays`` that can be copied: of numbers, in the processor's own memory."""
    found: list[_Taken] = []
    labels: set[str] = set()
    for name, value in arrays.items():
        if not _is_near(value):
            continue
        array = np.asarray(value)
        if array.nbytes and tensors.is_numbers(array.dtype):
            entries = list(tensors.entries_of(name, array.dtype, array.nbytes, limit))
            here = {entry.name for _, entry in entries}
            if labels.isdisjoint(here):  # one may be called like a part of another
                labels |= here
                found.append(_Taken(name, array, entries))
    return found


def _is_near(value: Any) -> bool:
    """Whether taking it as an array costs nothing: a GPU's memory would have to come over."""
    if isinstance(value, np.ndarray):
        return True
    return "CPU" in str(getattr(value, "device", "")).upper() and not hasattr(value, "detach")


def _groups(taken: list[_Taken], *, live: bool, changing: Collection[str]) -> list[list[_Taken]]:
    if not changing:
        return [taken]
    changes: list[_Taken] = []
    stays: list[_Taken] = []
    for each in taken:
        some = any(entry.name in changing for _, entry in each.entries)
        (changes if some else stays).append(each)
    return [changes, stays] if live else [changes]


def _copy_all(work: deque[tuple[np.ndarray, np.ndarray]], threads: int) -> None:
    def serve() -> None:
        while True:
            try:
                there, source = work.popleft()
            except IndexError:
                return
            np.copyto(there, source)  # lets other threads go on

    with ExitStack() as others:
        with suppress(RuntimeError):  # no more threads are to be had
            for _ in range(threads - 1):
                each = threading.Thread(target=serve, name="outlast-copy")
                each.start()
                others.callback(each.join)
        serve()
