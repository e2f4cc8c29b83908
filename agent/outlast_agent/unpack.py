"""Unpacking archives that others made: nothing outside the folder, no links out, bounded.

Python 3.12 made the ``data`` filter of :mod:`tarfile` the sane choice; 3.10 and 3.11 have it in
their later releases only, so what it promises is checked here for all.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MAX_FILES = 2_000_000
_CHUNK = 1 << 20
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
    ValueError,
)  # fmt: skip


class UnpackError(Exception):
    """An archive that is damaged or not safe to unpack; the message is one line."""


def unpack(archive: Path, folder: Path, *, limit: int) -> None:
    """Unpack a tar (compressed or not) or zip file into the empty ``folder``.

    At most ``limit`` bytes and :data:`MAX_FILES` names. Only regular files, folders, and links
    that stay inside. Owners are dropped, of the mode the executable bits stay. Raises
    UnpackError, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder, limit)
        else:
            _untar(archive, folder, limit)
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; gzip and bzip2 tell damage by an OSError without a number
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise UnpackError(f"{archive.name} cannot be unpacked: {why}") from error


def _untar(archive: Path, folder: Path, limit: int) -> None:
    size = count = 0
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            count += 1
            size += max(0, member.size) if member.isreg() else 0
            _bound(archive, size, count, limit)
            target = _inside(folder, member.name, archive)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                source = tar.extractfile(member)
                if source is None:
                    raise UnpackError(f"{archive.name} has no content for {member.name!r:.200}")
                with source, _new_file(target, archive) as file:
                    shutil.copyfileobj(source, file, _CHUNK)
                target.chmod(0o644 | (member.mode & 0o111))
            elif member.issym():
                _check_target(folder, member, archive)
                _make_room(target, archive)
                target.symlink_to(member.linkname)
            elif member.islnk():
                source_path = _inside(folder, member.linkname, archive)
                if not source_path.is_file() or source_path.is_symlink():
                    # A symbolic link that is also in another folder leads elsewhere from there.
                    raise UnpackError(
                        f"{archive.name} holds {member.name!r:.200}, a hard link to no file"
                    )
                _make_room(target, archive)
                target.hardlink_to(source_path)
            else:
                raise UnpackError(
                    f"{archive.name} holds {member.name!r:.200}, which is no file, folder or link"
                )


def _unzip(archive: Path, folder: Path, limit: int) -> None:
    size = 0
    with zipfile.ZipFile(archive) as file:
        for count, member in enumerate(file.infolist(), 1):
            size += member.file_size
            _bound(archive, size, count, limit)
            target = _inside(folder, member.filename, archive)
            mode = member.external_attr >> 16
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise UnpackError(f"{archive.name} holds {member.filename!r:.200}, no plain file")
            with file.open(member) as source, _new_file(target, archive) as out:
                # A header may lie about the size; ZipExtFile reads no more than it says.
                shutil.copyfileobj(source, out, _CHUNK)
            target.chmod(0o644 | (mode & 0o111))


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Where ``name`` goes: below ``folder``, through no link. Raises UnpackError."""
    parts: list[str] = []
    for part in PurePosixPath(name).parts:
        if part == "..":
            if not parts:
                break
            parts.pop()
        else:
            parts.append(part)
    else:
        if not PurePosixPath(name).is_absolute() and "\0" not in name:
            path = folder
            for part in parts[:-1]:
                path /= part
                if path.is_symlink():
                    raise UnpackError(f"{archive.name} holds {name!r:.200} below a link")
            return folder.joinpath(*parts)
    raise UnpackError(f"{archive.name} holds {name!r:.200}, which leads out of its folder")


def _check_target(folder: Path, link: tarfile.TarInfo, archive: Path) -> None:
    """A link may go up first and then down, inside: further ups could cross other links."""
    parts = list(PurePosixPath(link.linkname).parts)
    while parts and parts[0] == "..":
        parts.pop(0)
    if PurePosixPath(link.linkname).is_absolute() or ".." in parts:
        raise UnpackError(f"{archive.name} holds {link.name!r:.200}, which leads out of its folder")
    _inside(folder, f"{PurePosixPath(link.name).parent}/{link.linkname}", archive)


def _make_room(target: Path, archive: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        raise UnpackError(f"{archive.name} holds {target.name!r:.200} twice")


def _new_file(target: Path, archive: Path) -> BinaryIO:
    _make_room(target, archive)
    return target.open("xb")


def _bound(archive: Path, size: int, count: int, limit: int) -> None:
    if size > limit or count > MAX_FILES:
        raise UnpackError(
            f"{archive.name} unpacks to more than {limit / 1e6:,.0f} MB or {MAX_FILES:,} files"
        )
