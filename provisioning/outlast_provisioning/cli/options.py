"""Options and arguments that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Store; else $OUTLAST_STORE, else as submitted."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Name of the job.")]
