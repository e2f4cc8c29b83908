"""Names of everything in the store, relative to its root. The one place that spells them.

See DESIGN: *The store*. Numbers are padded so that a listing is in order.
"""

from __future__ import annotations

import re

_JOB = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

BEATS = "beats/"
SIGNALS = "signals/"
CONTROLLERS = "controllers/"
JOBS = "jobs/"


def is_job_name(name: str) -> bool:
    """Lower-case letters, digits and hyphens, at most 63: also valid as a cloud resource tag."""
    return _JOB.fullmatch(name) is not None


def job_root(job: str) -> str:
    """Prefix of everything of one job; checkpoint keys of ``outlast.manifest`` go below it."""
    if not is_job_name(job):
        raise ValueError(f"{job!r:.100} is not the name of a job")
    return f"jobs/{job}/"


def job_file(job: str) -> str:
    """The frozen job."""
    return f"{job_root(job)}job.json"


def image(job: str) -> str:
    """The image's digest, written by the first attempt that pulled it."""
    return f"{job_root(job)}image.json"


def code(job: str, sha256: str) -> str:
    """The packed code."""
    return f"{job_root(job)}code/{sha256}"


def launch(job: str, number: int) -> str:
    """The intent to have a machine, written before the cloud is asked."""
    return f"{job_root(job)}launches/{number:06d}.json"


def launch_closed(job: str, number: int) -> str:
    """The launch is over, for ever: whoever sees its machine deletes it."""
    return f"{job_root(job)}launches/{number:06d}.closed.json"


def claim(job: str, attempt: int) -> str:
    """Who trains as this attempt."""
    return f"{job_root(job)}attempts/{attempt:06d}.json"


def attempt_notice(job: str, attempt: int) -> str:
    """This attempt's machine was given notice."""
    return f"{job_root(job)}attempts/{attempt:06d}.notice.json"


def attempt_end(job: str, attempt: int) -> str:
    """This attempt is over."""
    return f"{job_root(job)}attempts/{attempt:06d}.end.json"


def checkpoints(job: str) -> str:
    """Prefix of the manifests."""
    return f"{job_root(job)}checkpoints/"


def objects(job: str) -> str:
    """Prefix of the objects."""
    return f"{job_root(job)}objects/"


def link_probe(job: str, launch: int) -> str:
    """Prefix of what a machine writes for a moment, to measure how fast that is."""
    return f"{link_probes(job)}{launch:06d}-"


def link_probes(job: str) -> str:
    """Prefix of those of all machines."""
    return f"{job_root(job)}probes/"


def output(job: str, attempt: int, path: str) -> str:
    """An output file of a finished job."""
    return f"{job_root(job)}outputs/{attempt:06d}/{path}"


def log(job: str, attempt: int, number: int) -> str:
    """A chunk of the container's log."""
    return f"{job_root(job)}logs/{attempt:06d}/{number:06d}.log"


def logs(job: str, attempt: int | None = None) -> str:
    """Prefix of the log chunks, of one attempt or of all."""
    return f"{job_root(job)}logs/" + ("" if attempt is None else f"{attempt:06d}/")


def events(job: str) -> str:
    """Prefix of the events."""
    return f"{job_root(job)}events/"


def event(job: str, unix_microseconds: int, nonce: str) -> str:
    """One event; the stamp is for people and for the order of a listing."""
    return f"{job_root(job)}events/{unix_microseconds:018d}-{nonce}.json"


def result(job: str) -> str:
    """The job is over: finished, failed or cancelled."""
    return f"{job_root(job)}result.json"


def cancel(job: str) -> str:
    """A person wants the job to end."""
    return f"{job_root(job)}cancel.json"


def held(job: str) -> str:
    """Less is in the store than was said to be durable: a person decides."""
    return f"{job_root(job)}held.json"


def resumed(job: str, attempt: int) -> str:
    """What a person decided about the hold of this attempt; ``held.json`` is removed after it."""
    return f"{job_root(job)}resumed/{attempt:06d}.json"


def beat(job: str) -> str:
    """The heartbeat, the only thing that is overwritten."""
    return f"{BEATS}{job}"


def signal(job: str, attempt: int, kind: str) -> str:
    """Something to act on within a second: ``notice``, ``end``, ``finished``, ``cancel``..."""
    return f"{SIGNALS}{job}-{attempt:06d}-{kind}"


def controller(id: str) -> str:  # noqa: A002 - the design's word
    """A controller that watches; overwritten as a beat is."""
    return f"{CONTROLLERS}{id}"
