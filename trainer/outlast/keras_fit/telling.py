"""What a person is told: before the first step, what a resume cannot bring back or will cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from outlast.keras_fit import build, callbacks_state, outside
from outlast.keras_fit.inspect_data import Finding
from outlast.run import Run


def before_first_step(
    run: Run, findings: Iterable[Finding], callbacks: Collection[Any], graph: Any
) -> None:
    """All that is known once the step is traced."""
    for finding in findings:
        run.note("info" if finding.exact else "warning", finding.code, _sentence(finding.text))
    operations = build.random_operations(graph)
    if operations:
        run.note(
            "warning",
            "random-step",
            f"the training step draws random numbers whose state cannot be read "
            f"({', '.join(sorted(operations))}): after a resume they are others; use "
            "keras.random.* with a keras.random.SeedGenerator, or Keras' layers.",
        )
    for kind, names in callbacks_state.strange(callbacks):
        run.note(
            "warning",
            "callback-state",
            f"{kind} keeps what cannot be saved ({', '.join(names[:5])}): it begins anew after a "
            "resume; keep plain data or arrays in attributes, or give it get_state() and "
            "set_state(state).",
        )
    for kind, names in outside.lost(callbacks):
        run.note(
            "warning",
            "callback-outside",
            f"{kind} writes to {', '.join(names[:5])}, which cannot be saved: it begins anew after "
            "a resume; keep plain data or arrays in attributes of the callback.",
        )
    for kind, name in outside.reshuffled(callbacks):
        run.note(
            "warning",
            "callback-data",
            f"{kind} has the dataset {name}, which shuffles anew whenever it is read: if it reads "
            "it, then after a resume in another order; give it one without shuffle, or with "
            "reshuffle_each_iteration=False.",
        )
    for kind, file in outside.emptied(callbacks):
        run.note(
            "warning",
            "callback-file",
            f"{kind} writes to {file}, which the script opens anew: a resume begins it again; open "
            "it with mode 'a', below the outputs folder, whose files belong to the checkpoint.",
        )


def loss(run: Run, logs: Mapping[str, float]) -> bool:
    """That the loss is not finite, if so; whether it is."""
    value = logs.get("loss", 0.0)
    wrong = not math.isfinite(value)
    if wrong:
        run.note(
            "warning",
            "loss-not-finite",
            f"the loss is {value}: training goes on, but its weights may be worthless; lower the "
            f"learning rate, or clip gradients. {run.newest_finite()}",
        )
    return wrong


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."
