"""The command ``outlast``. Every command reads its place, does one thing, says how it went."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from outlast_agent import layout
from outlast_agent.records import RecordError
from outlast_agent.stores.base import NotFoundError, RefusedError, Store, StoreError
from outlast_agent.stores.open import open_store
from outlast_provisioning import exits, reading
from outlast_provisioning.checks import Checked, check_job_file
from outlast_provisioning.cli.place import InputError, Place, read_place
from outlast_provisioning.cli.views import event_table, job_table, status_panel, watched
from outlast_provisioning.cli.waiting import wait as wait_for
from outlast_provisioning.controller import Controller
from outlast_provisioning.packing import PackError
from outlast_provisioning.parsing import BadJobError
from outlast_provisioning.persons import PersonError, cancel_job, resume_job
from outlast_provisioning.providers.base import GiveUpError, ProviderError
from outlast_provisioning.providers.table import make_providers
from outlast_provisioning.submit import TakenError
from outlast_provisioning.submit import submit as submit_job


def _leave(code: int) -> None:
    """Every command returns its exit code."""
    raise typer.Exit(code)


app = typer.Typer(
    result_callback=_leave,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Training that outlasts its machines. Exit codes: 0 done, 2 bad input, 3 job failed, "
    "4 cancelled, 5 held, 6 store or provider cannot be used now, 130 interrupted.",
)
RECENT = 60
"""Events that a status reads; older warnings are in `outlast events`."""
out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False, soft_wrap=True)

StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Store; else $OUTLAST_STORE, else as submitted."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Name of the job.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Job file (YAML).")]


@app.command()
def submit(
    file: FileArgument,
    store: StoreOption = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Run a controller here until the job is over.")
    ] = False,
) -> int:
    """Check a job file, freeze the job in its store, and return (or wait for its end)."""
    place = read_place(os.environ, store)
    checked = check_job_file(file, store=place.store, environ=os.environ)
    _warn(checked)
    there = open_store(checked.store)
    done = submit_job(checked, there)
    name = done.job.name
    _remember(place, name, checked.store)
    if done.outcome == "same":
        err.print(f"Job {name} was submitted before, with the same content: nothing changed.")
    else:
        packed = f", code packed ({done.packed.files} files)" if done.packed else ""
        err.print(f"Job {name} is submitted to {checked.store}{packed}.", markup=False)
    if wait:
        return _wait(place, there, name)
    if not watched(reading.controllers(there), _now()):
        err.print(
            f"No controller watches this store. Start one: outlast controller --store "
            f"{checked.store}",
            markup=False,
        )
    err.print(f"See how it goes: outlast status {name}", markup=False)
    return exits.OK


def _remember(place: Place, job: str, store: str) -> None:
    try:
        place.registry.remember(job, store)
    except OSError as error:
        err.print(
            f"Note: {place.home} cannot be written ({error.strerror}): give --store {store} to "
            "every command, or set OUTLAST_HOME",
            markup=False,
        )


def _wait(place: Place, store: Store, name: str) -> int:
    code, status = wait_for(store, make_providers(place.home), name, err)
    if status is not None:
        events = reading.for_status(reading.last_events(store, name, RECENT), 12)
        err.print(status_panel(status, events, _now()))
    if code == exits.INTERRUPTED:
        err.print(
            f"Job {name} is safe: its machine trains on, and saves. Without a controller it is "
            f"not moved to another machine. Go on with: outlast controller --store {store.url}\n"
            f"End it with: outlast cancel {name}",
            markup=False,
        )
    return code


@app.command()
def validate(file: FileArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Check a job file and start nothing."""
    place = read_place(os.environ, store)
    try:
        checked = check_job_file(file, store=place.store, environ=os.environ)
    except BadJobError as error:
        if not as_json:
            raise
        _print_json({"valid": False, "errors": error.lines})
        return exits.BAD_INPUT
    if as_json:
        _print_json({"valid": True, "errors": [], "warnings": checked.warnings})
    else:
        _warn(checked)
        err.print(f"{file}: fine", markup=False)
    return exits.OK


