"""``outlast checkpoints``: what a job has saved, whether it is whole, and how to take it out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from outlast.manifest import CheckpointId, Manifest, NewerVersionError
from outlast_agent.stores.base import Store
from outlast_agent.sync.restore import DamagedError
from outlast_provisioning import checkpoints, exits, exporting
from outlast_provisioning.checkpoints import CheckpointError, Verifier
from outlast_provisioning.cli.checkpoint_views import checkpoint_table, manifest_view
from outlast_provisioning.cli.terminal import err, now, out, print_json, tell
from outlast_provisioning.memory import Memory
from outlast_provisioning.observe import observe
from outlast_provisioning.units import size_for_people


def list_checkpoints(store: Store, job: str, *, most: int | None, as_json: bool) -> int:
    """Print a line for each of the newest ``most``; the exit code. Raises StoreError, RecordError.

    None: of all.
    """
    ids = checkpoints.listed(store, job)
    world = observe(store, job, {}, Memory(), time.monotonic())
    aside = checkpoints.set_aside(world)
    found = checkpoints.lines(store, world.job, ids, aside, most=most)
    if as_json:
        print_json([{**asdict(line), "id": str(line.id)} for line in found])
        return exits.OK
    if not found:
        tell(f"Job {job} has no checkpoint yet.")
        return exits.OK
    out.print(checkpoint_table(found, now()))
    if most is not None and len(ids) > most:
        tell(f"The newest {most} of {len(ids)}; all of them: --all")
    return exits.OK


def show_checkpoint(store: Store, job: str, checkpoint: str | None, *, as_json: bool) -> int:
    """Print what one consists of; the exit code. Raises CheckpointError, StoreError."""
    manifest = _read(store, job, checkpoints.pick(store, job, checkpoint))
    if manifest is None:
        return exits.DIFFERS
    if as_json:
        value = asdict(manifest)
        for part in value["parts"]:
            del part["state"]  # the program's own, and not bounded
        value["metrics"] = checkpoints.finite(manifest)
        print_json({"id": str(manifest.id), "bytes": manifest.size, **value})
    else:
        out.print(manifest_view(manifest))
    return exits.OK


def verify_checkpoints(
    store: Store, job: str, checkpoint: str | None, *, all_: bool, as_json: bool
) -> int:
    """Read every byte; 0 only if all is as it was written. Raises CheckpointError, StoreError."""
    if all_ and checkpoint is not None:
        raise CheckpointError("give a checkpoint or --all, not both")
    newest = checkpoints.pick(store, job, checkpoint)
    verifier = Verifier(store, job)
    answers = [
        (id_, faults)
        for id_ in (checkpoints.listed(store, job) if all_ else [newest])
        if (faults := _verify(store, job, verifier, id_, optional=all_)) is not None
    ]
    if as_json:
        print_json(
            [{"id": str(id_), "whole": not faults, "faults": faults} for id_, faults in answers]
        )
    return exits.DIFFERS if any(faults for _, faults in answers) else exits.OK


def _verify(
    store: Store, job: str, verifier: Verifier, id_: CheckpointId, *, optional: bool
) -> list[str] | None:
    """What is wrong with it, told as it is found; None: it is gone, and nobody asked for it."""
    try:
        manifest = checkpoints.read_manifest(store, job, id_)
        size = sum(ref.size for ref in verifier.missing(manifest))
        with _progress(f"verifying {id_}", size) as progress:
            faults = verifier.faults(manifest, progress)
    except DamagedError as error:
        faults = [str(error)]
    except NewerVersionError as error:
        if not optional:
            raise CheckpointError(str(error)) from error
        faults = [str(error)]
    except CheckpointError as error:
        if not optional:
            raise
        tell(f"Note: {error}")  # the job goes on, and collects what is superseded
        return None
    else:
        if not faults:
            tell(f"{id_} is whole: {size_for_people(manifest.size)}")
    for fault in faults:
        tell(f"{id_} is not whole: {fault}")
    return faults


def export_checkpoint(
    store: Store,
    job: str,
    checkpoint: str | None,
    *,
    to: Path | None,
    outputs: Path | None,
    weights: bool,
    force: bool,
) -> int:
    """Write files from one; the exit code. Raises CheckpointError, StoreError."""
    manifest = _read(store, job, checkpoints.pick(store, job, checkpoint))
    if manifest is None:
        return exits.DIFFERS
    try:
        plans = exporting.plan(manifest, to=to, outputs=outputs, weights=weights, force=force)
        size = sum(ref.size for ref in exporting.objects(manifest, plans))
        with _progress(f"exporting {manifest.id}", size) as progress:
            exporting.export(store, job, manifest, plans, progress, force=force)
    except DamagedError as error:
        tell(f"outlast: checkpoint {manifest.id} is damaged, nothing was written: {error}")
        return exits.DIFFERS
    for each in plans:
        tell(f"{each.target}: {each.told}, of checkpoint {manifest.id}")
    return exits.OK


def _read(store: Store, job: str, id_: CheckpointId) -> Manifest | None:
    """The manifest; None: it is damaged, and that was told."""
    try:
        return checkpoints.read_manifest(store, job, id_)
    except NewerVersionError as error:
        raise CheckpointError(str(error)) from error
    except DamagedError as error:
        others = f"`outlast checkpoints ls {job}` shows others"
        tell(f"outlast: checkpoint {id_} is damaged: {error}; {others}")
        return None


@contextmanager
def _progress(what: str, size: int) -> Iterator[checkpoints.Progress]:
    """A bar on stderr while it lasts, if that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=size)
        yield lambda read: bar.advance(task, read)
