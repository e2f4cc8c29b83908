"""All ``fit`` calls of a program, and how a checkpoint holds them.

A checkpoint's state is ``{"of": "keras" or "keras epochs", "fits": [...], "fit": {...} or None}``:
a record for each call that is over, and the one under way. Its arrays are the variables at the
end of each call that is over (``fit0/...``), since the script's own code after it runs again and
finds the model as it was, and those of the one under way (``now/...``). Unchanged variables are
written once.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from outlast.keras_fit.fit_call import FitCall
from outlast.keras_fit.prefixes import prefix_of
from outlast.keras_fit.sources import Sources
from outlast.refused import OtherProgramError
from outlast.run import Run
from outlast.snapshot import Snapshot

KEPT_FITS, MOST_KEPT_FITS, KEPT_BYTES = 8, 64, 256 << 20
"""The variables are kept of so many calls, the latest; of more, up to the second number, if all
together take no more than these bytes: a loop of fits would fill memory and disk."""


@dataclass
class Finished:
    """A ``fit`` call that is over."""

    record: dict[str, Any]
    arrays: Mapping[str, Any]
    """Its variables; empty: no longer kept, or it ended with an exception."""

    @property
    def broken(self) -> bool:
        """Whether it ended with an exception, which the script caught."""
        return bool(self.record.get("broken"))


class Begun(Protocol):
    """A call that this process began and that did not end yet."""

    @property
    def call(self) -> FitCall | None:
        """What it works with."""

    def leave(self) -> int:
        """Take everything off its model; the steps that it did."""


@dataclass
class Script:
    """The ``fit`` calls of this process, in order."""

    of: str
    """What kind of checkpoint it makes and takes."""
    finished: list[Finished] = field(default_factory=list)
    """Calls that are over, in this process or before it."""
    under_way: dict[str, Any] | None = None
    """The record of the call that the checkpoint was taken in."""
    begun: int = 0
    """Calls begun in this process."""
    current: Begun | None = None
    """The latest of them, while it has not ended."""
    sources: Sources = field(default_factory=Sources)
    """The data of the calls of this process."""
    newest: Snapshot | None = None
    """The snapshot at the end of the latest call of this process."""

    @property
    def steps(self) -> int:
        """Steps of the calls that are over."""
        return sum(int(each.record["steps"]) for each in self.finished)

    @property
    def holds_arrays(self) -> bool:
        """Whether there are variables of calls that are over."""
        return any(each.arrays for each in self.finished)

    def snapshot(
        self,
        record: dict[str, Any] | None,
        arrays: Mapping[str, Any],
        *,
        step: int,
        metrics: Mapping[str, float],
        live: bool = False,
    ) -> Snapshot:
        """All calls that are over, and ``record`` with ``arrays`` of the one under way."""
        everything: dict[str, Any] = {}
        for each in self.finished:
            everything.update(each.arrays)
        everything.update(arrays)
        state = {"of": self.of, "fits": [each.record for each in self.finished], "fit": record}
        return Snapshot(step=step, state=state, arrays=everything, metrics=metrics, live=live)

    def begin(self, run: Run) -> int:
        """A call begins: its number, from 0.

        If one was begun before and did not end, an exception ended it and the script caught that.
        It cannot be passed over, for then nothing would be raised: where the script is run again
        it is trained again, from its beginning, until it raises.
        """
        if self.current is not None:
            record = {"broken": True, "steps": self.current.leave()}
            self.finished.append(Finished(record, {}))
            self.current = None
            run.note(
                "warning",
                "fit-broken",
                "the fit call before this one ended with an exception: a resume trains it again, "
                "from its beginning and unsaved, before it goes on with this one.",
            )
        index, self.begun = self.begun, self.begun + 1
        if index >= len(self.finished) and any(self._not_kept()):
            run.note(
                "warning",
                "fit-dropped",
                f"of {len(self.finished)} fit calls that are over, the models of the earliest are "
                "no longer kept: after a resume, code between them finds the model as it was made, "
                "not trained; call fit less often, with more epochs.",
            )
        return index

    def end(self, record: dict[str, Any], arrays: Mapping[str, Any]) -> None:
        """One more call is over."""
        self.current = None
        for before in self.finished[-1:]:  # told of the latest only: text for each would add up
            before.record = {k: v for k, v in before.record.items() if k != "weights"}
        self.finished.append(Finished(record, arrays))
        held = 0
        for count, each in enumerate(reversed(self.finished)):
            held += sum(_bytes(value) for value in each.arrays.values())
            if count >= KEPT_FITS and (count >= MOST_KEPT_FITS or held > KEPT_BYTES):
                each.arrays = {}

    def _not_kept(self) -> Iterator[Finished]:
        return (each for each in self.finished if not each.arrays and not each.broken)


def _bytes(value: Any) -> int:
    size = getattr(value.dtype, "itemsize", None) or value.dtype.size
    return int(size) * math.prod(int(length) for length in value.shape)


_scripts: weakref.WeakKeyDictionary[Run, Script] = weakref.WeakKeyDictionary()


def script_of(run: Run, of: str) -> Script:
    """The one of ``run``, made from its checkpoint at the first call.

    Raises OtherProgramError if the checkpoint is not of the kind ``of``.
    """
    if run not in _scripts:
        script = Script(of)
        loaded = run.resumed
        if loaded is not None:
            state = loaded.state
            was = state.get("of") if isinstance(state, dict) else None
            if was != of:
                raise _other_program(run, was, of)
            names = list(loaded.arrays)
            for index, record in enumerate(state["fits"]):
                mine = [name for name in names if name.startswith(prefix_of(index))]
                script.finished.append(
                    Finished(record, {name: loaded.arrays[name] for name in mine})
                )
            script.under_way = state["fit"]
        _scripts[run] = script
    return _scripts[run]


def _other_program(run: Run, was: Any, of: str) -> OtherProgramError:
    id_ = run.resumed.id if run.resumed is not None else ""
    framework = _framework(was)
    if framework is not None and framework != _framework(of):
        # The weights would fit; the numbers that Dropout draws, the order of data would not.
        back = f"go on with KERAS_BACKEND={framework}"
        text = f"was saved by Keras on {framework}, and this is Keras on {_framework(of)}"
    else:
        back = "go on with the program and the versions that saved it"
        text = "was not saved by outlast.Resume with this version of Keras"
    return OtherProgramError(f"checkpoint {id_} {text}: {run.environment.instead(back)}")


def _framework(of: Any) -> str | None:
    """What Keras ran on that made checkpoints ``of`` this kind; None: Keras did not make them."""
    kind, _, framework = of.partition(" on ") if isinstance(of, str) else ("", "", "")
    return (framework or "tensorflow") if kind in ("keras", "keras epochs") else None
