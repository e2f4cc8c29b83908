"""Training data that Keras reads in Python, as it does on JAX and PyTorch: arrays, DataLoaders.

What an iterator yields follows from the state of random generators when it was made and when it
was first read (an order is drawn then), so a resume puts both back, makes it again, and passes
over the batches that were read.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from outlast.generators import read_torch, set_torch
from outlast.keras_fit import attributes, backends
from outlast.keras_fit.data import Data
from outlast.keras_fit.inspect_data import Finding
from outlast.keras_fit.replay import Replay

State = dict[str, Any]

_ITERABLE = Finding(
    "loader-iterable",
    False,
    "the data come from a DataLoader over an IterableDataset, which can only be read from its "
    "start: a resume draws and drops the batches of its epoch, and is exact only if it yields the "
    "same again; give the DataLoader a dataset with __getitem__",
)
_PERSISTENT = Finding(
    "loader-persistent",
    False,
    "the workers of the DataLoader live on from epoch to epoch, and random generators in them "
    "begin anew in a resume: what they draw is then other; leave persistent_workers=True out",
)
_DRAWN = Finding(
    "data-drawn-again",
    True,
    "a resume loads the batches of its epoch once more up to its place; with num_workers=0 on "
    "PyTorch it need not",
)

_AHEAD = 1024
"""Batches that JAX never reads ahead of training."""


class Remade:
    """Iterators over the data of an EpochIterator of Keras, made as Keras makes them."""

    def __init__(self, keras: Any) -> None:
        self._keras = keras

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keras._get_iterator())


class Stream(Data):
    """Arrays. Keras draws their order from the global generator of numpy, or PyTorch's."""

    kinds: Sequence[str] = ("numpy", "torch")

    def __init__(self, keras: Any) -> None:
        """``keras`` is the EpochIterator of a ``fit`` call."""
        self._dataset = Remade(keras)
        self._reading: _Reading | None = None
        method = "get_torch_dataloader" if backends.name() == "torch" else "get_jax_iterator"
        adapter = keras.data_adapter
        source = getattr(adapter, method)

        def read() -> _Reading:
            self._reading = _Reading(source, self.random, self.put)
            return self._reading

        setattr(adapter, method, read)

    @property
    def dataset(self) -> Any:
        """As in :class:`Data`."""
        return self._dataset

    def own(self) -> State:
        """The state of random generators that belong to the data themselves."""
        return {}

    def put_own(self, state: State) -> None:
        """Bring back what :meth:`own` gave."""

    def random(self) -> State:
        """The state of all generators that reading draws from."""
        state: State = {"own": self.own()}
        if "python" in self.kinds:
            state["python"] = random.getstate()
        state["numpy"] = np.random.get_state(legacy=False)
        state["torch"] = read_torch()
        return state

    def put(self, state: State) -> None:
        """Bring back what :meth:`random` gave."""
        self.put_own(state["own"])
        if "python" in state:
            random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        set_torch(state["torch"])

    def position(self, iterator: Any, taken: int) -> State:
        """As in :class:`Data`."""
        reading = self._reading
        if iterator is None or reading is None:
            return {"own": self.own()}
        return {"own": self.own(), **reading.position(taken)}

    def repeat(self, *, made: int, drawn: int, last: int | None = None) -> None:
        """As in :class:`Data`."""
        # Iterators leave nothing behind but the state of generators.

    def settle(self, position: State) -> None:
        """As in :class:`Data`."""
        self.put_own(position["own"])

    def find(self, taken: int, position: State) -> Any:
        """As in :class:`Data`."""
        now = self.random()
        self.put(position["made"])
        iterator = self.make()
        assert self._reading is not None, "making an iterator begins a reading"
        self._reading.go_to(taken, position, self.replay)
        self.put(now)
        self.settle(position)
        return iterator


class Loader(Stream):
    """A ``torch.utils.data.DataLoader``."""

    kinds = ("python", "numpy", "torch")

    def __init__(self, keras: Any) -> None:
        """As :class:`Stream`."""
        super().__init__(keras)
        self._loader = keras.data_adapter._dataloader

    def own(self) -> State:
        """As in :class:`Stream`."""
        return read_loader(self._loader)

    def put_own(self, state: State) -> None:
        """As in :class:`Stream`."""
        set_loader(self._loader, state)


