"""``submit --wait``: a controller inside, a live view, until the job has a result."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timezone

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from outlast_agent.records import RecordError
from outlast_agent.stores.base import Store, StoreError
from outlast_provisioning import exits
from outlast_provisioning.cli.views import status_panel
from outlast_provisioning.cli.visible import visible
from outlast_provisioning.controller import Controller
from outlast_provisioning.providers.base import Provider
from outlast_provisioning.reading import Status, for_status, last_events, read_status

REFRESH_SECONDS = 0.5

_CODES = {
    "finished": exits.OK,
    "failed": exits.JOB_FAILED,
    "cancelled": exits.JOB_CANCELLED,
}


def wait(
    store: Store, providers: dict[str, Provider], job: str, console: Console
) -> tuple[int, Status | None]:
    """Run a controller until ``job`` is over or held; the exit code and the last status.

    Ctrl-C ends the waiting, not the job: its machine trains on.
    """
    said: deque[str] = deque(maxlen=3)

    def say(text: str, **facts: object) -> None:
        if "error" in facts:
            said.append(f"{text}: {facts['error']}")

    stop = threading.Event()
    controller = Controller(store, providers, say=say)
    thread = threading.Thread(target=controller.run, args=(stop,), name="controller")
    thread.start()
    status: Status | None = None
    try:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while status is None or not (status.over or status.state == "held"):
                if not thread.is_alive():
                    console.print("the controller inside ended: start `outlast controller`")
                    return exits.FAULT, status
                try:
                    status = read_status(store, job)
                    now = datetime.now(timezone.utc)
                    panel = status_panel(status, for_status(last_events(store, job, 30), 8), now)
                    live.update(
                        Group(panel, *(Text(visible(line), style="yellow") for line in said))
                    )
                except (StoreError, RecordError) as error:
                    said.append(str(error))
                stop.wait(REFRESH_SECONDS)
            _clean_up(thread, controller, job)
    except KeyboardInterrupt:
        return exits.INTERRUPTED, status
    finally:
        stop.set()
        thread.join()
    return exits.JOB_HELD if not status.over else _CODES[str(status.outcome)], status


def _clean_up(thread: threading.Thread, controller: Controller, job: str) -> None:
    """Its machines are deleted before this returns; a minute is more than that takes."""
    for _ in range(600):
        if controller.done_with(job) or not thread.is_alive():
            return
        thread.join(0.1)
