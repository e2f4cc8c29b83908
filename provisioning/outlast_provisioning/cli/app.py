"""The command ``outlast``. Every command reads its place, does one thing, says how it went."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from outlast import __version__
from outlast_agent import layout
from outlast_agent.records import RecordError
from outlast_agent.stores.base import (
    NoLoginError,
    RefusedError,
    Store,
    StoreError,
)
from outlast_provisioning import exits, reading
from outlast_provisioning.cli.checkpoint_commands import commands as checkpoint_commands
from outlast_provisioning.cli.options import JobArgument, JsonOption, StoreOption
from outlast_provisioning.cli.place import InputError, must_exist, open_existing, read_place
from outlast_provisioning.cli.streams import (
    abandon,
    is_of_output,
    take_any_text,
    write_bytes,
)
from outlast_provisioning.cli.submitting import RECENT, no_controller, submit_file, validate_file
from outlast_provisioning.cli.terminal import complain, now, out, print_json, say, tell
from outlast_provisioning.cli.views import event_table, job_table, status_panel, watched
from outlast_provisioning.cli.visible import visible_log
from outlast_provisioning.controller import OTHER_CONTROLLER, Controller
from outlast_provisioning.listing import Line, list_jobs
from outlast_provisioning.packing import PackError
from outlast_provisioning.parsing import BadJobError
from outlast_provisioning.persons import PersonError, cancel_job, is_over, resume_job
from outlast_provisioning.providers.base import GiveUpError, ProviderError
from outlast_provisioning.providers.table import make_providers
from outlast_provisioning.submit import TakenError


def _leave(code: int, **_: object) -> None:
    """Every command returns its exit code; options of the program come along."""
    raise typer.Exit(code)


app = typer.Typer(
    result_callback=_leave,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Training that outlasts its machines. Exit codes: 0 done, 2 bad input, 3 job failed, "
    "4 cancelled, 5 held, 6 store, provider or output cannot be used now, 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"outlast {__version__}")
        raise typer.Exit(exits.OK)


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which, and leave."),
    ] = False,
) -> None: ...


app.add_typer(checkpoint_commands, name="checkpoints")


FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Job file (YAML); - is stdin.")]


@app.command()
def submit(
    file: FileArgument,
    store: StoreOption = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Run a controller here until the job is over.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Check a job file, freeze the job in its store, and return (or wait for its end)."""
    return submit_file(read_place(os.environ, store), file, wait=wait, as_json=as_json)


