"""Are two runs the same to the bit? Compares what the demo's script left in its outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """What differs between two finished runs."""

    variables: int
    """How many variables there are: weights, statistics, seeds, optimizer slots."""
    mismatching_variables: tuple[str, ...]
    """Names of those whose bytes, shape or type differ, or that only one run has."""
    history_equal: bool
    """Whether History is equal to the last digit, epoch for epoch."""
    log_equal: bool
    """Whether the CSV log is equal byte for byte: no row missing, none double."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.mismatching_variables and self.history_equal and self.log_equal


def compare_outputs(one: Path, other: Path) -> Comparison:
    """Compare two outputs folders. Raises FileNotFoundError if a run left something out."""
    with (
        np.load(one / "variables.npz", allow_pickle=False) as mine,
        np.load(other / "variables.npz", allow_pickle=False) as theirs,
    ):
        names = sorted(set(mine.files) | set(theirs.files))
        different = tuple(
            name
            for name in names
            if name not in mine.files
            or name not in theirs.files
            or not _same(mine[name], theirs[name])
        )
    return Comparison(
        variables=len(names),
        mismatching_variables=different,
        history_equal=_history(one) == _history(other),
        log_equal=(one / "log.csv").read_bytes() == (other / "log.csv").read_bytes(),
    )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def _history(outputs: Path) -> dict[str, list[str]]:
    # As texts, so that NaN equals itself.
    history = json.loads((outputs / "history.json").read_text())
    return {name: [repr(value) for value in values] for name, values in history.items()}
