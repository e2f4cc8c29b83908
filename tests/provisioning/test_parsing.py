# ruff: noqa: E501 - a table of messages, each as a person sees it
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from outlast_provisioning import complaints as complaints_module
from outlast_provisioning.jobfile import Best, JobFile, Keep, json_schema
from outlast_provisioning.parsing import BadJobError, parse_job, read_job_file

GOOD = """\
version: 1
name: digits
code: .
command: [python, train.py, --epochs, "70"]
env: {TF_CPP_MIN_LOG_LEVEL: "2"}
store: file:///srv/outlast
inputs: [{from: "s3://datasets/cats.zip", to: /data, how: copy, unpack: true}]
resources: {gpus: 1, cpus: 4, memory: 16GiB, disk: 100GiB, shm: 2GiB}
pools:
  - {provider: local, grace: 10s}
checkpoint: {every: auto, durable_every: 30s, keep: 3, max_overhead: 1%, exact: best}
retries: {failures: 3}
max_lifetime: 7d
"""


def test_the_whole_form() -> None:
    job, _ = parse_job(GOOD.encode(), file="job.yaml")
    assert job.command == ("python", "train.py", "--epochs", "70")
    assert job.resources.memory == 16 << 30
    assert job.inputs[0].source == "s3://datasets/cats.zip"
    assert job.checkpoint.every is None
    assert job.checkpoint.durable_every == 30
    assert job.checkpoint.max_overhead == 0.01
    assert job.max_lifetime == 7 * 86400


def test_stored_and_read_again_it_is_the_same() -> None:
    job, _ = parse_job(GOOD.encode(), file="job.yaml")
    assert JobFile.model_validate_json(job.model_dump_json()) == job


def test_what_is_kept() -> None:
    def keep(text: str) -> Keep:
        return parse_job(changed("keep: 3", text).encode(), file="job.yaml")[0].checkpoint.keep

    assert keep("keep: 7") == keep("keep: {newest: 7}") == Keep(newest=7)
    assert keep("keep: {}") == Keep(newest=3)
    best = keep("keep: {every: 1000, best: {metric: val_loss, mode: min}}")
    assert best == Keep(every=1000, best=Best(metric="val_loss", mode="min", count=1))


