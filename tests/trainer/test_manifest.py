"""Manifests come back as they were written, and nothing else is one."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.manifest import (
    Array,
    CheckpointId,
    Manifest,
    ManifestError,
    NewerVersionError,
    ObjectRef,
    OutputFile,
    Part,
    Piece,
    dump_manifest,
    newest_first,
    parse_manifest,
)

REF = ObjectRef(1, "0" * 32, 100)
MANIFEST = Manifest(
    job="digits",
    attempt=2,
    step=512,
    parent="000001-000000000100",
    kind="cadence",
    written="2026-11-21T03:00:00+00:00",
    fingerprint={"python": "3.11"},
    parts=(Part(0, {"a": [1, 2.5, None]}, (Array("w", "float32", (2, 5), (Piece(0, 8, 40),)),)),),
    objects=(REF,),
    outputs=(OutputFile("logs/a.csv", 12, (Piece(0, 60, 12),)),),
    metrics={"loss": 0.5},
)
NAME = "checkpoints/000002-000000000512.json"


def sealed(value) -> bytes:
    """``value`` with a right check: hostile on purpose, not by accident."""
    body = json.dumps(value).encode()[1:]
    return b'{"check":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body)


def as_json() -> dict:
    value = json.loads(dump_manifest(MANIFEST))
    del value["check"]
    return value


def test_comes_back():
    assert parse_manifest(dump_manifest(MANIFEST), name=NAME) == MANIFEST


def test_every_altered_byte_is_found():
    data = dump_manifest(MANIFEST)
    for index in range(len(data)):
        with pytest.raises(ManifestError):
            parse_manifest(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :], name=NAME)


def test_every_truncation_is_found():
    data = dump_manifest(MANIFEST)
    for length in range(len(data)):
        with pytest.raises(ManifestError):
            parse_manifest(data[:length], name=NAME)


def test_a_newer_version_is_told_in_one_line():
    with pytest.raises(NewerVersionError, match=r"format version 2.*update outlast") as caught:
        parse_manifest(sealed({**as_json(), "version": 2, "parts": "new form"}), name=NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("step", 513, "calls itself"),
        ("step", -1, "whole number"),
        ("step", True, "whole number"),
        ("parent", "../../etc/passwd", "not the name of a checkpoint"),
        ("objects", [{"attempt": 1, "hash": "../x", "size": 1}], "xxh3"),
        ("outputs", [{"path": "../x", "size": 0, "pieces": []}], "not a path below"),
        ("outputs", [{"path": "/etc/x", "size": 0, "pieces": []}], "not a path below"),
        ("outputs", [{"path": "a//x", "size": 0, "pieces": []}], "not a path below"),
        ("outputs", [{"path": "x", "size": 5, "pieces": []}], "are not 5 bytes"),
        (
            "outputs",
            [{"path": "x", "size": 99, "pieces": [{"object": 0, "offset": 2, "length": 99}]}],
            "past the end",
        ),
        (
            "outputs",
            [{"path": "x", "size": 1, "pieces": [{"object": 7, "offset": 0, "length": 1}]}],
            "damaged",
        ),
        ("metrics", {"loss": 10**400}, "damaged"),
    ],
)
def test_hostile_fields_are_refused(field, value, message):
    with pytest.raises(ManifestError, match=message):
        parse_manifest(sealed({**as_json(), field: value}), name=NAME)


def test_nan_is_refused():
    with pytest.raises(ManifestError, match="finite"):
        parse_manifest(sealed({**as_json(), "metrics": {"loss": float("nan")}}), name=NAME)
    with pytest.raises(ValueError, match="JSON"):
        dump_manifest(replace(MANIFEST, parts=(Part(0, float("nan"), ()),)))


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(as_json())), anything))
def test_whatever_a_field_holds_only_manifest_error_is_raised(fields):
    with contextlib.suppress(ManifestError):
        parse_manifest(sealed({**as_json(), **fields}), name=NAME)


@given(st.binary(), st.text())
def test_bytes_and_names_of_any_kind(data, name):
    with pytest.raises(ManifestError):
        parse_manifest(data, name=name)
    with contextlib.suppress(ManifestError):
        CheckpointId.parse(name)
    with contextlib.suppress(ManifestError):
        ObjectRef.parse(name)


def test_the_newest_is_of_the_highest_attempt():
    names = [
        "000001-000000000900.json",
        "000002-000000000500.json",
        "000002-000000000600",
        "x.json",
    ]
    assert [str(id_) for id_ in newest_first(names)] == [
        "000002-000000000600",
        "000002-000000000500",
        "000001-000000000900",
    ]


def test_what_nobody_would_read_back_is_not_written(monkeypatch):
    monkeypatch.setattr("outlast.manifest.MAX_MANIFEST_BYTES", 2 << 20)
    large = replace(MANIFEST, parts=(Part(0, {"a": "x" * (3 << 20)}, ()),))
    with pytest.raises(ValueError, match="3 MiB as text, and at most 2 can be saved"):
        dump_manifest(large)


@pytest.mark.parametrize("entry", ["[],", '{"a":1},', "1,"])
def test_millions_of_entries_are_refused_before_they_are_read(entry, monkeypatch):
    body = f'"version":1,"objects":[{entry * 5_000_000}1]}}'.encode()
    data = b'{"check":"%s",%s' % (xxhash.xxh3_128_hexdigest(body).encode(), body)
    monkeypatch.setattr(json, "loads", lambda *_a, **_m: pytest.fail("it was read"))
    with pytest.raises(ManifestError, match=r"too large: .* at most"):
        parse_manifest(data, name=NAME)


def test_a_state_of_millions_of_values_is_told_at_the_save():
    manifest = replace(MANIFEST, parts=(Part(0, [0] * 4_100_000, ()),))
    with pytest.raises(ValueError, match="keep large data in arrays"):
        dump_manifest(manifest)
