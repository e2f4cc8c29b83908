"""What a tf.data pipeline consists of, as far as a resume has to know.

:func:`survey` walks the dataset objects and the graphs of their functions and reads no data. A
few facts show in the serialized pipeline only; that holds every array which was given to
``from_tensor_slices``, so it is looked at only where those are small.

Classes and operations are told apart by name: they are TensorFlow's serialized vocabulary or,
for the classes, private; an unknown one is reported, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from outlast.keras_fit.held_data import SHUFFLE_OPS, buffer, element_bytes

_EMBEDDED_LIMIT = 64 << 20
"""Bytes of tensors up to which a pipeline is serialized to look at it."""

RANDOM_OPS = frozenset(
    {
        "Multinomial",
        "NonDeterministicInts",
        "ParameterizedTruncatedNormal",
        "RandomCrop",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "RngReadAndSkip",
        "RngSkip",
        "SampleDistortedBoundingBox",
        "SampleDistortedBoundingBoxV2",
        "StatefulRandomBinomial",
        "StatefulStandardNormal",
        "StatefulStandardNormalV2",
        "StatefulTruncatedNormal",
        "StatefulUniform",
        "StatefulUniformFullInt",
        "StatefulUniformInt",
        "TruncatedNormal",
    }
)
_PYTHON_OPS = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
_ASSIGN_OPS = frozenset({"AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp"})
_READ_OPS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd"})
# Sources whose content a resume cannot ask for: another process or a live service decides.
_OPAQUE_OPS = frozenset({"DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV4"})


@dataclass(frozen=True)
class Shuffle:
    """One ``Dataset.shuffle`` (or the one inside ``list_files``)."""

    seeded: bool
    """It, or the process, has a seed; without one every process draws another order."""
    buffer: int
    """Elements; 0: not known."""
    element_bytes: int | None
    """Size of an element; None: not known."""
    reshuffles: bool = True
    """Another order in every pass."""
    repeated: bool = False
    """A ``repeat`` after it starts further passes inside one iteration."""


@dataclass(frozen=True)
class Cache:
    """One ``Dataset.cache``."""

    file: bool
    """It lies in a file; otherwise in memory."""
    content_bytes: int | None
    """Size when full; None: not known."""


@dataclass
class Survey:
    """What was found, from the source to the end."""

    shuffles: list[Shuffle] = field(default_factory=list)
    nested_shuffles: list[Shuffle] = field(default_factory=list)
    """Inside the function of ``flat_map`` or ``interleave``: begun anew with each element."""
    files: bool = False
    """One of them is the one inside ``list_files``."""
    caches: list[Cache] = field(default_factory=list)
    random_ops: set[str] = field(default_factory=set)
    """Operations with hidden random state inside a function."""
    parallel_random: bool = False
    """One of them runs in a parallel map: not even two uninterrupted runs agree."""
    python_ops: set[str] = field(default_factory=set)
    changes_variables: bool = False
    """A function assigns to a variable."""
    reads_variables: bool = False
    """A function reads one, which others may change."""
    generator: bool = False
    unseeded_random: bool = False
    """``Dataset.random`` or ``sample_from_datasets`` without a seed."""
    undetermined: bool = False
    """``deterministic=False``: elements come in the order in which they get ready."""
    unknown: set[str] = field(default_factory=set)
    """Kinds of datasets that could not be looked into."""
    embedded_bytes: int = 0
    """Tensors that a serialized form of the pipeline would contain."""


def survey(dataset: Any) -> Survey:
    """Look into ``dataset``, its inputs, and the functions they call."""
    found = Survey()
    _walk(dataset, found, repeated=False)
    if dataset.options().deterministic is False:
        found.undetermined = True
    if found.embedded_bytes < _EMBEDDED_LIMIT:
        _look_at_whole(_serialized(dataset), found)
    return found


def _serialized(dataset: Any) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - only called for a dataset, so it is loaded

    policy = tf.data.experimental.ExternalStatePolicy.IGNORE.value
    text = tf.raw_ops.DatasetToGraphV2(
        input_dataset=dataset._variant_tensor, external_state_policy=policy
    )
    return tf.compat.v1.GraphDef.FromString(text.numpy())


def _look_at_whole(graph: Any, found: Survey) -> None:
    """What only the serialized pipeline shows (a GraphDef)."""
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    for body in bodies:
        nodes = {node.name: node for node in body}
        for node in body:
            if node.attr["deterministic"].s == b"false":
                found.undetermined = True
            if node.op in SHUFFLE_OPS:
                source = nodes.get(node.input[0].split(":")[0])
                found.files |= source is not None and source.attr["is_files"].b


def _walk(dataset: Any, found: Survey, *, repeated: bool) -> None:
    name = type(dataset).__name__
    try:
        inputs = dataset._inputs()
        functions = dataset._functions()
        match name:
            case "_RepeatDataset":
                repeated = repeated or int(dataset._count) != 1
            case "_VariantDataset":  # made from a graph, as in Dataset.enumerate
                _look_into(_serialized(dataset), found, found.shuffles)
            case "_RandomDataset":
                found.unseeded_random |= not _seeded(dataset._seed, dataset._seed2)
    except (AttributeError, NotImplementedError):
        found.unknown.add(name)
        return
    found.embedded_bytes += sum(_bytes(tensor) for tensor in getattr(dataset, "_tensors", ()))
    for each in inputs:
        _walk(each, found, repeated=repeated)
    try:
        _note(dataset, name, found, repeated=repeated)
        for function in functions:
            captured = function.function.captured_inputs
            found.embedded_bytes += sum(_bytes(tensor) for tensor in captured)
            graph = function.function.graph.as_graph_def()
            _look_into(graph, found, found.nested_shuffles, name.startswith("_Parallel"))
    except AttributeError:
        found.unknown.add(name)


def _note(dataset: Any, name: str, found: Survey, *, repeated: bool) -> None:
    match name:
        case "_ShuffleDataset":
            shuffle = Shuffle(
                seeded=_seeded(dataset._seed, dataset._seed2),
                buffer=buffer(dataset)[1],
                element_bytes=element_bytes(dataset),
                reshuffles=bool(dataset._reshuffle_each_iteration),
                repeated=repeated,
            )
            found.shuffles.append(shuffle)
        case "CacheDataset":
            file = bool(dataset._filename.numpy())
            element, count = element_bytes(dataset), int(dataset.cardinality())
            known = element is not None and count >= 0
            found.caches.append(Cache(file, element * count if element and known else None))


def _seeded(*seeds: Any) -> bool:
    """TensorFlow writes (0, 0) where neither the call nor the process has a seed."""
    return any(int(seed) != 0 for seed in seeds)


def _bytes(tensor: Any) -> int:
    shape, dtype = tensor.shape, tensor.dtype
    return int(shape.num_elements() or 0) * dtype.size if shape.is_fully_defined() else 0


def _look_into(graph: Any, found: Survey, shuffles: list[Shuffle], parallel: bool = False) -> None:
    """The operations of a function and of all that it calls (a GraphDef)."""
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    bodies = [graph.node, *functions.values()]
    generators = [node for body in bodies for node in body if node.op == "GeneratorDataset"]
    found.generator |= bool(generators)
    own = {
        node.attr[part].func.name
        for node in generators
        for part in ("init_func", "next_func", "finalize_func")
    }
    for body in [graph.node, *(functions[name] for name in functions if name not in own)]:
        constants = {node.name: node for node in body if node.op == "Const"}
        for node in body:
            if node.op in SHUFFLE_OPS:
                shuffles.append(Shuffle(_seeded_by(node.input[2:4], constants), 0, None))
            elif node.op == "RandomDataset":
                found.unseeded_random |= not _seeded_by(node.input[:2], constants)
            elif node.op in RANDOM_OPS:
                found.random_ops.add(node.op)
                found.parallel_random |= parallel
            elif node.op in _PYTHON_OPS:
                found.python_ops.add(node.op)
            elif node.op in _ASSIGN_OPS:
                found.changes_variables = True
            elif node.op in _READ_OPS:
                found.reads_variables = True
            elif node.op in _OPAQUE_OPS:
                found.unknown.add(node.op)


def _seeded_by(inputs: Any, constants: dict[str, Any]) -> bool:
    seeds = [constants.get(name.split(":")[0]) for name in inputs]
    return any(seed is None or list(seed.attr["value"].tensor.int64_val) != [0] for seed in seeds)