def complaints(text: str) -> list[str]:
    with pytest.raises(BadJobError) as caught:
        parse_job(text.encode(), file="job.yaml")
    assert all("\n" not in line for line in caught.value.lines)
    return caught.value.lines


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (changed("checkpoint:", "chekpoint:"), "11: chekpoint: unknown field; did you mean checkpoint?"),
        (changed("gpus", "gpu"), "8: resources.gpu: unknown field; did you mean gpus?"),
        (changed("retries: {failures: 3}", "keep: 3"), "12: keep: unknown field here; it belongs at checkpoint.keep"),
        (changed("name: digits\n", ""), "1: name: missing; write for example `name: digits`"),
        (changed("provider: local, ", ""), "10: pools[0].provider: missing; write for example `provider: local`"),
        (changed("name: digits", "name: My Digits"), "2: name: must be lower-case letters, digits and hyphens, at most 63: my-digits, say"),
        (changed('"70"', "70"), '4: command[3]: must be text: write "70" in quotes'),
        (changed('"2"', "2"), '5: env.TF_CPP_MIN_LOG_LEVEL: must be text: write "2" in quotes'),
        (changed('"2"', "on"), '5: env.TF_CPP_MIN_LOG_LEVEL: must be text: write "on" in quotes'),
        (changed("name: digits", "name: NO"), '2: name: must be text: write "NO" in quotes'),
        (changed('"70"', "12:30:45"), '4: command[3]: must be text: write "12:30:45" in quotes'),
        (changed("16GiB", "16"), "8: resources.memory: write a number and a unit, like 16GiB or 500MB, not 16"),
        (changed("7d", "7 days"), "13: max_lifetime: write a number and a unit, like 30s, 10m, 12h or 7d, not '7 days'"),
        (changed("1%", "0%"), "11: checkpoint.max_overhead: write at least 0.01% and at most 50%, not 0%"),
        (changed("1%", "0.05"), "11: checkpoint.max_overhead: write a number and %, like 1% or 0.5%, not 0.05"),
        (changed("exact: best", "exact: yes"), "11: checkpoint.exact: must be 'best' or 'strict', not true"),
        (changed("how: copy", "how: mount"), "7: inputs[0].how: this version does not mount inputs yet: write copy"),
        (changed("retries:", "deadline: 3d\nretries:"), "12: deadline: this version does not do deadlines yet: remove the line"),
        (changed("retries:", "secrets: {A: b}\nretries:"), "12: secrets: this version does not do secrets resolved on the machine yet: remove the line"),
        (changed("grace: 10s", "sizes: [a]"), "10: pools[0].sizes: this version does not do machine sizes yet: remove the line"),
        (changed("version: 1", "version: 2"), "1: version: version 2 is newer than this Outlast reads (1): update outlast"),
        (changed("gpus: 1", "gpus: 1.5"), "8: resources.gpus: must be a whole number from 0 to 64, not 1.5"),
        (changed("gpus: 1", "gpus: -1"), "8: resources.gpus: must be a whole number from 0 to 64, not -1"),
        (changed("gpus: 1", "gpus: true"), "8: resources.gpus: must be a whole number from 0 to 64, not true"),
        (changed("cpus: 4", "cpus: 0"), "8: resources.cpus: must be a number above 0, not 0"),
        (changed("cpus: 4", "cpus: .inf"), "8: resources.cpus: must be a number above 0, not inf"),
        (changed("cpus: 4", "cpus: two"), "8: resources.cpus: must be a number above 0, not 'two'"),
        (changed("failures: 3", "failures: -1"), "12: retries.failures: must be a whole number from 0 to 100, not -1"),
        (changed("failures: 3", "failures: many"), "12: retries.failures: must be a whole number from 0 to 100, not 'many'"),
        (changed("{failures: 3}", "3"), "12: retries: must be a group of fields, like `retries: {failures: 3}`"),
        (changed("{failures: 3}", ""), "12: retries: has no value; write for example `retries: {failures: 3}`"),
        (changed("keep: 3", "keep: lots"), "11: checkpoint.keep: write how many of the newest stay, like 3, or {newest: 3, every: 1000}"),
        (changed("keep: 3", "keep: {every: 0}"), "11: checkpoint.keep.every: must be a whole number from 1 to 1000000000000, not 0"),
        (changed("keep: 3", "keep: {best: {metric: loss}}"), "11: checkpoint.keep.best.mode: missing; write for example `mode: min`"),
        (changed("keep: 3", "keep: {best: {metric: loss, mode: low}}"), "11: checkpoint.keep.best.mode: must be 'min' or 'max', not 'low'"),
        (changed("keep: 3", "keep: 1"), "11: checkpoint.keep: must be a whole number from 2 to 1000, not 1"),
        (changed("durable_every: 30s", "durable_every: 0s"), "11: checkpoint.durable_every: write auto, or at least 0.001s and at most 3660d, not 0s"),
        (changed("16GiB", "0GiB"), "8: resources.memory: write at least 1B and less than 1048576TiB, not 0GiB"),
        (changed("unpack: true", "unpack: sure"), "7: inputs[0].unpack: must be true or false, not 'sure'"),
        (changed('{TF_CPP_MIN_LOG_LEVEL: "2"}', "{A: }"), '5: env.A: has no value; write for example `A: "1"`'),
        (changed('{TF_CPP_MIN_LOG_LEVEL: "2"}', "[A]"), '5: env: must be a group of fields, like `env: {NAME: "value"}`'),
        (changed("{provider: local, grace: 10s}", "local"), "10: pools[0]: must be a group of fields, like `{provider: local}`"),
        (changed("version: 1", "version: true"), "1: version: must be 1, not true"),
        (changed("code: .", 'code: "a\\0b"'), "3: code: must be text without NUL characters"),
        (changed("name: digits", "name: digits\nname: other"), "3: name: given twice: remove one"),
        (changed("  - {provider: local, grace: 10s}", "  local"), "9: pools: must be a list: [{provider: local}]"),
        (changed("[python, train.py, --epochs, \"70\"]", "[]"), "4: command: must not be empty"),
        (changed('"2"', '"\\ud83d\\ude00"'), "5: env.TF_CPP_MIN_LOG_LEVEL: \\ud83d is half of a character: write the character itself"),
        (changed("TF_CPP_MIN_LOG_LEVEL", '"\\ud800"'), "5: env.\ud800: \\ud800 is half of a character: write the character itself"),
        (changed("retries:", "? [a, b]\n: 1\nretries:"), "12: ?: a list or a group cannot be a name: write `name: value`"),
        (changed('"2"', "1" * 5000), f"5: env.TF_CPP_MIN_LOG_LEVEL: {'1' * 40}... cannot be read as a number: if it is text, quote it"),
        (changed("cpus: 4", "cpus: 0x" + "f" * 5000), f"8: resources.cpus: 0x{'f' * 38}... cannot be read as a number: if it is text, quote it"),
        (changed('"2"', "2026-13-41"), "5: env.TF_CPP_MIN_LOG_LEVEL: 2026-13-41 cannot be read as a date: if it is text, quote it"),
        (changed('"2"', "!!binary aGk="), "5: env.TF_CPP_MIN_LOG_LEVEL: !!binary is not read here: write plain text"),
        (changed("{TF_CPP_MIN_LOG_LEVEL: \"2\"}", "{OUTLAST_JOB: \"2\"}"), "5: env: OUTLAST_JOB is set by Outlast: choose another name"),
    ],
)  # fmt: skip
def test_one_fault_is_one_line_that_says_what_to_do(text: str, line: str) -> None:
    assert complaints(text) == [f"job.yaml:{line}"]


