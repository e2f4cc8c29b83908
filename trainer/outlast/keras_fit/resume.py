"""``outlast.Resume``: the one line that makes ``model.fit`` outlast its machine."""

from __future__ import annotations

import functools
import os
from typing import Any

import keras

from outlast import machines
from outlast.exits import show_plainly
from outlast.keras_fit import backends, epochs, fit_call, hooks, versions
from outlast.keras_fit.epochs import EpochFit
from outlast.keras_fit.loop import Fit
from outlast.keras_fit.passed import PassedFit
from outlast.keras_fit.script import Script, script_of
from outlast.run import Run


class Resume(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Saves all of a ``fit`` call continuously, and continues it at the very next batch.

    ::

        model.fit(data, epochs=70, callbacks=[outlast.Resume()])

    Where it stands in the list makes no difference; every ``fit`` call of the script that shall
    be continued needs one. A script that is run again passes over the calls that are over, which
    return at once with their History, and continues the one under way.

    ``folder`` is where checkpoints are kept (``.outlast`` beside the script), ``outputs`` a
    folder whose files belong to the checkpoint and are brought back with it, ``every`` the
    seconds between saves (chosen by what a save costs). Under Outlast the job says all three.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        outputs: str | os.PathLike[str] | None = None,
        every: float | None = None,
    ) -> None:
        super().__init__()
        show_plainly()
        backends.check(backends.name())
        self._current = functools.partial(Run.current, folder=folder, outputs=outputs, every=every)
        self._run = self._current()
        self._begun = False
        _meet_first()

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Refuse what would train on without being saved."""
        begun, self._begun = self._begun, False
        if not begun:
            raise ValueError(
                "outlast.Resume was not there when the callbacks were prepared: give fit a plain "
                "list of callbacks, not a CallbackList"
            )

    def begin(self, callbacks: Any) -> None:
        """``callbacks`` is a CallbackList with this one in it, about to prepare them."""
        backends.check(backends.name())
        call = fit_call.find(self)
        self._run = self._current()  # another one, if that of before stopped
        if not versions.tested(keras.__version__):
            self._begin_between_epochs(callbacks, call)
            return
        if call is None:
            return
        self._begun = True
        if hooks.wrapped(call.callbacks):
            return  # by another Resume in the same list
        script = script_of(self._run, backends.checkpoints("keras"))
        if script.begun == 0:
            machines.compare(self._run)
        index = self._number(script)
        if index is None:
            return
        if index < len(script.finished):
            PassedFit(self._run, script, call, index)
            return
        if self._run.stop_requested and script.newest is not None:
            self._run.stop(script.newest)  # between two calls: nothing happened since
        record, script.under_way = script.under_way, None
        Fit(self._run, script, call, record)

    def _begin_between_epochs(self, callbacks: Any, call: fit_call.FitCall | None) -> None:
        listed = callbacks.callbacks
        if not fit_call.inside_fit():
            return
        self._begun = True
        if any(isinstance(each, EpochFit) for each in listed):
            return
        script = script_of(self._run, backends.checkpoints("keras epochs"))
        if script.begun == 0:
            machines.compare(self._run)
            self._run.note("warning", "keras-untested", epochs.told(keras.__version__) + ".")
        index = self._number(script)
        if index is not None:
            listed.insert(0, EpochFit(self._run, script, callbacks, call, index))

    def _number(self, script: Script) -> int | None:
        """The number of the call that begins; None: it is to be trained without being saved."""
        current = script.current
        if current is not None and current.call is not None and fit_call.on_stack(current.call):
            self._run.note(
                "warning",
                "fit-within-fit",
                "a callback calls fit: that inner call is not saved, and a resume of the outer one "
                "does not repeat it; what it trains begins anew.",
            )
            return None
        index = script.begin(self._run)
        if index < len(script.finished) and script.finished[index].broken:
            self._run.note(
                "info",
                "fit-broken",
                "this fit call ended with an exception before: it is trained again, unsaved, until "
                "it does.",
            )
            return None
        return index


def _meet_first() -> None:
    """Have CallbackLists tell of themselves before they prepare their callbacks.

    A TensorBoard ahead in the list writes its graph in ``set_model``, a CSVLogger empties its
    file in ``on_train_begin``: in a resumed ``fit`` both have to be met before, and no method of
    a callback is called early enough for that.
    """
    kind = keras.callbacks.CallbackList
    original = kind.set_model
    if getattr(original, "_meets_resume", False):
        return

    @functools.wraps(original)
    def set_model(self: Any, model: Any) -> Any:
        for callback in list(self.callbacks):
            if isinstance(callback, Resume):
                callback.begin(self)
        return original(self, model)

    set_model._meets_resume = True  # type: ignore[attr-defined]
    kind.set_model = set_model
