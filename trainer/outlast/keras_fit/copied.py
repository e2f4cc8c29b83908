"""Variables of Keras on JAX and PyTorch, which have to be copied before training goes on.

JAX gives the memory of all variables to each training step, which writes the new ones there;
PyTorch changes its tensors in place.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from outlast.checkpoint import numpy_type

_OF_KERAS = ("keras.src.backend.jax.", "keras.src.backend.torch.")  # where its Variable is


class Slot:
    """A variable of Keras, or a tensor of PyTorch, used like a ``tf.Variable``."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy has it, ml_dtypes' among them."""
        return numpy_type(str(self._tensor.dtype).rsplit(".", maxsplit=1)[-1])  # torch.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths."""
        return tuple(int(length) for length in self._tensor.shape)

    def look(self) -> np.ndarray:
        """The value; on a processor it is the variable's own memory, on a device a copy of it."""
        tensor = self._tensor
        return _of_torch(tensor) if _is_torch(tensor) else np.asarray(tensor)

    def read_value(self) -> np.ndarray:
        """A copy of the value, in the memory of this machine."""
        return np.array(self.look())

    def assign(self, value: np.ndarray) -> None:
        """Give it ``value``, wherever it is."""
        tensor = self._tensor
        if not _is_torch(tensor):
            self.thing.assign(value)
            return
        import torch  # noqa: PLC0415 - a tensor of it, so it is loaded

        with torch.no_grad():
            tensor.copy_(_to_torch(value, tensor.dtype))

    @property
    def _tensor(self) -> Any:
        return self.thing if _is_torch(self.thing) else self.thing.value


def slot_of(thing: Any) -> Slot | None:
    """``thing`` as a :class:`Slot`; None: it is a variable of TensorFlow, or none at all."""
    if isinstance(thing, Slot):
        return thing
    kind: Any = type(thing)
    return Slot(thing) if _of_torchs_kind(kind) or _of_keras(kind) else None


def identity(slot: Slot) -> int:
    """The same for all that is one variable: Keras' and the parameter of PyTorch in it."""
    inner = getattr(slot.thing, "_value", None)
    return id(inner if _is_torch(inner) else slot.thing)  # JAX's are others with each step


def held_by_modules(model: Any) -> list[tuple[str, Any]]:
    """(name, tensor) of what modules of PyTorch within ``model`` hold, such as a running mean."""
    if not hasattr(model, "named_buffers"):
        return []
    return [
        (f"{layer.path}/{name}", tensor)
        for layer in model._flatten_layers()
        for name, tensor in (*layer.named_parameters(), *layer.named_buffers())
    ]


def _is_torch(value: Any) -> bool:
    kind: Any = type(value)
    return _of_torchs_kind(kind)


# Asked for every variable at every save.
@functools.cache
def _of_torchs_kind(kind: type) -> bool:
    return any(each.__module__ == "torch" and each.__name__ == "Tensor" for each in kind.__mro__)


@functools.cache
def _of_keras(kind: type) -> bool:
    return any(each.__module__.startswith(_OF_KERAS) for each in kind.__mro__)


def _of_torch(tensor: Any) -> np.ndarray:
    """Its value; on a processor the same memory. numpy lacks some types: by their bytes."""
    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    dtype = numpy_type(name)
    if dtype.kind != "V":
        return np.asarray(tensor.numpy())
    import torch  # noqa: PLC0415

    plain = torch.uint8 if dtype.itemsize == 1 else torch.int16
    return np.asarray(tensor.view(plain).numpy()).view(dtype)


def _to_torch(value: np.ndarray, dtype: Any) -> Any:
    import torch  # noqa: PLC0415

    # Makes an axis where there is none.
    whole, shape = np.ascontiguousarray(value), value.shape
    if whole.dtype.kind == "V":
        plain = np.uint8 if whole.dtype.itemsize == 1 else np.int16
        return torch.from_numpy(whole.view(plain)).view(dtype).reshape(shape)
    writable = whole if whole.flags.writeable else whole.copy()
    return torch.from_numpy(writable).reshape(shape)
