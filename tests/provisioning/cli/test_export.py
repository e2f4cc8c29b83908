"""``outlast checkpoints export``: files that others read, whole or not there at all."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from agent.stores import servers
from outlast.checkpoint import numpy_type
from outlast.manifest import Array, ObjectRef, OutputFile, Piece
from outlast_agent.stores.open import open_store
from outlast_provisioning import exporting
from provisioning.cli.checkpoints_kit import Saves, ids
from provisioning.cli.commands import Outlast
from provisioning.simulated import NAME

ARRAYS = {
    name: (np.arange(24) % 7).astype(numpy_type(name)).reshape(2, 3, 4)
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "bfloat16"),
    )
} | {"scalar": np.float32(2.5), "empty": np.zeros((0, 3)), "big": np.arange(12_000_000.0)}


@pytest.fixture
def saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saves:
    saves = Saves(tmp_path)
    monkeypatch.setenv("OUTLAST_STORE", saves.url)
    monkeypatch.chdir(tmp_path)
    return saves


def export(outlast: Outlast, *arguments: object, code: int = 0) -> str:
    out, err = outlast("checkpoints", "export", NAME, *arguments, code=code)
    assert out == ""
    assert len(err.splitlines()) <= 2
    return err


def left(folder: Path) -> list[str]:
    """What is in ``folder`` that the kit did not put there."""
    return sorted(
        path.name for path in folder.iterdir() if not path.name.startswith(("s", "outputs-"))
    )


def test_all_arrays_as_safetensors(saves: Saves, outlast: Outlast) -> None:
    saves.save(1, arrays=ARRAYS)  # one of them lies in several objects
    assert len(saves.objects()) > 1
    told = export(outlast, "--to", "x.safetensors")
    assert f"{len(ARRAYS)} arrays, 96 MB, of checkpoint {ids([1])[0]}" in told
    found = safetensors.numpy.load_file("x.safetensors")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
    assert left(saves.folder) == ["x.safetensors"]


def header(path: str) -> dict[str, Any]:
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    return json.loads(data[8 : 8 + length])


def test_each_array_lies_at_a_multiple_of_its_items_size(saves: Saves, outlast: Outlast) -> None:
    odd = {
        "a": np.ones(3, bool),
        "b": np.ones(2),
        "c": np.ones(1, np.int16),
        "d": np.ones(1, "c16"),
    }
    saves.save(1, arrays=odd)
    export(outlast, "--to", "x.safetensors")
    told = header("x.safetensors")
    assert told["d"] == {"dtype": "U8", "shape": [1, 16], "data_offsets": [0, 16]}
    assert told["b"]["data_offsets"] == [16, 32]
    assert [told["c"]["data_offsets"], told["a"]["data_offsets"]] == [[32, 34], [34, 37]]
    assert safetensors.numpy.load_file("x.safetensors")["b"].tolist() == [1.0, 1.0]


def test_types_that_numpy_does_not_know(saves: Saves, outlast: Outlast) -> None:
    saves.save(1, arrays={"f8": np.arange(7).astype(numpy_type("float8_e4m3fn"))})
    export(outlast, "--to", "x.safetensors")
    told = header("x.safetensors")
    assert told["f8"] == {"dtype": "F8_E4M3", "shape": [7], "data_offsets": [0, 7]}


def test_names_are_for_people_where_they_can_be(saves: Saves, outlast: Outlast) -> None:
    arrays = {
        "fit0/00000 dense/kernel": 1.0,
        "now/00000 dense/kernel": 2.0,
        "now/00001 seed/state": 3.0,
        "now/00002 seed/state": 4.0,
        "now/00003 __metadata__": 5.0,
    }
    state = {"of": "keras", "fits": [{}], "fit": {}, "tracked": {"net": {"w": np.arange(2.0)}}}
    saves.save(1, arrays={k: np.full(1, v) for k, v in arrays.items()}, state=state)
    export(outlast, "--to", "x.safetensors")
    found = {k: v.tolist() for k, v in safetensors.numpy.load_file("x.safetensors").items()}
    assert found == {
        "fit0/dense/kernel": [1.0],
        "dense/kernel": [2.0],
        "00001 seed/state": [3.0],
        "00002 seed/state": [4.0],
        "00003 __metadata__": [5.0],
        "$state/tracked/net/w": [0.0, 1.0],
    }


def test_an_array_may_have_the_name_that_the_format_keeps_for_itself(
    saves: Saves, outlast: Outlast
) -> None:
    saves.save(1, arrays={"__metadata__": np.ones(2), "b": np.zeros(3)})
    export(outlast, "--to", "x.safetensors")
    found = safetensors.numpy.load_file("x.safetensors")
    assert found["array __metadata__"].tolist() == [1.0, 1.0]


@pytest.mark.needs("moto")
def test_from_an_object_store(
    saves: Saves, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves.save(1, 2)
    with servers.moto(saves.folder / "server.log") as endpoint:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "OUTLAST_STORE": f"s3://{servers.BUCKET}/here",
        }.items():
            monkeypatch.setenv(name, value)
        there = open_store(f"s3://{servers.BUCKET}/here")
        for entry in saves.store.list(""):
            there.create(entry.key, saves.store.read(entry.key))
        assert len(outlast("checkpoints", "ls", NAME)[0].splitlines()) >= 3
        outlast("checkpoints", "verify", NAME, "--all")
        export(outlast, "--to", "x.safetensors")
        there.delete(f"jobs/{NAME}/{saves.objects()[1].relative_to(saves.root)}")
        assert "is not there" in outlast("checkpoints", "verify", NAME, code=3)[1]
    assert safetensors.numpy.load_file("x.safetensors")["w"][7] == 2


def test_what_a_session_tracks_is_called_as_it_was_tracked(saves: Saves, outlast: Outlast) -> None:
    state = {
        "kind": "session",
        "tracked": {"model": {"00003 dense/kernel": np.ones(2)}, "net": {"0.weight": np.ones(3)}},
    }
    saves.save(1, arrays={"coef": np.ones(1)}, state=state)
    export(outlast, "--to", "x.safetensors")
    found = safetensors.numpy.load_file("x.safetensors")
    assert found.keys() == {"coef", "model/dense/kernel", "net/0.weight"}
    told = export(outlast, "--to", "x.weights.h5", code=2)
    assert "does not tell which of its arrays are weights of a Keras model" in told
    assert "weights" in export(outlast, "--to", "y.safetensors", "--weights", code=2)


FILES = {"log.csv": b"epoch,loss\n1,2\n", "best/model.keras": os.urandom(9 << 20), "empty": b""}


def test_output_files_in_a_new_folder(saves: Saves, outlast: Outlast) -> None:
    saves.save(1, files=FILES)
    assert "3 output files" in export(outlast, "--outputs", "out")
    found = {
        str(path.relative_to("out")): path.read_bytes()
        for path in Path("out").rglob("*")
        if path.is_file()
    }
    assert found == FILES
    assert left(saves.folder) == ["out"]


@pytest.mark.parametrize("link", [False, True])
def test_output_files_in_a_folder_that_is_empty(
    saves: Saves, outlast: Outlast, link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves.save(1, files=FILES)
    folder = saves.folder / "out"
    folder.mkdir()
    Path("to").symlink_to("out")
    monkeypatch.chdir(folder)
    export(outlast, "--outputs", "../to" if link else ".")
    assert Path("best/model.keras").read_bytes() == FILES["best/model.keras"]


def test_nothing_is_written_over_unless_that_is_wanted(saves: Saves, outlast: Outlast) -> None:
    saves.save(1, files={"log.csv": b"new"})
    Path("x.safetensors").write_text("mine")
    Path("out").mkdir()
    for name in ("log.csv", "other"):
        Path("out", name).write_text("mine")
    for arguments in (["--to", "x.safetensors"], ["--outputs", "out"]):
        assert "is there already" in export(outlast, *arguments, code=2)
    assert Path("x.safetensors").read_text() == Path("out/log.csv").read_text() == "mine"
    export(outlast, "--to", "x.safetensors", "--outputs", "out", "--force")
    assert "frozen" in safetensors.numpy.load_file("x.safetensors")
    assert [Path("out", name).read_text() for name in ("log.csv", "other")] == ["new", "mine"]
    assert left(saves.folder) == ["out", "x.safetensors"]


def test_a_name_taken_while_it_is_written_is_left(saves: Saves, outlast: Outlast) -> None:
    saves.save(1)
    with pytest.MonkeyPatch.context() as patch:
        fill = exporting._fill

        def taken(*arguments: Any) -> None:
            fill(*arguments)
            Path("x.safetensors").write_text("mine")

        patch.setattr(exporting, "_fill", taken)  # the only instant that counts
        assert "came to be meanwhile" in export(outlast, "--to", "x.safetensors", code=2)
    assert Path("x.safetensors").read_text() == "mine"
    assert left(saves.folder) == ["x.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say where to: --to FILE.safetensors, --to FILE.weights.h5 or --outputs FOLDER"),
        (["--to", "x.h5"], "x.h5: what is it to be? Name it FILE.safetensors, or FILE.weights.h5"),
        (["--to", "no/x.safetensors"], "make it first"),
        (["--to", "store.safetensors"], "is a folder: give the name of a file"),
        (["--outputs", "out"], "has no output files"),
        (["5", "--to", "x.safetensors"], "has no checkpoint '5'"),
    ],
)
def test_what_cannot_be_exported(
    saves: Saves, outlast: Outlast, arguments: list[str], told: str
) -> None:
    saves.save(1)
    Path("store.safetensors").mkdir()
    assert told in export(outlast, *arguments, code=2)
    assert left(saves.folder) == []


def test_a_damaged_object_leaves_nothing(saves: Saves, outlast: Outlast) -> None:
    saves.save(1, files=FILES)
    path = saves.objects()[0]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    told = export(outlast, "--to", "x.safetensors", "--outputs", "out", code=3)
    assert f"{path.name} has other bytes than were written" in told
    assert left(saves.folder) == []


def test_a_checkpoint_that_claims_more_than_the_disk_has(saves: Saves, outlast: Outlast) -> None:
    """A piece may be named any number of times: a small object makes an array of any size."""
    saves.save(1)
    old = saves.manifest(ids([1])[0])
    free = shutil.disk_usage(saves.folder).free
    piece = Piece(0, 0, old.objects[0].size)
    times = 2 * free // piece.length
    array = Array("bomb", "uint8", (piece.length * times,), (piece,) * times)
    saves.forge(replace(old, parts=(replace(old.parts[0], arrays=(array,)),)))
    assert "are free there: make room" in export(outlast, "--to", "x.safetensors", code=2)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ([("a", "float32", (10**30, 0), 0)], "has the shape"),
        ([("a", "float32", (2,), 4)], "has 4 bytes and should have 8"),
        ([("a", "no-such-type", (3,), 4)], "has no whole items"),
        ([("a", "uint8", (1,), 1), ("a", "uint8", (1,), 1)], "more than one array 'a'"),
    ],
)
def test_arrays_that_cannot_be(
    saves: Saves, outlast: Outlast, arrays: list[tuple[str, str, Any, int]], told: str
) -> None:
    saves.save(1)
    old = saves.manifest(ids([1])[0])
    made = tuple(Array(n, dtype, shape, (Piece(0, 0, size),)) for n, dtype, shape, size in arrays)
    saves.forge(replace(old, parts=(replace(old.parts[0], arrays=made),)))
    assert told in export(outlast, "--to", "x.safetensors", code=3)
    assert left(saves.folder) == []


@pytest.mark.parametrize(
    "paths", [("a", "a/b"), ("a/b", "a"), ("a", "a"), ("\ud800",), ("x" * 300,)]
)
def test_output_files_that_cannot_be(
    saves: Saves, outlast: Outlast, paths: tuple[str, ...]
) -> None:
    saves.save(1)
    old = saves.manifest(ids([1])[0])
    saves.forge(replace(old, outputs=tuple(OutputFile(p, 1, (Piece(0, 0, 1),)) for p in paths)))
    outlast("checkpoints", "show", NAME)
    told = export(outlast, "--outputs", "out", code=2 if len(paths[0]) == 300 else 3)
    assert "cannot be written" in told or "it has no file" in told
    assert left(saves.folder) == []


def test_an_object_larger_than_any_is_not_read(saves: Saves, outlast: Outlast) -> None:
    saves.save(1)
    old = saves.manifest(ids([1])[0])
    saves.forge(replace(old, objects=(ObjectRef(1, "0" * 32, 1 << 40),)))
    told = export(outlast, "--to", "x.safetensors", code=3)
    assert "no object of Outlast has so many bytes" in told


def test_without_h5py_it_says_so(
    saves: Saves, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"of": "keras", "fits": [], "fit": {"weights": "0 layers/dense/vars/0"}}
    saves.save(1, arrays={"now/00000 dense/kernel": np.ones(2)}, state=state)
    monkeypatch.setitem(sys.modules, "h5py", None)
    told = export(outlast, "--to", "x.weights.h5", code=2)
    assert "need h5py: pip install h5py" in told
    assert left(saves.folder) == []


@pytest.mark.parametrize(
    "places",
    [
        "0 ../vars/0",
        "0 /vars/0",
        "0 a/vars/./0",
        "0 a/vars/0\n0 b/vars/0",
        "0 a/vars/0\n1 a/vars/0",
        "0 a/vars/0\n1 a/vars/0/vars/1",
        "7 a/vars/0",
        "0 a/\0/vars/0",
        "nonsense",
        17,
    ],
)
def test_places_of_weights_that_cannot_be(saves: Saves, outlast: Outlast, places: object) -> None:
    arrays = {f"now/{n:05d} v": np.ones(2 + n) for n in range(2)}
    state = {"of": "keras", "fits": [], "fit": {"weights": places}}
    saves.save(1, arrays=arrays, state=state)
    _, err = outlast(
        "checkpoints", "export", NAME, "--to", "x.weights.h5",
        code=3 if places in ("7 a/vars/0", "0 a/vars/0\n1 a/vars/0/vars/1") else 2,
    )  # fmt: skip
    assert len(err.splitlines()) == 1
    assert left(saves.folder) == []
