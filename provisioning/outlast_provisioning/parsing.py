"""A job file read and checked: everything that is wrong with it, one line each, with its place.

YAML becomes nodes (which know their lines), nodes become plain data, and the models of
``jobfile`` check that. Nothing is started and no network is asked here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from outlast_provisioning.jobfile import NOT_YET, VERSION, JobFile

MAX_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 20
_EMPTY = "must not be empty"

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong."""

    path: Path_
    """Where in the job file: ``("pools", 0, "provider")``."""
    text: str
    """What is wrong and what to write instead."""

    @property
    def field(self) -> str:
        """The place as people write it: ``pools[0].provider``."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text


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
    data = _Plain(file, lines, complaints).mapping(root, ())
    places = Places(file, lines)
    if complaints:
        raise places.error(complaints)
    version = data.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        newer = f"version {version} is newer than this Outlast reads ({VERSION}): update outlast"
        raise places.error([Complaint(("version",), newer)])
    try:
        return JobFile.model_validate_json(json.dumps(data, default=str)), places
    except ValidationError as error:
        faults = [_complaint(dict(one)) for one in error.errors()]
        # A list whose items are wrong is also said to be too short.
        told = [one for one in faults if not (one.text == _EMPTY and _has_below(one, faults))]
        raise places.error(told) from error


class _Plain:
    """YAML nodes to plain data; notes lines, and complains of keys given twice."""

    def __init__(self, file: str, lines: dict[Path_, int], complaints: list[Complaint]) -> None:
        self._file = file
        self._lines = lines
        self._complaints = complaints
        self._constructor = yaml.SafeLoader("")
        self._left = _MAX_NODES

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        self._lines.setdefault(path, node.start_mark.line + 1)
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key == "<<":
                self._complaints.append(Complaint((*path, key), "merge keys are not read here"))
                continue
            place = (*path, key)
            self._lines[place] = key_node.start_mark.line + 1
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
        try:
            return self._constructor.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError):
            self._complaints.append(Complaint(path, f"{node.value!r:.50} cannot be read"))
            return None


def _complaint(error: dict[str, Any]) -> Complaint:
    path = tuple(part for part in error["loc"] if part != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    given = error.get("input")
    match kind:
        case "extra_forbidden":
            return Complaint(path, _unknown(path))
        case "missing":
            return Complaint(path, _missing(path))
        case "string_type" if isinstance(given, (int, float)):
            return Complaint(path, f'must be text: write "{_yaml(given)}" in quotes')
        case "string_type":
            return Complaint(path, "must be text")
        case "tuple_type":
            return Complaint(path, f"must be a list{_list_example(path)}")
        case "too_short":
            return Complaint(path, _EMPTY)
        case "string_pattern_mismatch" if path == ("name",):
            told = "must be lower-case letters, digits and hyphens, at most 63"
            near = _as_name(str(given))
            return Complaint(path, told + (f": {near}, say" if near else ""))
        case "string_too_short":
            return Complaint(path, _EMPTY)
        case "literal_error":
            return Complaint(path, _not_a_choice(path, given, str(context["expected"])))
        case "value_error":
            return Complaint(path, str(context["error"]))
        case "model_type" | "dict_type":
            return Complaint(path, "must be a group of fields, each on its own line below it")
    message = str(error["msg"])
    return Complaint(path, f"{message[0].lower()}{message[1:]}, not {given!r:.50}")


def _has_below(complaint: Complaint, others: list[Complaint]) -> bool:
    size = len(complaint.path)
    return any(len(one.path) > size and one.path[:size] == complaint.path for one in others)


def _unknown(path: Path_) -> str:
    names = [part for part in path if isinstance(part, str)]
    dotted, name = ".".join(names), names[-1]
    if dotted in NOT_YET:
        return f"this version does not do {NOT_YET[dotted]} yet: remove the line"
    known = {*_fields_at(path[:-1])}
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    if near:
        return f"unknown field; did you mean {near[0]}?"
    for place, model in _sections(JobFile, ()):
        if name in _names_of(model):
            where = ".".join((*place, name))
            return f"unknown field here; it belongs at {where}"
    return f"unknown field; known here: {', '.join(sorted(known))}"


def _missing(path: Path_) -> str:
    examples: dict[Path_, str] = {
        ("version",): "version: 1",
        ("name",): "name: digits",
        ("command",): "command: [python, train.py]",
        ("pools",): "pools: [{provider: local}]",
        ("provider",): "provider: local",
        ("from",): "from: file:///data/cats.zip",
        ("to",): "to: /data",
    }
    return f"missing; write for example `{examples.get(path[-1:], str(path[-1]))}`"


def _list_example(path: Path_) -> str:
    if path[-1:] == ("command",):
        return ', each word an item: [python, train.py, --epochs, "70"]'
    if path[-1:] == ("pools",):
        return ": [{provider: local}]"
    return ", each item on its own line after a hyphen"


def _not_a_choice(path: Path_, given: Any, expected: str) -> str:
    if path[-1:] == ("how",) and given == "mount":
        return "this version does not mount inputs yet: write copy"
    if path == ("version",):
        return f"must be {expected}, not {given!r:.50}"
    if path[-1:] == ("max_overhead",):
        return "this version keeps saving below 1% and takes no other bound: remove the line"
    return f"must be {expected}, not {given!r:.50}"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_name(text: str) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower())
    return kept.strip("-")[:63].strip("-")


def _fields_at(path: Path_) -> list[str]:
    model: type[BaseModel] = JobFile
    for part in path:
        if isinstance(part, int):
            continue
        for name, field in model.model_fields.items():
            if (field.alias or name) == part:
                inner = _model_in(field.annotation)
                if inner is None:
                    return []
                model = inner
    return _names_of(model)


def _names_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _sections(
    model: type[BaseModel], place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    yield place, model
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None:
            yield from _sections(inner, (*place, field.alias or name))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        for inner in get_args(annotation):
            found = _model_in(inner)
            if found is not None:
                return found
    return None


def read_job_file(path: Path) -> tuple[JobFile, Places]:
    """Read and check the file at ``path``. Raises BadJobError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadJobError([f"{path}: cannot be read: {error.strerror}"]) from error
    return parse_job(text, file=str(path))