@app.command(name="ls")
def list_(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List the jobs."""
    place = read_place(os.environ, store)
    lines = [(url, line) for url in place.all_stores() for line in _lines(url)]
    if as_json:
        _print_json([{**asdict(line), "store": url} for url, line in lines])
    else:
        out.print(job_table([line for _, line in lines], _now()))
    return exits.OK


def _lines(url: str) -> list[reading.Line]:
    return reading.list_jobs(open_store(url))


@app.command()
def status(job: JobArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Where a job runs, since when, what is durable, what happened, what to do."""
    there = read_place(os.environ, store).store_of(job)
    _must_exist(there, job)
    found = reading.read_status(there, job)
    recent = reading.for_status(reading.last_events(there, job, RECENT), 10)
    if as_json:
        value = asdict(found)
        value["events"] = [event.model_dump() for event in recent]
        _print_json(value)
        return exits.OK
    out.print(status_panel(found, recent, _now()))
    if not found.over and not watched(reading.controllers(there), _now()):
        err.print(
            f"No controller watches this store. Start one: outlast controller --store {there.url}",
            markup=False,
        )
    return exits.OK


@app.command()
def events(job: JobArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """What happened to a job."""
    there = read_place(os.environ, store).store_of(job)
    _must_exist(there, job)
    found = [event for _, event in reading.events(there, job)]
    if as_json:
        _print_json([event.model_dump() for event in found])
    else:
        out.print(event_table(found))
    return exits.OK


@app.command()
def logs(
    job: JobArgument,
    store: StoreOption = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Until the job is over.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Of this attempt only.")] = None,
    as_json: JsonOption = False,
) -> int:
    """What the job's program wrote, over all its machines. With --json: one object a piece."""
    there = read_place(os.environ, store).store_of(job)
    _must_exist(there, job)
    after = ""
    while True:
        over = follow and reading.read_status(there, job).over
        for chunk in reading.log_chunks(there, job, attempt=attempt, after=after):
            after = chunk.key
            if as_json:
                _print_json({"attempt": chunk.attempt, "text": chunk.text}, indent=None)
            else:
                typer.echo(chunk.text, nl=False)
        sys.stdout.flush()
        if not follow or over:
            return exits.OK
        time.sleep(1.0)


@app.command()
def evict(
    job: JobArgument,
    store: StoreOption = None,
    notice: Annotated[bool, typer.Option(help="With notice, or at once as a crash.")] = True,
) -> int:
    """Have the job's machine evicted, to see what happens."""
    place = read_place(os.environ, store)
    there = place.store_of(job)
    _must_exist(there, job)
    found = reading.read_status(there, job)
    if found.machine is None or found.launch is None:
        raise InputError(f"job {job} has no machine now ({found.state}): nothing to evict")
    key = layout.launch(job, found.launch)
    provider = str(json.loads(there.read(key, limit=1 << 20))["provider"])
    make_providers(place.home, [provider])[provider].evict(found.machine, notice=notice)
    how = "with notice" if notice else "at once, without notice"
    err.print(f"Machine {found.machine} is being evicted, {how}.", markup=False)
    return exits.OK


@app.command()
def cancel(job: JobArgument, store: StoreOption = None) -> int:
    """End a job: it saves, stops, and its machine is deleted."""
    there = read_place(os.environ, store).store_of(job)
    _must_exist(there, job)
    err.print(cancel_job(there, job), markup=False)
    return exits.OK


@app.command()
def resume(
    job: JobArgument,
    checkpoint: Annotated[
        str, typer.Option("--from", metavar="CHECKPOINT", help="Go on from this checkpoint.")
    ],
    store: StoreOption = None,
) -> int:
    """Go on with a held job, from a checkpoint that a person chose."""
    there = read_place(os.environ, store).store_of(job)
    _must_exist(there, job)
    err.print(resume_job(there, job, checkpoint), markup=False)
    return exits.OK


@app.command()
def controller(
    store: StoreOption = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, act, and return.")] = False,
) -> int:
    """Watch a store: ask for machines, replace lost ones, delete what is not needed."""
    place = read_place(os.environ, store)
    there = place.one_store()
    watcher = Controller(there, make_providers(place.home), say=_say)
    if once:
        try:
            watcher.once()
        finally:
            watcher.close()
        return exits.OK
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    _say("watching", store=there.url, controller=watcher.id)
    watcher.run(stop)
    _say("no longer watching; jobs go on, without a controller none is moved")
    return exits.OK


@app.command()
def demo(
    evictions: Annotated[int, typer.Option(min=0, help="Evictions with notice.")] = 3,
    grace: Annotated[float, typer.Option(min=1, help="Seconds of notice.")] = 30.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Leave everything in this folder.")] = None,
) -> int:
    """See a training job lose its machines and end with the very same bits."""
    from outlast_provisioning.demo.story import run_demo  # noqa: PLC0415 - it needs more

    return run_demo(evictions, grace, json_file, keep)


def _must_exist(store: Store, job: str) -> None:
    try:
        store.read(layout.job_file(job))
    except NotFoundError as error:
        told = f"no job {job} in {store.url}: `outlast ls` shows what is there"
        raise InputError(told) from error


def _warn(checked: Checked) -> None:
    for warning in checked.warnings:
        err.print(f"Note: {warning}", markup=False)


def _say(text: str, **facts: Any) -> None:
    """One log line: when, a sentence, then key=value."""
    shown = " ".join(f"{key}={value}" for key, value in facts.items() if value is not None)
    typer.echo(f"{_now():%H:%M:%S} {text}" + (f"  {shown}" if shown else ""), err=True)


def _print_json(value: Any, *, indent: int | None = 1) -> None:
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def _now() -> datetime:
    return datetime.now(timezone.utc)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit code."""
    try:
        app(arguments, prog_name="outlast")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else exits.OK
    except BadJobError as error:
        for line in error.lines:
            typer.echo(line, err=True)
    except (InputError, TakenError, PackError, PersonError, RefusedError, GiveUpError) as error:
        typer.echo(f"outlast: {error}", err=True)
    except (StoreError, ProviderError, RecordError) as error:
        typer.echo(f"outlast: {error}", err=True)
        return exits.UNAVAILABLE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    return exits.BAD_INPUT
