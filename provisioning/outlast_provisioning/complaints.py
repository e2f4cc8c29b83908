"""What is wrong with a job file, in our words: where it is, what it is, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from outlast_provisioning.jobfile import NOT_YET, JobFile

Path_ = tuple[str | int, ...]

_EMPTY = "must not be empty"
_INPUT = "from: file:///data/cats.zip, to: /data"
_EXAMPLES = {
    "version": "version: 1",
    "name": "name: digits",
    "image": "image: registry.example/digits:1.4",
    "code": "code: .",
    "command": "command: [python, train.py]",
    "env": 'env: {NAME: "value"}',
    "store": "store: file:///home/me/outlast",
    "inputs": f"inputs: [{{{_INPUT}}}]",
    "from": "from: file:///data/cats.zip",
    "to": "to: /data",
    "how": "how: copy",
    "unpack": "unpack: true",
    "resources": "resources: {gpus: 1, memory: 16GiB}",
    "gpus": "gpus: 1",
    "cpus": "cpus: 4",
    "memory": "memory: 16GiB",
    "disk": "disk: 100GiB",
    "shm": "shm: 2GiB",
    "pools": "pools: [{provider: local}]",
    "provider": "provider: local",
    "grace": "grace: 30s",
    "checkpoint": "checkpoint: {every: auto, keep: 3}",
    "every": "every: auto",
    "durable_every": "durable_every: auto",
    "keep": "keep: 3",
    "newest": "newest: 3",
    "best": "best: {metric: val_loss, mode: min}",
    "metric": "metric: val_loss",
    "mode": "mode: min",
    "count": "count: 1",
    "max_overhead": "max_overhead: 1%",
    "scratch": "scratch: auto",
    "exact": "exact: best",
    "retries": "retries: {failures: 3}",
    "failures": "failures: 3",
    "max_lifetime": "max_lifetime: 7d",
}
"""A line for each field; a test reads them all."""


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


def complaints_of(error: ValidationError, written: Mapping[Path_, str]) -> list[Complaint]:
    """What ``error`` of the job file's model finds wrong, each a sentence in our words.

    ``written``: what stands in the file, where YAML reads it as something else than text.
    """
    faults = [_complaint(dict(one), written) for one in error.errors()]
    # A list whose items are wrong is also said to be too short.
    return [one for one in faults if not (one.text == _EMPTY and _has_below(one, faults))]


def _complaint(error: dict[str, Any], written: Mapping[Path_, str]) -> Complaint:
    path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "string_type" and path in written:  # `NO` is a false to YAML
        return Complaint(path, f'must be text: write "{written[path]}" in quotes')
    return Complaint(path, _sentence(path, error["type"], error.get("input"), error))


def _sentence(path: Path_, kind: str, given: Any, error: dict[str, Any]) -> str:
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "missing":
        return f"missing; write for example `{_example(path)}`"
    if given is None:
        return f"has no value; write for example `{_example(path)}`"
    match kind:
        case "string_type":
            return "must be text"
        case "string_pattern_mismatch" if path == ("name",):
            told = "must be lower-case letters, digits and hyphens, at most 63"
            near = _as_name(str(given))
            return told + (f": {near}, say" if near else "")
        case "string_pattern_mismatch":
            return "must be text without NUL characters"
        case "string_too_short" | "too_short":
            return _EMPTY
        case "tuple_type":
            return f"must be a list{_list_example(path)}"
        case "model_type" | "dict_type":
            return f"must be a group of fields, like `{_example(path)}`"
        case "literal_error":
            return _not_a_choice(path, given, str(context["expected"]))
        case "bool_type":
            return f"must be true or false, not {_shown(given)}"
        case "value_error":
            return str(context["error"])
    number = _number_at(path)
    if number is not None:
        return f"must be {number}, not {_shown(given)}"
    message = str(error["msg"])
    return f"{message[0].lower()}{message[1:]}, not {_shown(given)}"


def _number_at(path: Path_) -> str | None:
    """The numbers that fit at ``path``, in words; None if no number belongs there."""
    field = _field_at(path)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    if field is None or not {int, float} & set(kinds):
        return None
    text = "a whole number" if int in kinds else "a number"
    rules = {type(rule): rule for rule in field.metadata}
    if Gt in rules:
        text += f" above {rules[Gt].gt}"
    if Ge in rules:
        text += f" from {rules[Ge].ge}"
    if Le in rules:
        text += f" to {rules[Le].le}"
    return text


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


def _example(path: Path_) -> str:
    """One that may stand at ``path``."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if path and isinstance(path[-1], int):
        return {"pools": "{provider: local}", "inputs": f"{{{_INPUT}}}"}.get(name, "train.py")
    if path[:1] == ("env",) and len(path) > 1:
        return f'{name}: "1"'
    if path[-2:] == ("keep", "every"):
        return "every: 1000"
    return _EXAMPLES.get(name, name)


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
        return f"must be {expected}, not {_shown(given)}"
    return f"must be {expected}, not {_shown(given)}"


def _shown(value: Any) -> str:
    return _yaml(value) if isinstance(value, bool) else f"{value!r:.50}"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_name(text: str) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower())
    return kept.strip("-")[:63].strip("-")


def _fields_at(path: Path_) -> list[str]:
    model: type[BaseModel] | None = JobFile
    for part in path:
        if isinstance(part, str) and model is not None:
            field = _fields(model).get(part)
            model = None if field is None else _model_in(field.annotation)
    return [] if model is None else _names_of(model)


def _field_at(path: Path_) -> FieldInfo | None:
    model: type[BaseModel] | None = JobFile
    field = None
    for part in path:
        if isinstance(part, str):
            field = None if model is None else _fields(model).get(part)
            model = None if field is None else _model_in(field.annotation)
    return field


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _names_of(model: type[BaseModel]) -> list[str]:
    return list(_fields(model))


def _sections(
    model: type[BaseModel], place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    yield place, model
    for name, field in _fields(model).items():
        inner = _model_in(field.annotation)
        if inner is not None:
            yield from _sections(inner, (*place, name))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        for inner in get_args(annotation):
            found = _model_in(inner)
            if found is not None:
                return found
    return None