@pytest.mark.parametrize("tag", ["int", "float", "bool", "timestamp", "null", "str", "binary"])
@pytest.mark.parametrize("text", ["''", "x", "'-'", "é"])
def test_a_tag_that_does_not_fit_ends_in_no_traceback(tag: str, text: str) -> None:
    try:
        parse_job(changed('"2"', f"!!{tag} {text}").encode(), file="job.yaml")
    except BadJobError as error:
        (line,) = error.lines
        assert line.startswith("job.yaml:5: env.TF_CPP_MIN_LOG_LEVEL: ")


def test_a_date_is_the_text_that_was_written() -> None:
    job, _ = parse_job(changed('"2"', "2026-11-21t21:59:43.10-05:00").encode(), file="job.yaml")
    assert job.env["TF_CPP_MIN_LOG_LEVEL"] == "2026-11-21t21:59:43.10-05:00"


def _places() -> Iterator[tuple[str, ...]]:
    """Every field of the job file, as a path of names."""
    for model_path, model in complaints_module._sections(JobFile, ()):
        for name in complaints_module._fields(model):
            yield (*model_path, name)


VALUES = [None, True, -1, 0, 1.5, 1e99, "", "no such thing", "a\0b", [], [[]], {}, {"a": 1}]


@pytest.mark.parametrize("place", sorted(set(_places())), ids=".".join)
def test_no_field_is_answered_in_the_words_of_a_library(place: tuple[str, ...]) -> None:
    for value in VALUES:
        data = yaml.safe_load(GOOD)
        _parent(data, place)[place[-1]] = value
        try:
            parse_job(yaml.safe_dump(data, sort_keys=False).encode(), file="job.yaml")
        except BadJobError as error:
            for line in error.lines:
                assert re.match(r"job\.yaml:\d+: ", line)
                assert not re.search(
                    r"(?i)\binput\b|should|None|\bvalid", line.partition(": ")[2]
                ), line


def _parent(data: Any, place: tuple[str, ...]) -> Any:
    for part in place[:-1]:
        if not isinstance(data.get(part), dict | list):
            data[part] = {"metric": "loss", "mode": "min"} if part == "best" else {}
        data = data[part]
        data = data[0] if isinstance(data, list) else data
    return data


def test_every_example_is_one_that_is_read() -> None:
    for name, example in complaints_module._EXAMPLES.items():
        (place, *_) = [one for one in _places() if one[-1] == name]
        data = yaml.safe_load(GOOD)
        _parent(data, place).update(yaml.safe_load(example))
        parse_job(yaml.safe_dump(data).encode(), file="job.yaml")
    assert {one[-1] for one in _places()} == set(complaints_module._EXAMPLES)


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace("gpus: 1", "gpus: many").replace("name: digits", "name: NO")
    text = text.replace("7d", "7")
    assert [int(line.split(":")[1]) for line in complaints(text)] == [2, 8, 13]


@pytest.mark.parametrize(
    "text",
    ["", "- a\n- b\n", "just text", "a: [", "\x00", "? [a]\n: b", "<<: {a: b}", "a: !!python/object:os.system x"],
)  # fmt: skip
def test_what_is_no_job_file(text: str) -> None:
    (first, *_) = complaints(text)
    assert first.startswith("job.yaml:1: ")


def test_a_file_that_means_harm_is_refused_quickly() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for letter in "bcdefgh":
        before = chr(ord(letter) - 1)
        bomb += f"{letter}: &{letter} [{','.join([f'*{before}'] * 10)}]\n"
    assert "too many" in complaints(bomb)[0]
    assert "nested too deeply" in complaints("[" * 20000)[0]
    assert "nested too deeply" in complaints("a: &a [*a]")[0]
    assert "longer than" in complaints("#" * (2 << 20))[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadJobError, match=r"none\.yaml: cannot be read: No such file"):
        read_job_file(tmp_path / "none.yaml")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_nothing_but_a_complaint_comes_of_nonsense(data: bytes) -> None:
    with pytest.raises(BadJobError):
        parse_job(data, file="job.yaml")


def test_the_published_schema_is_current() -> None:
    path = Path(__file__).parents[2] / "docs" / "job.schema.json"
    assert json.loads(path.read_text()) == json_schema(), (
        "run: python -c 'import json; from outlast_provisioning.jobfile import json_schema; "
        "print(json.dumps(json_schema(), indent=1))' > docs/job.schema.json"
    )


def test_the_schema_takes_what_the_parser_takes() -> None:
    value = yaml.safe_load(GOOD)
    jsonschema.Draft202012Validator(json_schema()).validate(value)
    for wrong in ({**value, "name": "NO"}, {**value, "pools": []}, {**value, "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(json_schema()).validate(wrong)
