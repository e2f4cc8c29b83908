"""The table names every script and nothing else; its stop points are what they say."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from trainer.exactness.stops import Fit, Stop, covering, points
from trainer.exactness.table import EVERYTHING, PHASES, RARE

SCRIPTS = Path(__file__).parent / "scripts"


def test_every_script_is_in_the_table() -> None:
    scripts = {
        f"{path.stem}.{node.name}"
        for path in SCRIPTS.glob("*.py")
        if path.stem != "elsewhere"  # on other frameworks: tests/trainer/backends
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and [argument.arg for argument in node.args.args] == ["resume"]
    }
    named = [scenario.script for scenario in (*EVERYTHING, *PHASES)]
    assert len(set(named)) == len(named)
    assert set(named) == scripts
    assert set(named) >= RARE


def test_points_are_in_order_of_time() -> None:
    found = [str(point) for point in points([Fit(2, (0, 1, 2), validation=2), Fit(1, (0,))])]
    assert found == [
        *("begin", "tracing"),
        *("e0.batch0", "e0.batch1", "e0.batch2", "e0.validation1", "e0.tail", "e0.epoch"),
        *("e1.batch0", "e1.batch1", "e1.batch2", "e1.validation1", "e1.tail", "e1.epoch"),
        *("between", "fit1.begin", "fit1.e0.batch0", "fit1.e0.tail", "fit1.e0.epoch"),
    ]


@pytest.mark.parametrize("fits", sorted({s.fits for s in EVERYTHING}, key=str))
def test_a_covering_pair_is_in_order(fits: tuple[Fit, ...]) -> None:
    everything = list(points(fits))
    for turn in range(50):
        inside, other, (first, second) = covering(fits, turn)
        assert {inside, other} == {first, second}
        assert everything.index(first) < everything.index(second)


def test_turns_meet_every_kind() -> None:
    fits = [Fit(3, validation=2), Fit(2)]
    events = {stop.event for turn in range(40) for stop in covering(fits, turn)[:2]}
    assert events == {"begin", "batch", "validation", "tail", "epoch", "between"}
    assert Stop("begin") not in {stop for turn in range(40) for stop in covering(fits, turn)[:2]}


# Keras' callbacks that no script names, and why.
NOT_NAMED = {
    "CallbackList": "not a callback",
    "History": "part of every fit",
    "OrbaxCheckpoint": "needs orbax; it saves for itself, beside this",
    "ProgbarLogger": "part of every fit with verbose=1: files.progress_bar",
    "RemoteMonitor": "posts the logs of each epoch to a server and keeps nothing",
}


def test_every_callback_of_keras_is_tried() -> None:
    used = {
        name
        for path in SCRIPTS.glob("*.py")
        if path.stem != "elsewhere"  # on other frameworks: tests/trainer/backends
        for name in re.findall(r"keras\.callbacks\.([A-Z]\w+)", path.read_text())
    }
    package = importlib.util.find_spec("keras")
    assert package is not None
    assert package.origin is not None
    exported = Path(package.origin).parent / "callbacks" / "__init__.py"
    offered = {
        alias.name
        for node in ast.walk(ast.parse(exported.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert len(offered) > 10
    assert offered - used == set(NOT_NAMED)
