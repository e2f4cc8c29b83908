"""What of a tf.data pipeline a resume cannot bring back exactly, in a sentence each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from outlast.keras_fit.survey_data import Survey, survey

LARGE_BYTES = 64 << 20
"""From here on a buffer is worth a line before the first step."""


@dataclass(frozen=True)
class Finding:
    """One thing to tell before the first step."""

    code: str
    """Stable: ``shuffle-unseeded``, ``random-map``..."""
    exact: bool
    """The resume is exact all the same; this is a cost or a condition."""
    text: str
    """One sentence: what will differ or cost, and what to write instead."""


DRAWN_OTHERWISE = Finding(
    "data-drawn-otherwise",
    False,
    "what the data pipeline holds is too much to save (a cache never is), and without a seed its "
    "order cannot be drawn again: in the epoch of a resume some samples come twice and others not "
    "at all; call keras.utils.set_random_seed(...) first in the script",
)


def inspect(dataset: Any) -> list[Finding]:
    """Everything to tell about ``dataset`` (a ``tf.data.Dataset``); empty if all is well."""
    return findings(survey(dataset))


def findings(found: Survey) -> list[Finding]:
    """What a survey means for a resume."""
    return [*_about_order(found), *_about_functions(found), *_about_size(found)]


def _about_order(found: Survey) -> Iterator[Finding]:
    every = [*found.shuffles, *found.nested_shuffles]
    if any(not shuffle.seeded for shuffle in every) or found.unseeded_random:
        yield Finding(
            "shuffle-unseeded",
            False,
            "the data are shuffled without a seed: each process draws an order of its own, so "
            "after a resume the epochs that follow come in another order than they would have; "
            "call keras.utils.set_random_seed(...) first in the script",
        )
    reshuffling = [shuffle for shuffle in found.shuffles if shuffle.reshuffles]
    if len(reshuffling) > 1:
        where, instead = ("", "")
        if found.files:
            where, instead = " (one of them in list_files)", ", and give list_files shuffle=False"
        yield Finding(
            "shuffle-chain",
            False,
            f"{len(reshuffling)} shuffles follow each other{where}: after a resume late in an "
            "epoch the next epoch comes in another order than it would have; shuffle once, over "
            f"everything{instead}",
        )
    if any(shuffle.repeated for shuffle in reshuffling):
        yield Finding(
            "shuffle-repeat",
            False,
            "repeat() comes after shuffle(): a resume has to read the data again from the very "
            "beginning to find its place; write repeat() before shuffle(), or leave repeat() out "
            "and let fit begin each epoch",
        )
    if found.undetermined:
        yield Finding(
            "order-undetermined",
            False,
            "deterministic=False lets elements overtake each other: no two runs agree, and "
            "neither will a resumed one; leave it out",
        )


def _about_functions(found: Survey) -> Iterator[Finding]:
    if found.generator:
        yield Finding(
            "generator",
            False,
            "the data come from a Python generator, which can only be read from its start: a "
            "resume draws and drops all batches read before; write a keras.utils.PyDataset, or "
            "Dataset.range(n) with a map that loads element i",
        )
    if found.random_ops:
        names = ", ".join(sorted(found.random_ops))
        yield Finding(
            "random-map",
            False,
            f"a map draws random numbers whose state cannot be read ({names}): after a resume "
            "they are others"
            + (
                ", and as the map is parallel two uninterrupted runs differ already"
                if found.parallel_random
                else ""
            )
            + "; use tf.random.stateless_* with a seed made from Dataset.enumerate(), or "
            "Keras' random layers inside the model",
        )
    if found.changes_variables:
        yield Finding(
            "stateful-map",
            False,
            "a map changes a variable (a Keras random layer or seed generator inside map does): "
            "it runs ahead of training, so a resume cannot bring it back; put the layer inside "
            "the model, or use tf.random.stateless_* with a seed made from Dataset.enumerate()",
        )
    elif found.reads_variables:
        yield Finding(
            "variable-map",
            True,
            "a map reads a variable: it runs ahead of training, so if a callback changes that "
            "variable no two runs agree; compute what changes inside the model",
        )
    if found.python_ops and not found.generator:
        yield Finding(
            "py-function",
            True,
            "a map calls a Python function: a resume is exact only if what it returns depends on "
            "nothing but its arguments",
        )
    for name in sorted(found.unknown):
        yield Finding(
            "data-unknown",
            False,
            f"the pipeline has a part that cannot be looked into ({name}): whether a resume is "
            "exact is not known; build the tf.data pipeline in the script itself",
        )


def _about_size(found: Survey) -> Iterator[Finding]:
    for shuffle in found.shuffles:
        size = shuffle.buffer * (shuffle.element_bytes or 0)
        if size >= LARGE_BYTES:
            how = "is not saved: a resume reads the epoch's data once more, up to its place"
            if not shuffle.seeded:
                how = "is saved, for which training waits every time; with a seed it need not be"
            text = f"shuffle({shuffle.buffer}) holds {_size(size)}, which {how}"
            yield Finding("shuffle-large", True, text)
    for cache in found.caches:
        if cache.file:
            yield Finding(
                "cache-file",
                True,
                "cache(FILE) lies on this machine's disk and not in the checkpoint: another "
                "machine builds it anew; use cache() if the data fit into memory",
            )
        elif cache.content_bytes is not None and cache.content_bytes >= LARGE_BYTES:
            yield Finding(
                "cache-large",
                True,
                f"cache() holds {_size(cache.content_bytes)}, which is not saved: a resume reads "
                "the epoch's data from where they come from, up to its place",
            )


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
