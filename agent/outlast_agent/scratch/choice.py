"""Which place is the best for scratch. Pure.

Scratch holds the newest checkpoints only until they are durable, so it may be the fastest place
there is, also one that is gone with the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["ram", "local", "disk"]
Wanted = Literal["auto", "ram", "local", "disk"]

COPIES = 4
"""Checkpoints that have to fit: two that stay, one being written, one the daemon still reads."""

MEMORY_SHARE = 0.25
"""Part of the available memory that ``auto`` takes for scratch; the rest is for training."""

WANTED_MEMORY_SHARE = 0.5
"""The same where memory was asked for by name."""

SAVE_SHARE = 0.1
"""``auto`` leaves the disks when a save takes longer on them than this part of the notice."""

SMALL = 32 << 20
"""Bytes of a save that is quick everywhere."""


@dataclass(frozen=True)
class Place:
    """A folder of one kind where scratch could be."""

    kind: Kind
    folder: Path
    free: int
    """Bytes: of the file system; for ``ram`` also of the memory that is available."""


@dataclass(frozen=True)
class Chosen:
    """The place, and why in words for people."""

    place: Place
    why: str
    as_wanted: bool = True
    """False: what was asked for by name could not be had."""


def choose(
    wanted: Wanted,
    places: Sequence[Place],
    size: int | None,
    notice: float,
    rate: Callable[[Place], float],
) -> Chosen:
    """The place for scratch.

    ``places`` has one of kind ``disk``; ``size`` is that of the newest checkpoint in bytes, None
    where there is none yet; ``notice`` what an eviction gives, in seconds. ``rate`` measures how
    many bytes a second reach a disk: it is asked only where that decides.
    """
    disk = next(each for each in places if each.kind == "disk")
    local = [each for each in places if each.kind == "local" and _fits(each, size)]
    memory = next((each for each in places if each.kind == "ram"), None)
    if wanted == "disk":
        return Chosen(disk, "the job asks for it")
    if wanted == "local":
        if local:
            return Chosen(_fastest(local, rate), "the job asks for it")
        return Chosen(disk, "no local disk with room is mounted here", as_wanted=False)
    if wanted == "ram":
        if memory is not None and _fits_memory(memory, size or 0, WANTED_MEMORY_SHARE):
            return Chosen(memory, "the job asks for it")
        text = f"memory has no room for {COPIES} checkpoints beside the training"
        return Chosen(_fastest([disk, *local], rate), text, as_wanted=False)
    if size is None:
        return Chosen(_fastest([disk, *local], rate), "how large a save is, is not known yet")
    if size <= SMALL:
        return Chosen(disk, "saves are small")
    fastest = _fastest([disk, *local], rate)
    if memory is None or not _fits_memory(memory, size, MEMORY_SHARE):
        return Chosen(fastest, "of the disks with room it is the fastest")
    seconds = size / max(rate(fastest), 1.0)
    chosen = memory if seconds > SAVE_SHARE * notice else fastest
    return Chosen(chosen, f"a save takes {seconds:.1f} s on the fastest disk")


def _fastest(disks: Sequence[Place], rate: Callable[[Place], float]) -> Place:
    return disks[0] if len(disks) == 1 else max(disks, key=rate)


def _fits(place: Place, size: int | None) -> bool:
    return place.kind == "disk" or place.free >= COPIES * (size or 0)


def _fits_memory(place: Place, size: int, share: float) -> bool:
    return share * place.free >= COPIES * size
