"""A job file read and checked: everything that is wrong with it, one line each, with its place.

YAML becomes nodes (which know their lines), nodes become plain data, and the models of
``jobfile`` check that. Nothing is started and no network is asked here.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from outlast_agent.stores.beneath import checked
from outlast_provisioning.complaints import Complaint, Path_, complaints_of
from outlast_provisioning.jobfile import VERSION, JobFile

STDIN = Path("-")
"""In place of a file: what is piped in. Its relative paths begin at the working folder."""
MAX_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 20
_MAX_SHOWN = 40
_MAX_BITS = 128
_KINDS = {
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:timestamp": "a date",
}
_UNREADABLE = object()
_NO_VALUE = (yaml.YAMLError, ValueError, LookupError, AttributeError)
"""What PyYAML raises for `!!int x`, `!!bool maybe`, `!!float ""` and `!!timestamp x`."""


class BadJobError(Exception):
    """The job file cannot be used; ``lines`` has one line for each thing that is wrong."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Places:
    """The line of every field of one file."""

    def __init__(self, file: str, lines: dict[Path_, int]) -> None:
        self.file = file
        self._lines = lines

    def error(self, complaints: list[Complaint]) -> BadJobError:
        """All of ``complaints`` as one error, in the order of the file."""
        ordered = sorted(complaints, key=lambda complaint: self._line(complaint.path))
        return BadJobError([self._text(complaint) for complaint in ordered])

    def _text(self, complaint: Complaint) -> str:
        field = f"{complaint.field}: " if complaint.path else ""
        return f"{self.file}:{self._line(complaint.path)}: {field}{complaint.text}"

    def _line(self, path: Path_) -> int:
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


def parse_job(text: bytes, *, file: str) -> tuple[JobFile, Places]:
    """Check ``text``. Raises BadJobError with all that is wrong."""
    if len(text) > MAX_BYTES:
        raise BadJobError([f"{file}:1: longer than {MAX_BYTES >> 20} MiB: is it a job file?"])
    lines: dict[Path_, int] = {}
    complaints: list[Complaint] = []
    try:
        root = yaml.compose(text.decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise BadJobError([f"{file}:1: not UTF-8 text (byte {error.start})"]) from error
    except RecursionError as error:
        raise BadJobError([f"{file}:1: nested too deeply to be a job file"]) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadJobError([f"{file}:{line}: not YAML: {error.problem or error.context}"]) from error
    except yaml.YAMLError as error:
        raise BadJobError([f"{file}:1: not YAML: {error!s:.200}".replace("\n", " ")]) from error
    if not isinstance(root, yaml.MappingNode):
        raise BadJobError([f"{file}:1: a job file is a list of fields, like `name: digits`"])
    plain = _Plain(file, lines, complaints)
    data = plain.mapping(root, ())
    places = Places(file, lines)
    if complaints:
        raise places.error(complaints)
    version = data.get("version")
    if isinstance(version, (bool, float)):  # equal to 1, as Python sees it
        told = f"must be {VERSION}, not {str(version).lower()}"
        raise places.error([Complaint(("version",), told)])
    if isinstance(version, int) and version > VERSION:
        newer = f"version {version} is newer than this Outlast reads ({VERSION}): update outlast"
        raise places.error([Complaint(("version",), newer)])
    try:
        return JobFile.model_validate_json(json.dumps(data)), places
    except ValidationError as error:
        raise places.error(complaints_of(error, plain.written)) from error


class _Plain:
    """YAML nodes to plain data; notes lines, and complains of keys given twice."""

    def __init__(self, file: str, lines: dict[Path_, int], complaints: list[Complaint]) -> None:
        self._file = file
        self._lines = lines
        self._complaints = complaints
        self._constructor = yaml.SafeLoader("")
        self._left = _MAX_NODES
        self.written: dict[Path_, str] = {}
        """Numbers and booleans as they stand in the file."""

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        self._lines.setdefault(path, node.start_mark.line + 1)
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                place = (*path, "?")
                self._lines[place] = key_node.start_mark.line + 1
                told = "a list or a group cannot be a name: write `name: value`"
                self._complaints.append(Complaint(place, told))
                continue
            key = str(key_node.value)
            if key == "<<":
                self._complaints.append(Complaint((*path, key), "merge keys are not read here"))
                continue
            place = (*path, key)
            self._lines[place] = key_node.start_mark.line + 1
            self._check_text(key, place)
            if key in value:
                self._complaints.append(Complaint((*path, key), "given twice: remove one"))
            value[key] = self._any(value_node, (*path, key))
        return value

    def _any(self, node: yaml.Node, path: Path_) -> Any:
        self._left -= 1
        line = node.start_mark.line + 1
        if self._left < 0:
            raise BadJobError([f"{self._file}:{line}: too many values for a job file"])
        if len(path) > _MAX_DEPTH:
            raise BadJobError([f"{self._file}:{line}: nested too deeply to be a job file"])
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        self._lines.setdefault(path, line)
        if isinstance(node, yaml.SequenceNode):
            return [self._any(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: Path_) -> Any:
        written = node.value if len(node.value) <= _MAX_SHOWN else f"{node.value[:_MAX_SHOWN]}..."
        try:
            value = self._constructor.construct_object(node, deep=True)
        except _NO_VALUE:
            value = b"" if node.tag not in _KINDS else _UNREADABLE
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            value = _UNREADABLE
        if value is _UNREADABLE:
            told = f"{written} cannot be read as {_KINDS[node.tag]}: if it is text, quote it"
            self._complaints.append(Complaint(path, told))
        elif isinstance(value, bytes):
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._complaints.append(Complaint(path, f"{tag} is not read here: write plain text"))
        elif isinstance(value, date):
            return node.value  # as it was written
        elif isinstance(value, str):
            self._check_text(value, path)
        elif value is not None:
            self.written[path] = written
        return value

    def _check_text(self, text: str, path: Path_) -> None:
        half = next((letter for letter in text if "\ud800" <= letter <= "\udfff"), None)
        if half is not None:
            told = f"\\u{ord(half):x} is half of a character: write the character itself"
            self._complaints.append(Complaint(path, told))


def read_job_file(path: Path) -> tuple[JobFile, Places]:
    """Read and check the file at ``path``; ``-`` is stdin. Raises BadJobError."""
    name = "stdin" if path == STDIN else str(path)
    try:
        return parse_job(_stdin() if path == STDIN else _content(path), file=name)
    except OSError as error:
        raise BadJobError([f"{name}: cannot be read: {error.strerror}"]) from error


def _content(path: Path) -> bytes:
    # Without waiting: a pipe to which nobody writes would hold us for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadJobError([f"{path}: is a pipe: give `-` as the file, and the pipe as stdin"])
    with checked(descriptor, str(path)) as file:
        return file.read(MAX_BYTES + 1)


def _stdin() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise BadJobError(["stdin: nothing is piped in: name a job file, or write `< job.yaml`"])
    return sys.stdin.buffer.read(MAX_BYTES + 1)
