"""Caches of a tf.data pipeline that lie in files, ``cache(FILE)``: another machine has none.

An iterator's state says how far such a file was written or read, and fails at the first batch
where the file is not. Then the batches are drawn again, which writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def cache_files(dataset: Any) -> list[str]:
    """The FILE of each ``cache(FILE)`` on the main line of ``dataset``."""
    return list(_walk(dataset))


def are_here(files: Iterable[str]) -> bool:
    """Whether something was written to all of them, the whole or a part."""
    import tensorflow as tf  # noqa: PLC0415 - only called for a dataset, so it is loaded

    return all(tf.io.gfile.glob(f"{_literal(file)}*.index") for file in files)


def _walk(dataset: Any) -> Iterator[str]:
    if type(dataset).__name__ == "CacheDataset":
        name = dataset._filename.numpy().decode()
        if name:
            yield name
    for each in dataset._inputs():
        yield from _walk(each)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