def forget_read(adapter: Any) -> None:
    """Have the workers of a PyDataset forget what they read while Keras built the model.

    Keras would train on it, in the first epoch and again in later ones: what is left of an epoch
    is handed on to the next (``PyDatasetEnqueuer.stop`` in ``py_dataset_adapter.py``).
    """
    if adapter.enqueuer is not None:
        with adapter.enqueuer.ready_queue.mutex:
            adapter.enqueuer.ready_queue.queue.clear()


def findings(loader: Any) -> Iterator[Finding]:
    """What has to be told about a DataLoader."""
    if _is_iterable(loader):
        yield _ITERABLE
    elif loader.num_workers and loader.persistent_workers:
        yield _PERSISTENT
    elif loader.num_workers or backends.name() != "torch":
        yield _DRAWN


def read_loader(loader: Any) -> State:
    """Random generators that a DataLoader and its parts have as attributes; a sampler's epoch."""
    return {name: attributes.capture(part, without=_others(part)) for name, part in _parts(loader)}


def set_loader(loader: Any, state: State) -> None:
    """Bring back what :func:`read_loader` gave."""
    for name, part in _parts(loader):
        attributes.restore(part, state.get(name, {}))


def is_loader(thing: Any) -> bool:
    """Whether it is a DataLoader of PyTorch."""
    return any(
        kind.__name__ == "DataLoader" and kind.__module__.startswith("torch.utils.data")
        for kind in type(thing).__mro__
    )


class _Reading:
    """One iterator, from where Keras' adapter makes it on; on a device Keras reads one ahead."""

    def __init__(
        self,
        source: Callable[[], Any],
        state: Callable[[], State],
        put: Callable[[State], None],
    ) -> None:
        self._state, self._put = state, put
        self._made = state()
        self._first: State | None = None
        self._before: dict[int, State] = {}
        """State before each batch that was read and perhaps not yet trained on."""
        self._ahead: State | None = None
        self._notes = backends.name() == "jax" and _looks_ahead()
        self._count = 0
        self._inner = iter(source())

    def __iter__(self) -> _Reading:
        return self

    def __next__(self) -> Any:
        if self._first is None:
            self._first = self._state()
        if self._ahead is not None:
            return self._next_as_before()
        if self._notes:
            self._before[self._count] = self._state()
            self._before.pop(self._count - _AHEAD, None)
        self._count += 1
        return next(self._inner)

    def position(self, taken: int) -> State:
        """Plain data, of the time after ``taken`` batches."""
        for number in [each for each in self._before if each < taken]:
            del self._before[number]
        ahead = self._before.get(taken, self._ahead)
        return {"made": self._made, "first": self._first, "ahead": ahead}

    def go_to(self, taken: int, position: State, replay: Replay) -> None:
        """Be at ``position``, in an iterator that was just made."""
        self._made, self._first, self._ahead = (
            position["made"],
            position["first"],
            position["ahead"],
        )
        self._count = taken
        if self._first is not None:
            self._put(self._first)
            _pass_over(self._inner, taken, replay)

    def _next_as_before(self) -> Any:
        """A batch that was read ahead, once more from the same numbers."""
        ahead, self._ahead = self._ahead, None
        assert ahead is not None
        now = self._state()
        self._before[self._count] = ahead
        self._count += 1
        self._put(ahead)
        try:
            return next(self._inner)
        finally:
            self._put(now)


def _pass_over(inner: Any, count: int, replay: Replay) -> None:
    # Without workers and with a dataset that has indices, only these need be drawn.
    if type(inner).__name__ != "_SingleProcessDataLoaderIter" or _is_iterable(inner):
        replay.drop(inner, count)
        return
    with contextlib.suppress(StopIteration):
        for _ in range(count):
            inner._next_index()


def _is_iterable(loader: Any) -> bool:
    dataset = getattr(loader, "dataset", getattr(loader, "_dataset", None))
    return any(kind.__name__ == "IterableDataset" for kind in type(dataset).__mro__)


def _looks_ahead() -> bool:
    import jax  # noqa: PLC0415 - Keras runs on it

    return str(jax.default_backend()) != "cpu"


def _parts(loader: Any) -> Iterator[tuple[str, Any]]:
    batches = loader.batch_sampler
    sampler = getattr(batches, "sampler", loader.sampler)
    for name, part in (
        ("loader", loader),
        ("dataset", loader.dataset),
        ("batches", batches),
        ("sampler", sampler),
    ):
        if part is not None and hasattr(part, "__dict__"):
            yield name, part


def _others(part: Any) -> list[str]:
    """Names of attributes that are not to be saved."""
    return [
        name
        for name, value in vars(part).items()
        if not attributes.is_generator(value) and (name != "epoch" or type(value) is not int)
    ]
