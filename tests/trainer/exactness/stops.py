"""Where a run can be stopped: the points of a training run, and which of them are tried. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Event = Literal["begin", "tracing", "inside", "batch", "validation", "tail", "epoch", "between"]
"""``begin``: a fit begins. ``tracing``: its step is traced. ``inside``: a step is under way (of a
script that tells, see :func:`trainer.exactness.scripts.pieces.mark`). ``batch``: after a batch.
``validation``: after a validation batch. ``tail``: before the callbacks' ``on_epoch_end``.
``epoch``: after it. ``between``: after a fit returned."""


@dataclass(frozen=True)
class Stop:
    """A point of a run, and how the run is stopped there. All counts start at 0."""

    event: Event
    fit: int = 0
    epoch: int = 0
    batch: int = 0
    kill: bool = False
    """SIGKILL without notice; otherwise a notice, obeyed at the next opportunity."""
    sigterm: bool = False
    """The notice is a SIGTERM; otherwise a file in the control folder."""

    def __str__(self) -> str:
        where = [f"fit{self.fit}"] if self.fit else []
        if self.event in ("batch", "tail", "validation", "epoch"):
            where.append(f"e{self.epoch}")
        where.append(
            f"{self.event}{self.batch}" if self.event in ("batch", "validation") else self.event
        )
        return ".".join(where) + ("!" if self.kill else "")

    def as_json(self) -> dict[str, Any]:
        """For the child."""
        return asdict(self)


@dataclass(frozen=True)
class Fit:
    """The shape of one ``fit`` call."""

    epochs: int = 3
    batches: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    """The index of each batch as callbacks see it (the last one of an execution)."""
    validation: int = 0
    """Validation batches per epoch."""
    first_epoch: int = 0
    validation_every: int = 1
    """Epochs from one validation to the next."""


def points(fits: Sequence[Fit]) -> Iterator[Stop]:
    """Every point that differs in kind, in order of time: the first two epochs and the last."""
    for index, fit in enumerate(fits):
        yield Stop("begin", index)
        if index == 0:  # a later fit may find everything traced
            yield Stop("tracing", index)
        last = fit.first_epoch + fit.epochs - 1
        for epoch in sorted({fit.first_epoch, min(fit.first_epoch + 1, last), last}):
            first, middle, end = fit.batches[0], fit.batches[len(fit.batches) // 2], fit.batches[-1]
            for batch in sorted({first, middle, end}):
                yield Stop("batch", index, epoch, batch)
            if fit.validation and (epoch - fit.first_epoch + 1) % fit.validation_every == 0:
                yield Stop("validation", index, epoch, fit.validation // 2)
            yield Stop("tail", index, epoch)
            yield Stop("epoch", index, epoch)
        if index + 1 < len(fits):
            yield Stop("between", index)


def covering(fits: Sequence[Fit], turn: int) -> tuple[Stop, Stop, tuple[Stop, ...]]:
    """Two of the points, and both in order of time, for a table that cannot try them all.

    The first is always inside an epoch: another process finishes it than began it, and epochs
    follow whose order depends on more than the interrupted one. The second rotates with
    ``turn``: first through the kinds of points, then through those of a kind.
    """
    everything = list(points(fits))
    middle = fits[0].batches[len(fits[0].batches) // 2]
    inside = Stop("batch", 0, fits[0].first_epoch + min(1, fits[0].epochs - 1), middle)
    kinds: dict[tuple[str, int, int], list[Stop]] = {}
    for point in everything[2:]:  # before the very first step nothing has happened
        if point != inside:
            batch = point.batch if point.event == "batch" else 0
            kinds.setdefault((point.event, point.fit, batch), []).append(point)
    kind = list(kinds.values())[turn % len(kinds)]
    other = kind[turn // len(kinds) % len(kind)]
    return inside, other, tuple(sorted((inside, other), key=everything.index))
