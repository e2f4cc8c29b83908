"""Scripts on JAX and PyTorch, stopped and resumed: every bit is that of the run never stopped."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import pytest

from trainer.exactness.cases import assert_same, check, check_told
from trainer.exactness.stops import Fit, Stop
from trainer.exactness.table import Scenario
from trainer.exactness.twins import Twins

INSIDE = Stop("batch", 0, 1, 3)
LAST = Stop("batch", 0, 1, 5)
TAIL = Stop("tail", 0, 1)
BOTH, JAX, TORCH = ("jax", "torch"), ("jax",), ("torch",)

CASES = (
    ("everything", BOTH, [Stop("batch", 0, 0, 0), Stop("validation", 0, 1, 1)]),
    ("everything", BOTH, [Stop("batch", 0, 1, 3, kill=True), Stop("epoch", 0, 1)]),
    ("by_batch", BOTH, [Stop("batch", 0, 1, 2)]),
    ("in_steps", BOTH, [Stop("batch", 0, 1, 1), Stop("batch", 0, 3, 1)]),
    ("in_order", BOTH, [LAST]),
    ("pure_bfloat16", BOTH, [INSIDE]),
    ("several_steps", JAX, [Stop("batch", 0, 1, 2)]),
    ("pydataset", BOTH, [INSIDE, Stop("batch", 0, 2, 1, kill=True)]),
    ("pydataset", BOTH, [TAIL]),
    ("pydataset_with_workers", BOTH, [INSIDE]),
    ("user_callback", BOTH, [INSIDE, Stop("batch", 0, 1, 5, sigterm=True)]),
    ("two_fits", BOTH, [Stop("batch", 0, 1, 3), Stop("between", 0), Stop("batch", 1, 0, 2)]),
    ("arrays_ahead", JAX, [INSIDE, TAIL]),
    ("pydataset_ahead", JAX, [INSIDE, LAST]),
    ("loader", BOTH, [INSIDE, Stop("validation", 0, 2, 2)]),
    ("loader_with_generator", BOTH, [INSIDE, TAIL]),
    ("loader_with_workers", BOTH, [INSIDE]),
    ("torch_module", TORCH, [INSIDE]),
    ("two_optimizers", TORCH, [INSIDE]),
)


@pytest.mark.parametrize(
    ("name", "on", "stops"),
    CASES,
    ids=[f"{name}-{'-'.join(map(str, stops))}" for name, _, stops in CASES],
)
def test_resumed_is_uninterrupted(
    twins: Twins, backend: str, name: str, on: Sequence[str], stops: Sequence[Stop]
) -> None:
    _needs(name, backend, on)
    shape = (Fit(batches=(2, 5)),) if name == "several_steps" else (Fit(),)
    # What workers read while the model was built is trained on without the callback.
    seeded = name != "pydataset_with_workers"
    check(twins, Scenario(f"elsewhere.{name}", shape, seeded=seeded), stops)


@pytest.mark.parametrize(
    ("name", "on", "code"),
    [("generator", BOTH, "generator"), ("loader_over_iterable", BOTH, "loader-iterable")],
)
def test_read_from_the_start_and_told(
    twins: Twins, backend: str, name: str, on: Sequence[str], code: str
) -> None:
    """These yield the same again, so they are exact as well."""
    _needs(name, backend, on)
    scenario = Scenario(f"elsewhere.{name}", told=frozenset({code}), must_tell=True)
    pieces = twins.interrupted(scenario, [INSIDE])
    check_told(scenario, pieces[0])
    assert_same(twins.whole(scenario, resume=False), pieces)


def _needs(name: str, backend: str, on: Sequence[str]) -> None:
    if backend not in on:
        pytest.skip(f"what {' and '.join(on)} alone has")
    if "loader" in name and importlib.util.find_spec("torch") is None:
        pytest.skip("a DataLoader is PyTorch's, which is not installed")


def test_an_optimizer_without_variables_is_told(twins: Twins, backend: str) -> None:
    if backend != "torch":
        pytest.skip("JAX trains no second optimizer")
    scenario = Scenario("elsewhere.unbuilt_optimizer")
    whole = twins.whole(scenario)
    assert whole.told == ["optimizer-unbuilt"]