@app.command()
def validate(file: FileArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Make every check of a submit, the store's too, and start nothing."""
    return validate_file(read_place(os.environ, store), file, as_json=as_json)


@app.command(name="ls")
def list_(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List the jobs."""
    urls = read_place(os.environ, store).all_stores()
    found: list[tuple[str, Line]] = []
    code = exits.OK
    for url in urls:
        try:
            found += [(url, line) for line in list_jobs(open_existing(url))]
        except (InputError, StoreError) as error:
            if len(urls) == 1:
                raise
            tell(f"Note: {error}")
            if isinstance(error, StoreError):
                code = exits.UNAVAILABLE
    if as_json:
        print_json([{**asdict(line), "store": url} for url, line in found])
    elif found:
        out.print(job_table([line for _, line in found], now()))
    else:
        tell(f"No jobs in {', '.join(urls)}. Submit one: outlast submit job.yaml")
    return code


@app.command()
def status(job: JobArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Where a job runs, since when, what is durable, what happened, what to do."""
    there = read_place(os.environ, store).store_of(job)
    must_exist(there, job)
    found = reading.read_status(there, job)
    recent = reading.for_status(reading.last_events(there, job, RECENT), 10)
    if as_json:
        value = asdict(found)
        value["events"] = [event.model_dump() for event in recent]
        print_json(value)
        return exits.OK
    out.print(status_panel(found, recent, now()))
    if not found.over:
        _see_to_it(there)
    return exits.OK


@app.command()
def events(job: JobArgument, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """What happened to a job."""
    there = read_place(os.environ, store).store_of(job)
    must_exist(there, job)
    found = [event for _, event in reading.events(there, job)]
    if as_json:
        print_json([event.model_dump() for event in found])
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
    must_exist(there, job)
    after = ""
    while True:
        over = follow and reading.read_status(there, job).over
        for chunk in reading.log_chunks(there, job, attempt=attempt, after=after):
            after = chunk.key
            if as_json:
                print_json({"attempt": chunk.attempt, "text": chunk.text}, indent=None)
            elif sys.stdout.isatty():
                typer.echo(visible_log(chunk.text), nl=False)
            else:
                write_bytes(chunk.data)  # as the program wrote it
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
    must_exist(there, job)
    found = reading.read_status(there, job)
    if found.machine is None or found.launch is None:
        raise InputError(f"job {job} has no machine now ({found.state}): nothing to evict")
    key = layout.launch(job, found.launch)
    provider = str(json.loads(there.read(key, limit=1 << 20))["provider"])
    make_providers(place.home, [provider])[provider].evict(found.machine, notice=notice)
    how = "with notice" if notice else "at once, without notice"
    tell(f"Machine {found.machine} is being evicted, {how}.")
    return exits.OK


@app.command()
def cancel(job: JobArgument, store: StoreOption = None) -> int:
    """End a job: it saves, stops, and its machine is deleted."""
    there = read_place(os.environ, store).store_of(job)
    must_exist(there, job)
    tell(cancel_job(there, job))
    if not is_over(there, job):
        _see_to_it(there)
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
    must_exist(there, job)
    tell(resume_job(there, job, checkpoint))
    _see_to_it(there)
    return exits.OK


@app.command()
def controller(
    store: StoreOption = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, act, and return.")] = False,
) -> int:
    """Watch a store: ask for machines, replace lost ones, delete what is not needed."""
    place = read_place(os.environ, store)
    there = place.one_store()
    watcher = Controller(there, make_providers(place.home), say=say)
    if once:
        return _once(there, watcher)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    say("watching", store=there.url, controller=watcher.id)
    watcher.run(stop)
    say("no longer watching; jobs go on, without a controller none is moved")
    return exits.OK


def _once(store: Store, watcher: Controller) -> int:
    # One look is too short to see another's word change: its stamp has to do, for people only.
    for other in reading.controllers(store):
        if watched([other], now()):
            say(OTHER_CONTROLLER, controller=other.id, host=other.host, pid=other.pid)
    try:
        watcher.once()
    finally:
        watcher.close()
    say("looked once", store=store.url, jobs=watcher.jobs)
    return exits.UNAVAILABLE if watcher.troubled else exits.OK


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


def _see_to_it(store: Store) -> None:
    if not watched(reading.controllers(store), now()):
        tell(no_controller(store.url))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit code."""
    take_any_text()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `outlast logs j | head`: whoever reads has enough
        code = exits.NOBODY_READS
    except OSError as error:
        if not is_of_output(error):
            raise
        with contextlib.suppress(OSError):  # it may be stderr
            complain(f"outlast: the output cannot be written: {error.strerror}")
        code = exits.UNAVAILABLE
    else:
        return code
    abandon()
    return code


def _run(arguments: list[str] | None) -> int:
    try:
        app(arguments, prog_name="outlast")
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # typer and rich make a 1 of it
            raise left.__context__ from None
        return left.code if isinstance(left.code, int) else exits.OK
    except BadJobError as error:
        for line in error.lines:
            complain(line)
    except (
        InputError,
        TakenError,
        PackError,
        PersonError,
        RefusedError,
        NoLoginError,
        GiveUpError,
    ) as error:
        complain(f"outlast: {error}")
    except (StoreError, ProviderError, RecordError) as error:
        complain(f"outlast: {error}")
        return exits.UNAVAILABLE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    return exits.BAD_INPUT
