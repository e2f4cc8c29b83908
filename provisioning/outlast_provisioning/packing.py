"""The code folder as one tar: the same content gives the same bytes, and so the same name."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pathspec import GitIgnoreSpec

MAX_BYTES = 100_000_000
_MAX_FILES = 50_000
_NEVER = frozenset({".git", "__pycache__", ".outlast", ".DS_Store"})


class PackError(Exception):
    """The code folder cannot be packed; the message says why and what to do."""


@dataclass(frozen=True)
class Packed:
    """A packed folder."""

    path: Path
    """The tar."""
    sha256: str
    size: int
    """Bytes of the tar."""
    files: int


def code_files(folder: Path, *, without: Collection[Path] = ()) -> list[tuple[str, Path, int]]:
    """What would be packed: (name in the tar, file, bytes), in order of name.

    Left out: what the ``.gitignore`` files in it say, version control, bytecode, virtual
    environments, local checkpoints, and ``without`` (the job file, the store). Raises PackError
    for what cannot be packed or is more than :data:`MAX_BYTES`.
    """
    if not folder.is_dir():
        raise PackError(f"the code folder {folder} is not a folder: give the folder of the script")
    try:
        found = sorted(_walk(folder, "", [], {path.resolve() for path in without}))
    except OSError as error:
        raise PackError(f"packing the code: {error}: make it readable or ignore it") from error
    total = sum(size for _, _, size in found)
    if total > MAX_BYTES or len(found) > _MAX_FILES:
        raise PackError(_too_much(folder, found, total))
    return found


def pack(folder: Path, target: Path, *, without: Collection[Path] = ()) -> Packed:
    """Write the tar of ``folder`` to ``target``. Raises PackError, OSError for ``target``."""
    files = code_files(folder, without=without)
    with (
        target.open("xb") as out,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path, size in files:
            try:
                with path.open("rb") as file:
                    _add(tar, name, file, size)
            except OSError as error:
                raise PackError(f"packing {path}: {error}: is it being written?") from error
    with target.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return Packed(target, digest.hexdigest(), target.stat().st_size, len(files))


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int) -> None:
    status = os.fstat(file.fileno())
    if status.st_size != size:
        raise OSError("it changed while it was packed")
    # Only what a command can see of the content: no times, owners or odd permissions.
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o755 if status.st_mode & 0o100 else 0o644
    tar.addfile(info, file)


def _walk(
    folder: Path, prefix: str, rules: list[tuple[str, GitIgnoreSpec]], without: set[Path]
) -> Iterator[tuple[str, Path, int]]:
    ignore = folder / ".gitignore"
    if ignore.is_file():
        lines = ignore.read_text(errors="replace").splitlines()
        rules = [*rules, (prefix, GitIgnoreSpec.from_lines(lines))]
    with os.scandir(folder) as entries:
        for entry in entries:
            name, path = prefix + entry.name, folder / entry.name
            if entry.name in _NEVER or entry.name.endswith(".pyc"):
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            if _ignored(name + "/" if is_folder else name, rules):
                continue
            if path.resolve() in without:
                continue
            if is_folder:
                if not (path / "pyvenv.cfg").exists():  # a virtual environment
                    yield from _walk(path, name + "/", rules, without)
                continue
            # A link to a file is packed as what it points to; what is no file has no content.
            status = entry.stat()
            if not stat.S_ISREG(status.st_mode):
                kind = "a link to a folder" if stat.S_ISDIR(status.st_mode) else "no file"
                raise PackError(
                    f"{path} is {kind}: add it to .gitignore, and bring data by `inputs`"
                )
            yield name, path, status.st_size


def _ignored(name: str, rules: list[tuple[str, GitIgnoreSpec]]) -> bool:
    # As in git, the .gitignore nearest to the file has the last word.
    for prefix, spec in reversed(rules):
        verdict = spec.check_file(name.removeprefix(prefix)).include
        if verdict is not None:
            return verdict
    return False


def _too_much(folder: Path, found: list[tuple[str, Path, int]], total: int) -> str:
    advice = "add data to .gitignore and bring it by `inputs`"
    if len(found) > _MAX_FILES:
        return f"the code folder {folder} has more than {_MAX_FILES} files: {advice}"
    largest = sorted(found, key=lambda item: -item[2])[:3]
    named = ", ".join(f"{name} ({size / 1e6:.0f} MB)" for name, _, size in largest)
    return (
        f"the code folder {folder} has {total / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:.0f} MB "
        f"are packed; the largest: {named}: {advice}"
    )
