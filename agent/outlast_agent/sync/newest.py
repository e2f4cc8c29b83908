"""Which checkpoint to begin from, and when to begin from none at all is not allowed. Pure.

See DESIGN, *Newest* and *Falling back*.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from outlast.manifest import CheckpointId


@dataclass(frozen=True)
class Said:
    """What the end of an attempt said to be durable."""

    attempt: int
    durable_step: int
    started_from: CheckpointId | None = None

    @property
    def durable(self) -> CheckpointId:
        """The checkpoint that was meant: its own, or the one it started from if that was all."""
        start = self.started_from
        if start is not None and start.step == self.durable_step:
            return start
        return CheckpointId(self.attempt, self.durable_step)


def candidates(
    listed: Sequence[CheckpointId], *, below: int, set_aside: Collection[str]
) -> list[CheckpointId]:
    """Checkpoints to try, the newest first: of attempts before ``below``, none set aside."""
    return sorted(
        (id_ for id_ in listed if id_.attempt < below and str(id_) not in set_aside),
        reverse=True,
    )


def missing(
    found: CheckpointId | None,
    *,
    damaged: Mapping[CheckpointId, str],
    set_aside: Collection[str],
    said: Said | None,
) -> str | None:
    """What is gone, if less was found than was said to be durable; else None.

    An older checkpoint than the durable one will do where the newer is proven damaged or was
    set aside on purpose. What will not do is a durable checkpoint without a trace, or nothing
    at all where there was something: that looks like a wrong or emptied bucket.
    """
    if said is None or (found is not None and _covers(found, said)):
        return None
    if any(_covers(CheckpointId.parse(text), said) for text in set_aside):
        return None
    if any(_covers(id_, said) for id_ in damaged) and found is not None:
        return None
    return str(said.durable)


def _covers(id_: CheckpointId, said: Said) -> bool:
    """Whether ``id_`` is at least what was said; a later attempt's work stands on it, and an
    earlier one's, however far it trained on after it was superseded, does not."""
    return id_ >= said.durable
