"""What a job file cannot know by itself: is the command there, is the store a store, is it safe.

:func:`object_to` looks at this machine only: its files, its commands, its container engine.
Asking the store is ``submit``'s work.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from outlast_agent.stores.base import RefusedError
from outlast_agent.stores.open import split_url
from outlast_provisioning.complaints import Complaint
from outlast_provisioning.credentials import looks_secret, secret_value
from outlast_provisioning.engine import engine_fault
from outlast_provisioning.inputs import input_faults, scheme_of
from outlast_provisioning.jobfile import JobFile
from outlast_provisioning.parsing import STDIN, read_job_file
from outlast_provisioning.providers.table import PROVIDERS

STORE_FORMS = (
    "file:///folder, s3://bucket/prefix, az://account/container/prefix, gs://bucket/prefix"
)
_SCHEMES = {"file", "s3", "az", "gs"}


@dataclass(frozen=True)
class Checked:
    """A job file that may be submitted."""

    path: Path
    """Of the job file."""
    file: JobFile
    """With ``store`` a whole URL."""
    code: Path | None
    """The code folder."""
    warnings: tuple[str, ...]
    """One line each."""

    @property
    def store(self) -> str:
        """URL of the store."""
        assert self.file.store is not None
        return self.file.store


def check_job_file(path: Path, *, store: str | None, environ: Mapping[str, str]) -> Checked:
    """Read the file at ``path`` and check it; ``store`` is used before the file's own.

    Raises BadJobError with one line for each thing that is wrong.
    """
    file, places = read_job_file(path)
    folder = Path.cwd() if path == STDIN else path.resolve().parent
    code = None if file.code is None else (folder / file.code).resolve()
    chosen = store or file.store or environ.get("OUTLAST_STORE")
    complaints = [*object_to(file, code, environ), *_store_complaints(chosen, folder)]
    if complaints:
        raise places.error(complaints)
    assert chosen is not None
    file = file.model_copy(update={"store": whole_url(chosen, folder)})
    return Checked(path, file, code, tuple(_warnings(file, path)))


_NO_SECRETS = (
    "this file is stored and passed on: give it to the machine another way, until a later version "
    "has `secrets:`"
)


def object_to(file: JobFile, code: Path | None, environ: Mapping[str, str]) -> list[Complaint]:
    """Everything in ``file`` that could not work or should not be."""
    complaints = []
    for name, value in file.env.items():
        why = looks_secret(name, value)
        if why is not None:
            told = f"{why}; {_NO_SECRETS}"
            complaints.append(Complaint(("env", name), told))
    for index, word in enumerate(file.command):
        kind = secret_value(word)
        if kind is not None:
            told = f"looks like {kind}; {_NO_SECRETS}"
            complaints.append(Complaint(("command", index), told))
    for index in range(len(file.inputs)):
        faults = input_faults(file, index)
        complaints += [Complaint(("inputs", index), text) for text in faults]
    for index, pool in enumerate(file.pools):
        if pool.provider not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            told = f"no provider {pool.provider!r:.50} in this version; write one of: {known}"
            complaints.append(Complaint(("pools", index, "provider"), told))
        elif pool in file.pools[:index]:
            complaints.append(Complaint(("pools", index), "this pool is in the list already"))
    if file.image is None:
        complaints += _command_faults(file, code, environ)
    elif any(character.isspace() for character in file.image):
        complaints.append(Complaint(("image",), "an image's name has no spaces"))
    elif any(pool.provider == "local" for pool in file.pools):
        fault = engine_fault(environ)
        complaints += [] if fault is None else [Complaint(("image",), fault)]
    if code is not None and not code.is_dir():
        complaints.append(Complaint(("code",), f"{code} is not a folder"))
    return complaints


def _command_faults(
    file: JobFile, code: Path | None, environ: Mapping[str, str]
) -> list[Complaint]:
    if code is None:
        told = "missing; without an image the command runs in this folder: write `code: .`"
        return [Complaint(("code",), told)]
    program = file.command[0]
    if "/" in program:
        path = code / program
        if not path.is_file():
            return [Complaint(("command", 0), f"{program} is not in the code folder {code}")]
        if not os.access(path, os.X_OK):
            told = f"{program} is not executable: run `chmod +x {path}`, or name its interpreter"
            return [Complaint(("command", 0), told)]
    elif shutil.which(program, path=search_path(environ)) is None:
        hint = f": write ./{program}" if (code / program).is_file() else ""
        return [Complaint(("command", 0), f"{program} is not a command of this machine{hint}")]
    script = _script(file.command)
    if script is not None and not (code / file.command[script]).is_file():
        told = f"{file.command[script]} is not in the code folder {code}"
        return [Complaint(("command", script), told)]
    return []


def _script(command: tuple[str, ...]) -> int | None:
    """Index of the script in ``python [-u] train.py ...``, or None."""
    if not Path(command[0]).name.startswith("python"):
        return None
    for index, word in enumerate(command[1:], start=1):
        if word.endswith(".py") and not word.startswith("/"):
            return index
        if not word.startswith("-") or word in ("-m", "-c", "-"):
            return None
    return None


def search_path(environ: Mapping[str, str]) -> str:
    """PATH on a machine of the local provider: this Python's folder comes first."""
    return os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])


def _store_complaints(url: str | None, folder: Path) -> list[Complaint]:
    if url is None:
        told = "missing; write for example `store: file:///home/me/outlast`, or give --store"
        return [Complaint(("store",), told)]
    if scheme_of(url) not in _SCHEMES:
        return [Complaint(("store",), f"{url!r:.100} is not the URL of a store: {STORE_FORMS}")]
    if secret_value(url) is not None or "@" in urlsplit(url).netloc:
        told = "the URL holds a credential: take it out, credentials come from the environment"
        return [Complaint(("store",), told)]
    try:
        whole_url(url, folder)
    except RefusedError as error:
        return [Complaint(("store",), str(error))]
    return []


def whole_url(url: str, folder: Path) -> str:
    """``url``, with ``file://./store`` and ``file://~/store`` made whole.

    Raises RefusedError for what is no URL, and for the home of nobody.
    """
    parts = split_url(url)
    if parts.scheme != "file":
        return url.rstrip("/")
    text = url.removeprefix("file://").removeprefix("localhost")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        told = f"{url!r:.100} names the home of nobody: correct the URL of the store"
        raise RefusedError(told) from error
    return f"file://{os.path.normpath(folder / path)}"


def _warnings(file: JobFile, path: Path) -> list[str]:
    limits = [name for name, value in file.resources.model_dump().items() if value]
    if limits and file.image is None:
        return [
            f"{path}: resources ({', '.join(limits)}) do not limit plain processes of the local "
            "provider; give an `image` to run in a container"
        ]
    if file.resources.disk is not None:
        return [f"{path}: resources.disk is not used by the local provider"]
    return []
