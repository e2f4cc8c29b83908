"""What an attempt runs: its command, environment and folders, for the runtime."""

from __future__ import annotations

from outlast_agent.context import Context
from outlast_agent.runtimes.base import Work
from outlast_agent.spec import CheckpointSpec


def work_of(context: Context, attempt: int, image: str | None) -> Work:
    """What the runtime is to run as this attempt; ``image`` as it was prepared."""
    spec, folders, own = context.spec, context.folders, context.folders.attempt(attempt)
    inputs = tuple((folders.input(n), each.to) for n, each in enumerate(spec.inputs))
    return Work(
        job=spec.job,
        machine=spec.machine,
        launch=spec.launch,
        attempt=attempt,
        image=image,
        command=spec.command,
        env={**spec.env, **_cadence(spec.checkpoint)},
        scratch=own.scratch,
        outputs=own.outputs,
        control=own.control,
        code=folders.code if spec.code_sha256 is not None else None,
        log=own.log,
        state=own.state,
        memory=own.memory if own.memory is not None and own.memory.is_dir() else None,
        inputs=inputs,
        resources=spec.resources,
        network=spec.docker_network,
    )


def _cadence(checkpoint: CheckpointSpec) -> dict[str, str]:
    """How to save, as ``outlast.environment`` reads it."""
    found: dict[str, str] = {
        "OUTLAST_EXACT": checkpoint.exact,
        "OUTLAST_MAX_OVERHEAD": str(checkpoint.max_overhead),
        "OUTLAST_BETWEEN_LOSSES": str(checkpoint.between_losses_seconds),
    }
    if checkpoint.every_seconds is not None:
        found["OUTLAST_EVERY"] = str(checkpoint.every_seconds)
    return found
