"""The variables of a training program: found, read, checked, assigned.

Names are unstable (``clear_session``, loss scaling, layers made twice), so variables are matched
by order, shape and type, and named only in messages. Variables of a strategy are taken apart
into what each device holds, since those may differ from each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from outlast.keras_fit import copied, device_memory


@dataclass(frozen=True)
class Variable:
    """One variable of one device."""

    name: str
    value: Any
    """``tf.Variable``, or :class:`outlast.keras_fit.copied.Slot`."""
    distributed: bool = False
    """Whether a strategy keeps one like it on each device."""


def variables_of(model: Any, optimizers: Iterable[Any] = (), more: Iterable[Any] = ()) -> list[Any]:
    """Every variable that training ``model`` changes, in an order that another process repeats.

    First what Keras itself orders; then ``more`` (``tf.Variable``), which comes unordered from a
    traced graph, by the order of creation.
    """
    ordered: list[Any] = []
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()  # in training, JAX's variables have no value
    # A model that was never compiled has neither metrics nor an optimizer.
    for each in (model.variables, getattr(model, "metrics_variables", ())):
        ordered.extend(each)
    for optimizer in [getattr(model, "optimizer", None), *optimizers, *optimizers_in(model)]:
        if optimizer is not None:
            ordered.extend(optimizer.variables)
    found: dict[int, Variable] = {}
    looked_at: set[int] = set()
    for variable in ordered:
        inner = getattr(variable, "_value", variable)
        # TensorFlow's own; of others two may hold the very same value for a while.
        same = id(inner if hasattr(inner, "handle") else variable)
        if same not in looked_at:  # optimizers hold the model's, and the graph holds all
            looked_at.add(same)
            for part in parts(variable):
                found.setdefault(identity(part.value), part)
    for name, tensor in copied.held_by_modules(model):
        part = Variable(name, copied.Slot(tensor))
        found.setdefault(identity(part.value), part)
    new = (variable for variable in more if id(variable) not in looked_at)
    rest = [part for variable in new for part in parts(variable)]
    for part in sorted(rest, key=lambda part: _creation(part.value)):
        found.setdefault(identity(part.value), part)
    return list(found.values())


def read(
    variables: Iterable[Variable],
    prefix: str,
    *,
    live: bool = False,
    crowded: Collection[str] = (),
) -> dict[str, Any]:
    """Name to an immutable tensor, or a copy, of each value.

    On TensorFlow, reading gives a tensor that shares the variable's memory; the next update
    writes elsewhere. So this takes milliseconds, whatever the size. Elsewhere values are copied,
    unless they may be ``live``: changed as training goes on. From the devices named ``crowded``
    they come over at once, in chunks.
    """
    return {
        f"{prefix}{index:05d} {variable.name}": _read(variable.value, live, crowded)
        for index, variable in enumerate(variables)
    }


def _read(value: Any, live: bool, crowded: Collection[str]) -> Any:
    if live and isinstance(value, copied.Slot):
        return value.look()
    if not hasattr(value, "handle"):
        return value.read_value()
    if crowded and value.device in crowded:
        return device_memory.fetched(value)
    import tensorflow as tf  # noqa: PLC0415 - a variable of it, so it is loaded

    # read_value runs an identity operation as well, and takes four times as long.
    return tf.raw_ops.ReadVariableOp(resource=value.handle, dtype=value.dtype)


def mismatch(variables: Iterable[Variable], saved: Mapping[str, Any], prefix: str) -> str | None:
    """The first difference between the model and what was saved below ``prefix``; None: none.

    The values of ``saved`` need a ``dtype`` and a ``shape`` only.
    """
    here = list(variables)
    there = [(name[len(prefix) + 6 :], value) for name, value in saved.items()]
    for index, (variable, (name, value)) in enumerate(zip(here, there, strict=False)):
        mine = _kind(variable.value.dtype.name, variable.value.shape)
        its = _kind(_dtype(value), value.shape)
        if mine != its:
            return f"variable {index} was {name} of {its}, and here it is {variable.name} of {mine}"
    if len(here) > len(there):
        first = here[len(there)].name
        return f"{len(there)} variables were saved and here are {len(here)}, with {first}"
    if len(there) > len(here):
        first = there[len(here)][0]
        return f"{len(there)} variables were saved, with {first}, and here are {len(here)}"
    return None


def optimizers_in(model: Any) -> Iterator[Any]:
    """Optimizers that the model holds as attributes, in lists and dicts too (a GAN's)."""
    from keras.optimizers import Optimizer  # noqa: PLC0415 - Keras loads with the first capture

    def walk(value: Any, depth: int) -> Iterator[Any]:
        if isinstance(value, Optimizer):
            yield value
        elif isinstance(value, Mapping) and depth < 4:
            for item in value.values():
                yield from walk(item, depth + 1)
        elif isinstance(value, (list, tuple)) and depth < 4:
            for item in value:
                yield from walk(item, depth + 1)

    for name, value in vars(model).items():
        if name not in ("_layers", "_metrics", "_optimizer"):
            yield from walk(value, 0)


def parts(variable: Any) -> list[Variable]:
    """What each device holds of it, the variable itself if there is one device."""
    name = getattr(variable, "path", None) or str(variable.name).split(":", maxsplit=1)[0]
    slot = copied.slot_of(variable)
    if slot is not None:
        return [Variable(name, slot)]
    inner = getattr(variable, "_value", variable)  # Keras' Variable holds TensorFlow's
    values = getattr(inner, "values", None)
    if isinstance(values, (list, tuple)):  # tf.distribute's: one for each replica
        return [Variable(f"{name} on {part.device}", part, distributed=True) for part in values]
    return [Variable(name, inner)]


def identity(variable: Any) -> int:
    """The same for all that is one variable to the framework."""
    slot = copied.slot_of(variable)
    if slot is not None:
        return copied.identity(slot)
    variable = getattr(variable, "_value", variable)  # Keras' Variable holds TensorFlow's
    return id(variable.handle) if hasattr(variable, "handle") else id(variable)


def _creation(variable: Any) -> tuple[int, str]:
    number = str(getattr(variable, "_unique_id", "")).rsplit("_", 1)[-1]
    return (int(number) if number.isdecimal() else 0), str(variable.name)


def _kind(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype} {tuple(int(size) for size in shape)}"


def _dtype(value: Any) -> str:
    return str(getattr(value.dtype, "name", value.dtype))
