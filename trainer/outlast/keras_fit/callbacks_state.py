"""The state of every callback of a ``fit`` call beside ours.

Keras resets most of them in ``on_train_begin``, so they are restored after it. Those that write
files are met before it: a CSVLogger would truncate its file, a TensorBoard write its graph anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from outlast.keras_fit import attributes
from outlast.keras_fit.held_variables import Lost
from outlast.keras_fit.outside import Outside

_NEVER = ("model", "_model", "params", "validation_data")
_OF_KIND = {
    # How it writes, and what belongs to this process.
    "TensorBoard": (
        "_writers",
        "_prev_summary_state",
        "_summary_module",
        "_is_tracing",
        "_profiler_started",
        "_batch_trace_context",
        "_should_trace",
    ),
    "CSVLogger": ("append", "append_header", "csv_file", "writer"),
}
_DISPLAY = ("ProgbarLogger", "Resume")


class Baselines:
    """The callbacks of a call after ``on_train_begin``: what they change from there on is state."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self._callbacks = list(_with_state(callbacks))
        self._baselines = [
            attributes.Baseline(each, without=_without(each), owner=each)
            for each in self._callbacks
        ]
        self._outside = [Outside(each) for each in self._callbacks]

    def capture(self) -> list[dict[str, Any]]:
        """One plain record for each callback that has a state, in their order."""
        return [
            {**_capture(each, baseline), "outside": outside.changed()}
            for each, baseline, outside in zip(
                self._callbacks, self._baselines, self._outside, strict=True
            )
        ]


def restore(callbacks: Iterable[Any], records: list[dict[str, Any]]) -> list[str]:
    """Give the callbacks their state back; the kinds whose state found no place are returned.

    To be called after ``on_train_begin`` and when the model is built.
    """
    pairs, lost = _paired(callbacks, records)
    for callback, record in pairs:
        if "append" in record:
            callback.append = record["append"]
        try:
            Outside(callback).restore(record.get("outside", {}))
        except Lost as error:
            lost.append(f"{record['kind']} ({error})")
        if record["own"] is not None:
            callback.set_state(record["own"])
            continue
        if record["attributes"].pop("monitor_op", None) and callback.monitor_op is None:
            # It negates min_delta when it first sees the metrics: once, and before its value.
            callback._set_monitor_op()
        try:
            attributes.restore(callback, record["attributes"])
        except Lost as error:
            lost.append(f"{record['kind']} ({error})")
    return lost


def prepare(
    callbacks: Iterable[Any], records: list[dict[str, Any]], *, passed: bool = False
) -> list[str]:
    """Keep callbacks that write files from writing again what they wrote; one line per trouble.

    To be called before Keras calls any of them. ``passed``: the call is over, and its files may
    have been written to by later ones.
    """
    pairs, _ = _paired(callbacks, records)
    troubles = []
    for callback, record in pairs:
        kinds = _kinds(callback)
        if "TensorBoard" in kinds:
            callback.write_graph = False
        if "CSVLogger" in kinds:
            trouble = None if passed else _cut(Path(callback.filename), record["file_bytes"])
            if trouble is not None:
                troubles.append(trouble)
            callback.append = True  # until restore() gives it back
    return troubles


def flush(callbacks: Iterable[Any]) -> None:
    """Have what callbacks wrote in their files, before the files are saved."""
    for callback in callbacks:
        for writer in getattr(callback, "_writers", {}).values():
            writer.flush()
        file = getattr(callback, "csv_file", None)
        if file is not None and not file.closed:
            file.flush()


def strange(callbacks: Iterable[Any]) -> Iterator[tuple[str, list[str]]]:
    """(kind, attributes) of callbacks that are not Keras' own and hold what cannot be saved."""
    for callback in _with_state(callbacks):
        if _offers_state(callback):
            continue
        if type(callback).__module__.split(".")[0] == "keras":
            continue
        names = attributes.strange(callback, without=_without(callback))
        if names:
            yield type(callback).__name__, names


def displays(callbacks: Iterable[Any]) -> list[Any]:
    """Those that only show progress."""
    return [each for each in callbacks if "ProgbarLogger" in _kinds(each)]


def _capture(callback: Any, baseline: attributes.Baseline) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": type(callback).__name__, "own": None, "attributes": {}}
    if _offers_state(callback):
        record["own"] = callback.get_state()
        return record
    # Keras' own callbacks replace their arrays (best_weights) and never write into them.
    copy = type(callback).__module__.split(".")[0] != "keras"
    record["attributes"] = baseline.changed(copy=copy)
    if "MonitorCallback" in _kinds(callback):
        record["attributes"]["monitor_op"] = callback.monitor_op is not None
    if "CSVLogger" in _kinds(callback):
        record["file_bytes"] = _size(Path(callback.filename))
        record["append"] = callback.append
    return record


def _paired(
    callbacks: Iterable[Any], records: list[dict[str, Any]]
) -> tuple[list[tuple[Any, dict[str, Any]]], list[str]]:
    """Each record with the next callback of its kind, and the kinds that are not there."""
    waiting = list(_with_state(callbacks))
    pairs, lost = [], []
    for record in records:
        found = next((each for each in waiting if type(each).__name__ == record["kind"]), None)
        if found is None:
            lost.append(record["kind"])
        else:
            waiting.remove(found)
            pairs.append((found, {**record, "attributes": dict(record["attributes"])}))
    return pairs, lost


def _with_state(callbacks: Iterable[Any]) -> Iterator[Any]:
    return (each for each in callbacks if not any(kind in _DISPLAY for kind in _kinds(each)))


def _without(callback: Any) -> list[str]:
    names = list(_NEVER)
    for kind in _kinds(callback):
        names.extend(_OF_KIND.get(kind, ()))
    return names


def _kinds(callback: Any) -> list[str]:
    return [kind.__name__ for kind in type(callback).__mro__]


def _offers_state(callback: Any) -> bool:
    return callable(getattr(callback, "get_state", None)) and callable(
        getattr(callback, "set_state", None)
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _cut(path: Path, size: int) -> str | None:
    """Cut the file at ``path`` to ``size`` bytes; what is wrong if it is shorter."""
    there = _size(path)
    if there > size:
        os.truncate(path, size)
    if there < size:
        return (
            f"{path} had {size} bytes when this was saved and has {there}: its earlier rows are "
            "gone; write it below the outputs folder, whose files belong to the checkpoint"
        )
    return None
