"""The commands of ``outlast checkpoints``; what they need is loaded by them, it takes a while."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from outlast_agent.stores.base import Store
from outlast_provisioning.cli.options import JobArgument, JsonOption, StoreOption
from outlast_provisioning.cli.place import must_exist, read_place

SHOWN = 20
"""So many of the newest, unless all are asked for."""

commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What a job has saved: list it, look into it, verify it, take it out.",
)

CheckpointArgument = Annotated[
    str | None, typer.Argument(metavar="CHECKPOINT", help="As `ls` names it; else the newest.")
]


@commands.command(name="ls")
def list_(
    job: JobArgument,
    store: StoreOption = None,
    all_: Annotated[bool, typer.Option("--all", help=f"Not only the newest {SHOWN}.")] = False,
    as_json: JsonOption = False,
) -> int:
    """List a job's checkpoints, the newest first."""
    from outlast_provisioning.cli.checkpoints import list_checkpoints  # noqa: PLC0415

    return list_checkpoints(
        _store_of(job, store), job, most=None if all_ else SHOWN, as_json=as_json
    )


@commands.command()
def show(
    job: JobArgument,
    checkpoint: CheckpointArgument = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """What a checkpoint consists of: variables, output files, where it was made, objects."""
    from outlast_provisioning.cli.checkpoints import show_checkpoint  # noqa: PLC0415

    return show_checkpoint(_store_of(job, store), job, checkpoint, as_json=as_json)


@commands.command()
def verify(
    job: JobArgument,
    checkpoint: CheckpointArgument = None,
    store: StoreOption = None,
    all_: Annotated[bool, typer.Option("--all", help="All of the job's.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Read every byte of a checkpoint; exit code 0 only if all is as it was written."""
    from outlast_provisioning.cli.checkpoints import verify_checkpoints  # noqa: PLC0415

    there = _store_of(job, store)
    return verify_checkpoints(there, job, checkpoint, all_=all_, as_json=as_json)


@commands.command()
def export(
    job: JobArgument,
    checkpoint: CheckpointArgument = None,
    *,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its arrays: FILE.safetensors or FILE.weights.h5."),
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Its output files, into a new folder.")
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Of the arrays only the weights of the Keras model.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Over files that are there.")] = False,
    store: StoreOption = None,
) -> int:
    """Take arrays and output files out of a checkpoint, verified."""
    from outlast_provisioning.cli.checkpoints import export_checkpoint  # noqa: PLC0415

    return export_checkpoint(
        _store_of(job, store),
        job,
        checkpoint,
        to=to,
        outputs=outputs,
        weights=weights,
        force=force,
    )


def _store_of(job: str, store: str | None) -> Store:
    there = read_place(os.environ, store).store_of(job)
    must_exist(there, job)
    return there
