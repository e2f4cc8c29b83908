"""The command line of ``outlast-agent``.

``run`` is the daemon of a spot machine, ``status`` says what it does.

Exit codes of ``run``: 0, the machine may go (its unit or supervisor powers it off); 2, it
cannot run as it was called; anything else, start it again: it goes on from what it finds.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import queue
import resource
import signal
import sys
import time
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from outlast import __version__
from outlast_agent.spec import VERSION, JobSpec
from outlast_agent.status import status_lines

DEFAULT_ROOT = Path("/var/lib/outlast")
EX_USAGE = 2
EX_AGAIN = 1
EX_SIGPIPE = 141
LOCK_PATIENCE = 2.0
_MAX_SPEC = 1 << 20


def run(argv: list[str] | None = None) -> int:
    """Do what the arguments say; the exit code."""
    parser = argparse.ArgumentParser(
        prog="outlast-agent", description="The daemon on each spot machine."
    )
    parser.add_argument("--version", action="version", version=f"outlast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    daemon = commands.add_parser("run", help="train the job of a spec until the machine may go")
    daemon.add_argument("--spec", type=Path, required=True, help="the job spec, JSON")
    daemon.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where to keep things")
    status = commands.add_parser("status", help="what the daemon of this machine does")
    status.add_argument("--root", type=Path, default=DEFAULT_ROOT)
    status.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if options.command == "status":
        return _status(options.root, as_json=options.json)
    return _run(options.spec, options.root)


def _status(root: Path, *, as_json: bool) -> int:
    text, found = status_lines(root, as_json=as_json)
    if isinstance(sys.stdout, io.TextIOWrapper):  # an ASCII one under LC_ALL=C
        sys.stdout.reconfigure(errors="replace")  # which makes it no longer
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough
        return EX_SIGPIPE
    except OSError as error:
        _complain(f"the status cannot be written: {error.strerror}")
        return EX_AGAIN
    return 0 if found else 1


def _run(spec_path: Path, root: Path) -> int:
    try:
        spec = _read_spec(spec_path)
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / "lock").open("a")
        _take(lock)
    except BlockingIOError:
        return _complain(f"another daemon works in {root}: one is enough")
    except (OSError, ValueError) as error:
        return _complain(str(error))
    _raise_open_files()
    return _daemon(spec, root)


def _take(lock: IO[str]) -> None:
    """Be the one daemon, or raise BlockingIOError.

    One that was killed while it started a program is outlived by the fork for a moment, and so is
    its lock.
    """
    until = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def _daemon(spec: JobSpec, root: Path) -> int:
    # Imported late: `status` has to answer at once on a machine that swaps.
    from outlast_agent import giving_up  # noqa: PLC0415
    from outlast_agent.context import Context  # noqa: PLC0415
    from outlast_agent.daemon import Crashed, Daemon, Message, Told  # noqa: PLC0415
    from outlast_agent.folders import Folders  # noqa: PLC0415
    from outlast_agent.journal import open_journal  # noqa: PLC0415
    from outlast_agent.lifetime import read_life  # noqa: PLC0415
    from outlast_agent.runtimes.open import open_runtime  # noqa: PLC0415
    from outlast_agent.stores.base import StoreError  # noqa: PLC0415
    from outlast_agent.stores.open import open_store  # noqa: PLC0415
    from outlast_agent.watchers.open import open_watcher  # noqa: PLC0415

    journal = open_journal(job=spec.job, launch=spec.launch, machine=spec.machine)
    boot_id = _boot_id()
    folders = Folders(root, spec.job)
    inbox: queue.Queue[Message] = queue.Queue()
    began = time.monotonic()

    def surroundings() -> Context:
        return Context(
            spec=spec,
            folders=folders,
            store=open_store(spec.store),
            runtime=open_runtime(spec),
            journal=journal,
            boot_id=boot_id,
            crash=lambda error: inbox.put(Crashed(error)),
        )

    try:
        context = surroundings()
        journal.info("the daemon begins", store=spec.store, runtime=spec.runtime, pid=os.getpid())
        life = read_life(folders.lived, boot_id, began)
        daemon = Daemon(context, open_watcher(spec.watcher), life, inbox)
        signal.signal(signal.SIGTERM, lambda *_: inbox.put(Told()))
        reason = daemon.run()
    except ModuleNotFoundError:
        raise  # told in one line: starting again brings no package
    except Exception as error:
        if isinstance(error, StoreError):
            journal.error("the store cannot be used", error=str(error))
        else:
            journal.exception("the daemon failed; started again, it goes on from what it finds")
        why = giving_up.verdict(folders, boot_id, began, error)
        if why is None:
            return EX_AGAIN
        journal.error("the machine may go", reason=why)
        try:
            giving_up.tell(surroundings(), why)
        except Exception:  # what fails again and again may fail here too
            journal.exception("it could not be told")
        return 0
    if reason is None:
        journal.info("the daemon ends as it was told to; the command goes on")
        return 128 + signal.SIGTERM
    journal.info("the machine may go", reason=reason)
    return 0


def _read_spec(path: Path) -> JobSpec:
    """Raises OSError, ValueError with one line."""
    with path.open("rb") as file:
        data = file.read(_MAX_SPEC + 1)
    try:
        spec = JobSpec.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise ValueError(f"{path} is not a job spec: {where}: {first['msg']}") from error
    if spec.version > VERSION:
        raise ValueError(
            f"{path} has version {spec.version}, this Outlast reads up to {VERSION}: update it here"
        )
    return spec


def _boot_id() -> str:
    """Of this boot. A local machine, which shares its kernel, brings its own."""
    own = os.environ.get("OUTLAST_BOOT_ID")
    return own or Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _raise_open_files() -> None:
    """As many as the system allows: an upload holds every object of a checkpoint open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _complain(text: str) -> int:
    sys.stderr.write(f"outlast-agent: {text}\n")
    return EX_USAGE
