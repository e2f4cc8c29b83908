"""What is wrong with an input, as far as this machine can know.

A job whose pools are all ``local`` finds its ``file://`` inputs here, and, without an image, puts
each at its ``to`` as a link.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from outlast_agent.stores.base import StoreError
from outlast_agent.stores.keys import check_key
from outlast_agent.stores.open import split_url
from outlast_provisioning.credentials import secret_value
from outlast_provisioning.jobfile import Input, JobFile

_SCHEMES = {"file", "s3", "az", "gs"}


def scheme_of(url: str) -> str:
    """The scheme of ``url``; empty if it is none."""
    try:
        return urlsplit(url).scheme
    except ValueError:  # brackets that hold no IPv6 address
        return ""


def input_faults(file: JobFile, index: int) -> list[str]:
    """What is wrong with the input ``index`` of ``file``, and what to do about it."""
    one = file.inputs[index]
    here = all(pool.provider == "local" for pool in file.pools)
    faults = []
    if scheme_of(one.source) not in _SCHEMES:
        faults.append(
            f"from: {one.source!r:.100} is not a URL: write file://, s3://, az:// or gs://"
        )
    elif here and scheme_of(one.source) == "file":
        faults += _source_faults(one)
    if secret_value(one.source) is not None:
        faults.append("from: the URL holds a credential: the machine's own identity is used")
    if not one.to.startswith("/") or ".." in Path(one.to).parts or one.to.rstrip("/") == "":
        faults.append(f"to: {one.to!r:.100} must be a whole path below /, like /data")
    elif any(Path(other.to) == Path(one.to) for other in file.inputs[:index]):
        faults.append(f"to: another input is put at {one.to!r:.100} already")
    elif here and file.image is None:
        faults += _target_faults(one)
    return faults


def _source_faults(one: Input) -> list[str]:
    base, _, name = one.source.rstrip("/").rpartition("/")
    if not base.startswith("file://") or not name:
        return [f"from: {one.source!r:.100} names no file: write file:///data/cats.zip"]
    try:
        parts = split_url(base)
        check_key(name, operation="fetch")
        if parts.netloc not in {"", "localhost"} or not f"{parts.path}/".startswith("/"):
            return [f"from: {one.source!r:.100} must name a whole path: file:///data/cats.zip"]
        path = Path(unquote(parts.path) or "/") / name
        there, folder = os.path.lexists(path), path.is_dir()
    except (StoreError, OSError) as error:  # a name that is too long, a NUL
        return [f"from: {error}"]
    shown, slash = f"{str(path)!r:.100}", one.source.endswith("/")
    if not there:
        return [f"from: {shown} is not on this machine: correct it, or put it there"]
    if folder and not slash:
        return [f"from: {shown} is a folder: end its URL with /"]
    if slash and not folder:
        return [f"from: {shown} is no folder: leave out the / at its end"]
    if not os.access(path, os.R_OK):
        return [f"from: {shown} cannot be read: correct its permissions"]
    return []


def _target_faults(one: Input) -> list[str]:
    path = Path(one.to)
    other = "without an image, choose a path that you may write to and where nothing is"
    try:
        # A link of an earlier machine is replaced, see runtimes/process.py.
        ours = path.is_symlink() and "inputs" in path.readlink().parts
        if os.path.lexists(path) and not ours:
            return [f"to: {one.to!r:.100} is there already: {other}"]
        above = next(parent for parent in path.parents if os.path.lexists(parent))
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            return [f"to: nothing can be put below {str(above)!r:.100}: {other}"]
    except (OSError, ValueError) as error:
        return [f"to: {one.to!r:.100} cannot be looked at: {error}"]
    return []
