"""Building a model as its first step would, without taking it: then all variables are there.

A model may have no variables until it sees data; metrics and optimizers of a custom
``train_step`` have none until they are traced. ``model.train_function`` (``_make_function`` in
``backend/tensorflow/trainer.py``) closes over a ``tf.function``; tracing that one builds
everything, and ``fit`` uses the trace afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_TRACED = "multi_step_on_iterator"
# tf.random.Generator's: their state is a variable, which is saved with the others.
_WITH_VARIABLE = ("Rng", "Stateful")


def trace(model: Any, dataset: Any, iterator: Callable[[], Any]) -> Any:
    """The graph of the training step, built with everything in it; None: it runs eagerly.

    ``iterator`` gives one over ``dataset``; it is asked only if its type does not follow from
    the dataset's, for making one has effects.
    """
    function = _traced(model.train_function)
    if function is None:
        return None
    spec = _iterator_spec(dataset)
    return function.get_concrete_function(iterator() if spec is None else spec).graph


def build_eagerly(model: Any, dataset: Any) -> None:
    """Make the variables of a model that runs eagerly, by looking at shapes alone."""
    import tensorflow as tf  # noqa: PLC0415 - Keras trains with it, so it is loaded

    # Once through its training step as a graph; nothing is computed.
    tf.function(model.train_step).get_concrete_function(dataset.element_spec)


def graph_variables(graph: Any) -> list[Any]:
    """All variables that the training step touches, unordered."""
    if graph is None:
        return []
    try:
        return list(graph.variables)
    except AssertionError:  # some are gone: a callback compiled the model anew
        return []


def random_operations(graph: Any) -> set[str]:
    """Operations of the training step that draw from a hidden random state."""
    from outlast.keras_fit.survey_data import RANDOM_OPS  # noqa: PLC0415

    if graph is None:
        return set()
    definition = graph.as_graph_def()
    bodies = [definition.node, *(each.node_def for each in definition.library.function)]
    found = {node.op for body in bodies for node in body if node.op in RANDOM_OPS}
    return {op for op in found if not op.startswith(_WITH_VARIABLE)}


def _traced(train_function: Any) -> Any:
    names = getattr(getattr(train_function, "__code__", None), "co_freevars", ())
    if _TRACED not in names:
        return None
    cell = train_function.__closure__[names.index(_TRACED)].cell_contents
    return cell if hasattr(cell, "get_concrete_function") else None


def _iterator_spec(dataset: Any) -> Any:
    import tensorflow as tf  # noqa: PLC0415

    if isinstance(dataset, tf.data.Dataset):
        return tf.data.IteratorSpec(dataset.element_spec)
    return None  # a strategy's: its iterator's type is made with the iterator
