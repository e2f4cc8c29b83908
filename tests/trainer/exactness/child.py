"""Runs in a forked process: one script, watched, and stopped where it shall be."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import keras

from trainer.exactness import outcome
from trainer.exactness.stops import Stop

TRAINERS = ("TensorFlowTrainer", "JAXTrainer", "TorchTrainer")
PATIENCE = 20.0
"""Seconds to wait until the library has seen a notice, or has saved before a kill."""


def main(
    *,
    script: str,
    resume: bool,
    trace: str,
    result: str,
    stop: dict[str, Any] | None = None,
    grace: float = 30.0,
    options: dict[str, Any] | None = None,
) -> None:
    """Run ``module.function`` of :mod:`trainer.exactness.scripts`.

    ``trace`` receives one JSON line for each event, ``result`` what the finished script is
    judged by. ``options`` go to ``outlast.Resume``.
    """
    _use_one_thread()
    Probe(Path(trace), None if stop is None else Stop(**stop), grace).install()
    callbacks = []
    if resume:
        import outlast

        callbacks = [outlast.Resume(**(options or {}))]
    module, _, name = script.partition(".")
    trained = getattr(importlib.import_module(f"trainer.exactness.scripts.{module}"), name)(
        callbacks
    )
    outcome.save(Path(result), trained)


def _use_one_thread() -> None:
    """Bits depend on the thread count; one thread is the quickest for models this small."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(2)
        case "torch":
            import torch

            torch.set_num_threads(1)


class Probe:
    """Watches ``fit`` from outside of the callbacks, so that their list stays the user's.

    Keras calls every callback through ``CallbackList``; its methods are wrapped in this process,
    which ends with the script.
    """

    def __init__(self, trace: Path, stop: Stop | None, grace: float) -> None:
        self._trace = trace.open("a")
        self._stop = stop
        self._grace = grace
        self._fit = -1
        self._epoch = 0
        self._inside = False
        self._stepped = False

    def install(self) -> None:
        """Wrap; before the script imports anything of Keras."""
        from keras.src.callbacks.callback_list import CallbackList

        from trainer.exactness.scripts import pieces

        trainer = next(kind for kind in keras.Model.__mro__ if kind.__name__ in TRAINERS)
        self._wrap(trainer, "fit", self._around_fit)
        if keras.backend.backend() == "tensorflow":
            self._wrap(trainer, "_make_function", self._around_make_function)
        self._wrap(CallbackList, "on_train_begin", self._around_train_begin)
        self._wrap(CallbackList, "on_epoch_begin", self._around_epoch_begin)
        self._wrap(CallbackList, "on_train_batch_begin", self._around_batch_begin)
        self._wrap(CallbackList, "on_train_batch_end", self._around_batch_end)
        self._wrap(CallbackList, "on_test_batch_end", self._around_test_batch_end)
        self._wrap(CallbackList, "on_epoch_end", self._around_epoch_end)
        pieces.marks.append(self._marked)

    @staticmethod
    def _wrap(kind: Any, name: str, around: Any) -> None:
        original = getattr(kind, name)

        @functools.wraps(original)
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            return around(functools.partial(original, self), *args, **kwargs)

        setattr(kind, name, wrapped)

    def _around_fit(self, fit: Any, *args: Any, **kwargs: Any) -> Any:
        self._fit += 1
        self._inside = True
        try:
            history = fit(*args, **kwargs)
        finally:
            self._inside = False
        self._tell("fit")
        self._reached("between")
        return history

    def _around_train_begin(self, begin: Any, *args: Any, **kwargs: Any) -> None:
        self._reached("begin")
        begin(*args, **kwargs)

    def _around_make_function(self, make: Any, step_function: Any) -> Any:
        @functools.wraps(step_function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            if step_function.__name__ == "train_step":
                self._reached("tracing")  # Python runs it only then
            return step_function(*args, **kwargs)

        return make(traced)

    def _around_epoch_begin(self, begin: Any, epoch: int, *args: Any, **kwargs: Any) -> None:
        self._epoch = epoch
        begin(epoch, *args, **kwargs)

    def _around_batch_begin(self, begin: Any, batch: int, *args: Any, **kwargs: Any) -> None:
        if not self._stepped:
            self._stepped = True
            self._tell("first step", batch, notes=self._notes())
        begin(batch, *args, **kwargs)

    def _around_batch_end(self, end: Any, batch: int, logs: Any = None) -> None:
        end(batch, logs)
        self._tell("batch", batch, logs)
        self._reached("batch", batch)

    def _around_test_batch_end(self, end: Any, batch: int, logs: Any = None) -> None:
        end(batch, logs)
        if self._inside:
            self._tell("validation", batch, logs)
            self._reached("validation", batch)

    def _around_epoch_end(self, end: Any, epoch: int, logs: Any = None) -> None:
        self._reached("tail")
        end(epoch, logs)
        self._tell("epoch", 0, logs)
        self._reached("epoch")

    def _marked(self, batch: int) -> None:
        self._reached("inside", batch)

    def _tell(self, event: str, batch: int = 0, logs: Any = None, **more: Any) -> None:
        values = {name: float(value).hex() for name, value in (logs or {}).items()}
        epoch = self._epoch if event != "fit" else 0
        line = {"event": event, "fit": self._fit, "epoch": epoch, "batch": batch, "logs": values}
        self._trace.write(json.dumps({**line, **more}) + "\n")
        self._trace.flush()

    def _reached(self, event: str, batch: int = 0) -> None:
        stop = self._stop
        if stop is None:
            return
        epoch = self._epoch if event in ("batch", "tail", "validation", "epoch") else 0
        if (event, self._fit, epoch, batch) == (stop.event, stop.fit, stop.epoch, stop.batch):
            self._stop = None
            self._tell("stop", batch)
            self._kill() if stop.kill else self._notice(sigterm=stop.sigterm)
        elif stop.kill and event == "batch":
            from outlast.run import Run

            Run.current().flush(PATIENCE)

    def _notice(self, *, sigterm: bool) -> None:
        from outlast.notice import Notice, write_notice
        from outlast.run import Run

        now = time.monotonic()
        if sigterm:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            notice = Notice("test", "preempt", self._grace, now + self._grace, "")
            write_notice(Path(os.environ["OUTLAST_CONTROL"]), notice)
        machine = threading.Timer(self._grace, self._kill)  # it is gone at the deadline
        machine.daemon = True
        machine.start()
        while not Run.current().stop_requested:
            if time.monotonic() > now + PATIENCE:
                raise AssertionError("the library did not see the notice")
            time.sleep(0.002)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _notes() -> list[dict[str, Any]]:
        control = os.environ.get("OUTLAST_CONTROL")
        path = Path(control, "notes.jsonl") if control else None
        if path is None or not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]
