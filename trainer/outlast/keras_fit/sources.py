"""What kind of training data a ``fit`` call has, and what has to be told about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from outlast.keras_fit import backends, data_order, outside, randomness, streams
from outlast.keras_fit.data import Data
from outlast.keras_fit.data_python import Batches, Generator
from outlast.keras_fit.data_tensors import Arrays, Distributed, Pipeline, Replayed
from outlast.keras_fit.fit_call import FitCall
from outlast.keras_fit.inspect_data import DRAWN_OTHERWISE, Finding, inspect

_GENERATOR = Finding(
    "generator",
    False,
    "the data come from a Python generator, which can only be read from its start: a resume draws "
    "and drops all batches read before, and is exact only if the generator yields the same again; "
    "write a keras.utils.PyDataset, or Dataset.range(n) with a map that loads element i",
)
_FROM_START = Finding(
    "data-from-start",
    False,
    "on JAX and PyTorch, tf.data and Grain are read from their start: a resume draws and drops all "
    "batches read before, and is exact only if they come in the same order again; write a "
    "keras.utils.PyDataset, or a torch.utils.data.DataLoader",
)
_DRAWN = Finding(
    "data-drawn-again",
    True,
    "a shuffle below cache() or concatenate() can only be found again by reading: a resume reads "
    "the batches of its epoch once more; shuffle after it",
)
_SHARED = Finding(
    "shuffle-repeat-shared",
    False,
    "an earlier fit call read from the same endless shuffle().repeat(), which had read ahead by "
    "as much as there was time for: after a resume this call's data come in another order; make "
    "the pipeline anew for each fit call, or write repeat() before shuffle()",
)
_OTHER_SEEDS = Finding(
    "shuffle-other-seeds",
    False,
    "the data are shuffled with other seeds than before the stop, so they come in another order; "
    "give shuffle(seed=...) the same number in every process, or call "
    "keras.utils.set_random_seed(...) first in the script",
)
# Told of a pipeline in general; found again here, at no cost, by what data_order does.
_SOLVED = frozenset({"shuffle-chain", "shuffle-repeat"})


@dataclass(frozen=True)
class Source:
    """The data of a call."""

    data: Data
    findings: list[Finding]
    endless: tuple[Any, ...] = ()
    """The shuffles whose passes begin while one iterator goes on, of which not all is read."""


class Sources:
    """The data of all calls of one process, in their order."""

    def __init__(self) -> None:
        self._endless: list[Any] = []

    def of(self, call: FitCall, position: dict[str, Any] | None) -> Source:
        """The data of ``call``; ``position`` is what the checkpoint says of them, if it does."""
        source = _source_of(call, position) if backends.on_tensorflow() else _source_read(call)
        if any(each is other for each in source.endless for other in self._endless):
            source = replace(source, findings=[*source.findings, _SHARED])
        self._endless.extend(source.endless)
        return source


def _source_of(call: FitCall, position: dict[str, Any] | None) -> Source:
    iterator = call.epoch_iterator
    adapter = iterator.data_adapter
    dataset = iterator._distributed_dataset
    strategy = call.model._distribute_strategy
    match type(adapter).__name__:
        case "ArrayDataAdapter":
            own = "seed" in position["data"] if position else not randomness.seeded()
            if adapter._shuffle and own:
                return Source(Arrays(adapter, strategy), [])
            return Source(Replayed(dataset), [])
        case "PyDatasetAdapter" if strategy is None:
            return Source(Batches(adapter, dataset), list(_drawing(adapter.py_dataset)))
        case "TFDatasetAdapter" if type(dataset).__name__.startswith("Distributed"):
            if not hasattr(adapter._dataset, "element_spec"):
                return Source(Replayed(dataset), [])
            findings = inspect(adapter._dataset)
            return Source(Distributed(dataset, adapter._dataset), _open(findings, set()))
        case "TFDatasetAdapter":
            drains = iterator.steps_per_epoch is None
            return pipeline(dataset, drains=drains, before=position and position["data"])
        case _:
            return Source(Generator(dataset), [_GENERATOR])


def _source_read(call: FitCall) -> Source:
    """The data on JAX and PyTorch, where Python reads them."""
    iterator = call.epoch_iterator
    adapter = iterator.data_adapter
    match type(adapter).__name__:
        case "ArrayDataAdapter":
            return Source(streams.Stream(iterator), [])
        case "TorchDataLoaderAdapter":
            found = list(streams.findings(adapter._dataloader))
            return Source(streams.Loader(iterator), found)
        case "PyDatasetAdapter":
            streams.forget_read(adapter)
            data = Batches(adapter, streams.Remade(iterator))
            return Source(data, list(_drawing(adapter.py_dataset)))
        case kind:
            told = _GENERATOR if kind == "GeneratorDataAdapter" else _FROM_START
            return Source(Generator(streams.Remade(iterator)), [told])


def pipeline(dataset: Any, *, drains: bool, before: dict[str, Any] | None = None) -> Source:
    """The data of a ``tf.data.Dataset``.

    ``drains``: its iterators are read to their end. ``before``: its position in the checkpoint.
    """
    findings = inspect(dataset)
    codes = {finding.code for finding in findings}
    shuffles = data_order.shuffles_of(dataset)
    seeded = "shuffle-unseeded" not in codes
    draws = "generator" in codes
    solved = set(_SOLVED)
    when = {each.when for each in shuffles}
    if ("late" in when or "cached" in when) and seeded and not draws:
        draws, findings = True, [*findings, _DRAWN]
    if "repeated" in when and drains:
        draws, solved = True, solved - {"shuffle-repeat"}
    endless = () if drains else tuple(s.dataset for s in shuffles if s.when == "repeated")
    data = Pipeline(dataset, draws=draws, can_draw=seeded)
    if data.draws_otherwise:
        findings.append(DRAWN_OTHERWISE)
    if before is not None and not data.seeded_as(before):
        findings.append(_OTHER_SEEDS)
    return Source(data, _open(findings, solved), endless)


def _drawing(items: Any) -> Iterator[Finding]:
    names = outside.generators(items)
    if names:
        text = (
            f"{type(items).__name__} draws from {', '.join(names)}, a random generator of the "
            "script whose state is not saved: after a resume its items are others; keep it in an "
            "attribute of the PyDataset"
        )
        yield Finding("data-random", False, text)


def _open(findings: list[Finding], solved: set[str]) -> list[Finding]:
    return [finding for finding in findings if finding.code not in solved]
