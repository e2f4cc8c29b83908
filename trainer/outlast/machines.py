"""Whether this machine can go on from a checkpoint with equal bits, and what is told if not."""

from __future__ import annotations

from outlast.fingerprint import differences, fingerprint
from outlast.refused import OtherMachineError
from outlast.run import Run


def compare(run: Run) -> None:
    """Tell what differs from the machine and the versions that the checkpoint was written with.

    Raises :class:`outlast.refused.OtherMachineError` if the job demands an equal one.
    """
    loaded = run.resumed
    if loaded is None:
        return
    found = differences(loaded.fingerprint, fingerprint())
    if not found:
        return
    text = "; ".join(found)
    if run.environment.strict:
        raise OtherMachineError(
            f"checkpoint {loaded.id} can only go on with equal bits on an equal machine: {text}. "
            "The job says exact: strict; run it on such a machine, or say exact: best"
        )
    run.note(
        "warning",
        "machine-differs",
        f"training goes on from the same state, but numbers may differ in their last bits: {text}; "
        "say exact: strict to have equal machines only.",
    )
