"""``submit`` and ``validate``: what is checked, what is told, and what Ctrl-C leaves behind."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from outlast_agent.spec import JobSpec
from outlast_agent.stores.base import NoLoginError, RefusedError, Store, UnavailableError
from outlast_agent.stores.open import open_store
from outlast_provisioning import exits, reading
from outlast_provisioning.checks import check_job_file
from outlast_provisioning.cli.place import InputError, Place
from outlast_provisioning.cli.terminal import err, now, print_json, tell
from outlast_provisioning.cli.views import status_panel, watched
from outlast_provisioning.cli.waiting import wait as wait_for
from outlast_provisioning.job import upkeep
from outlast_provisioning.parsing import BadJobError
from outlast_provisioning.providers.table import make_providers
from outlast_provisioning.reading import Status
from outlast_provisioning.submit import frozen, try_store
from outlast_provisioning.submit import submit as submit_job
from outlast_provisioning.upkeep import Upkeep, in_words

RECENT = 60
"""Events that a status reads; older warnings are in `outlast events`."""


def submit_file(place: Place, file: Path, *, wait: bool, as_json: bool = False) -> int:
    """Check, freeze, and say what it will cost and what to do next; the exit code."""
    if wait and as_json:
        raise InputError("give --wait or --json, not both: `outlast status --json` follows a job")
    checked = check_job_file(file, store=place.store, environ=os.environ)
    _warn(checked.warnings)
    there = open_store(checked.store)
    done = submit_job(checked, there)
    name = done.job.name
    _remember(place, name, checked.store)
    if done.outcome == "same":
        tell(f"Job {name} was submitted before, with the same content: nothing changed.")
    else:
        packed = f", code packed ({done.packed.files} files)" if done.packed else ""
        tell(f"Job {name} is submitted to {checked.store}{packed}.")
    others = watched(reading.controllers(there), now())
    spec, found = upkeep(done.job)
    if as_json:
        print_json(
            {
                "job": name,
                "store": checked.store,
                "outcome": done.outcome,
                "warnings": list(checked.warnings),
                "controller": others,
                "saves": _saves(spec, found),
            }
        )
    for line in in_words(spec, found):
        tell(line)
    if wait:
        if others:
            tell("Note: a controller watches this store already; both do the same, that is safe.")
        return _wait(place, there, name)
    if not others:
        tell(no_controller(there.url))
    tell(f"See how it goes: outlast status {name}")
    return exits.OK


def validate_file(place: Place, file: Path, *, as_json: bool) -> int:
    """Make the checks of a submit, and start nothing; the exit code."""
    faults: list[str] = []
    notes: list[str] = []
    saves: dict[str, object] = {}
    lines: list[str] = []
    try:
        checked = check_job_file(file, store=place.store, environ=os.environ)
        notes += checked.warnings
        spec, found = upkeep(frozen(checked, None))
        saves, lines = _saves(spec, found), in_words(spec, found)
        try_store(checked.store)
    except BadJobError as error:
        faults = error.lines
    except (RefusedError, NoLoginError) as error:
        faults = [f"{file}: {error}"]
    except UnavailableError as error:
        notes.append(f"the store was not checked: {error}")
    if as_json:
        print_json({"valid": not faults, "errors": faults, "warnings": notes, "saves": saves})
    else:
        _warn(notes)
        for line in faults or [f"{file}: fine", *lines]:
            tell(line)
    return exits.BAD_INPUT if faults else exits.OK


def _saves(spec: JobSpec, found: list[Upkeep]) -> dict[str, object]:
    """Seconds, bytes, and US dollars a day."""
    checkpoint = spec.checkpoint
    return {
        "every": checkpoint.every_seconds,
        "durable_every": checkpoint.durable_every_seconds,
        "max_overhead": checkpoint.max_overhead,
        "between_losses": checkpoint.between_losses_seconds,
        "estimates": [asdict(each) for each in found],
    }


def no_controller(store: str) -> str:
    """What to do where nobody watches."""
    return f"No controller watches this store. Start one: outlast controller --store {store}"


def _remember(place: Place, job: str, store: str) -> None:
    try:
        place.registry.remember(job, store)
    except OSError as error:
        tell(
            f"Note: {place.home} cannot be written ({error.strerror}): give --store {store} to "
            "every command, or set OUTLAST_HOME"
        )


def _wait(place: Place, store: Store, name: str) -> int:
    code, status = wait_for(store, make_providers(place.home), name, err)
    if status is not None:
        events = reading.for_status(reading.last_events(store, name, RECENT), 12)
        err.print(status_panel(status, events, now()))
    if code == exits.INTERRUPTED:
        for line in after_interrupt(name, store.url, status):
            tell(line)
    return code


def after_interrupt(name: str, store: str, status: Status | None) -> list[str]:
    """What goes on after Ctrl-C, what does not, and what to do. Pure."""
    controller = f"outlast controller --store {store}"
    if status is None or status.machine is None:
        told = [f"Job {name} stays submitted. It gets a machine from a controller: {controller}"]
    else:
        if status.durable_step is None:
            lost = "it would begin anew, nothing is saved yet"
        else:
            lost = f"it would go on from step {status.durable_step}, or what is saved by then"
        told = [
            f"Job {name} goes on: its machine {status.machine} runs by itself, and ends itself "
            "when the job is over.",
            f"If that machine is lost, a controller has to replace it ({lost}): {controller}",
        ]
    return [
        *told,
        f"Follow it: outlast status {name}, outlast logs -f {name}",
        f"End it: outlast cancel {name}",
    ]


def _warn(warnings: list[str] | tuple[str, ...]) -> None:
    for warning in warnings:
        tell(f"Note: {warning}")
