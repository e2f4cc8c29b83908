"""Where a job stands: one word for it, what it does or waits for, what a person can do. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from outlast_agent import layout
from outlast_agent.records import Beat, Held, LaunchClosed, Result
from outlast_provisioning.units import for_people

State = Literal[
    "waiting", "starting", "training", "stopping", "cancelling", "held", "finished", "failed",
    "cancelled",
]  # fmt: skip

_WAITS = {
    "no-capacity": "no pool has a machine for it",
    "never-claimed": "its last machine did not begin to train",
    "setup-failed": "the set-up of its last machine failed",
}
_STARTING = ("preparing", "claiming", "restoring", "starting", "adopting")
_STOPPING = ("stopping", "flushing", "ending", "leaving")
_ACTIVITIES = {
    "starting": "the program starts",
    "restoring": "the program brings back its state",
    "tracing": "tracing the first step",
    "validation": "in validation",
    "between": "between two calls of fit",
    "saving": "saving",
}
"""While a step is due, nothing is said: then its number and its pace tell more."""
LONG_SECONDS = 60.0
"""What the program does beside training is told with its duration from then on: it may hang."""


class Standing(NamedTuple):
    """Where a job stands."""

    state: State
    detail: str
    """What it does or waits for."""
    todo: str
    """What a person can do now; empty: nothing is needed."""


def standing(
    name: str,
    *,
    result: Result | None,
    cancelled: bool,
    held: Held | None,
    live: bool,
    launched: bool,
    beat: Beat | None,
    closed: LaunchClosed | None,
) -> Standing:
    """From what the store shows: is an attempt ``live``, is a machine ``launched``.

    ``beat`` is that machine's last word, ``closed`` the end of the newest launch.
    """
    if result is not None:
        todo = f"see `outlast logs {name}`, mend it, submit it under another name"
        return Standing(result.outcome, result.message, todo if result.outcome == "failed" else "")
    if cancelled:
        return Standing("cancelling", "it is told to save, if it saves, and stop", "")
    if held is not None:
        resume = f"`outlast resume {name} --from {held.found or 'CHECKPOINT'}`"
        left = "" if held.found else " (no checkpoint is left)"
        todo = f"look for {held.expected}; or go on: {resume}{left}"
        return Standing("held", held.message, todo)
    if live and beat is not None:
        state: State = "stopping" if beat.phase in _STOPPING else "training"
        if beat.phase in _STARTING:
            state = "starting"
        return Standing(state, _doing(beat, state), "")
    if live:
        return Standing("starting", "claimed, not heard of yet", "")
    if launched:
        detail = "the machine is coming up" if beat is None else _doing(beat, "starting")
        return Standing("starting", detail, "")
    if closed is not None and closed.reason in _WAITS:
        again = f"; asked again at about {closed.again[11:19]} UTC" if closed.again else ""
        return Standing("waiting", f"{_WAITS[closed.reason]}{again}", "")
    todo = "it needs a controller: `outlast controller`"
    return Standing("waiting", "no machine is asked for", todo)


def _doing(beat: Beat, state: str) -> str:
    if beat.detail or beat.phase != "training":
        return beat.detail or (beat.phase if beat.phase != state else "")
    words = _ACTIVITIES.get(beat.activity, "")
    lasts = beat.activity_age is not None and beat.activity_age >= LONG_SECONDS
    return f"{words}, for {for_people(beat.activity_age)}" if words and lasts else words


def where_files_are(store: str, name: str, attempt: int) -> str:
    """How to get the output files of a finished job."""
    url = f"{store.rstrip('/')}/{layout.output(name, attempt, '')}"
    parts = urlsplit(url)
    match parts.scheme:
        case "s3":
            return f"fetch its files: aws s3 cp --recursive {url} ."
        case "gs":
            return f"fetch its files: gcloud storage cp --recursive {url} ."
        case "az":
            container, _, prefix = parts.path.lstrip("/").partition("/")
            return (
                f"fetch its files: az storage blob download-batch --account-name {parts.netloc} "
                f"--source {container} --pattern '{prefix}*' --destination ."
            )
    return f"its files are in {url.removeprefix('file://')}"
