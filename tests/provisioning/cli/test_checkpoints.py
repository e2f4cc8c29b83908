"""``outlast checkpoints ls|show|verify`` on checkpoints that library and daemon made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from outlast.manifest import Array, Piece
from outlast_agent import layout
from outlast_agent.records import AttemptEnd, Claim, dump
from outlast_provisioning.cli import checkpoint_commands
from provisioning.cli.checkpoints_kit import FROZEN, Saves, ids
from provisioning.cli.commands import Outlast
from provisioning.simulated import NAME


@pytest.fixture
def saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saves:
    saves = Saves(tmp_path)
    monkeypatch.setenv("OUTLAST_STORE", saves.url)
    return saves


def listed(outlast: Outlast, *more: str) -> list[dict[str, object]]:
    return json.loads(outlast("checkpoints", "ls", NAME, "--json", *more)[0])


def test_the_newest_is_of_the_highest_attempt_and_each_says_what_it_adds(
    saves: Saves, outlast: Outlast
) -> None:
    saves.save(1, 2)
    saves.save(9, 10, attempt=1, metrics={"loss": float(3)}, finite=False, kind="notice")
    saves.save(3, attempt=2)  # a zombie's step 10 does not outrank it
    found = listed(outlast)
    assert [line["id"] for line in found] == [*ids([3], 2), *ids([10, 9, 2, 1])]
    assert [line["newest"] for line in found] == [True, False, False, False, False]
    assert [line["resume"] for line in found] == [True, False, False, False, False]
    by_id = {line["id"]: line for line in found}
    first, second = by_id[ids([1])[0]], by_id[ids([2])[0]]
    assert first["adds"] == first["size"]
    assert 1_200_000 <= second["adds"] < 1_201_000 < FROZEN.nbytes
    assert (by_id[ids([10])[0]]["kind"], by_id[ids([10])[0]]["finite"]) == ("notice", False)
    out, _ = outlast("checkpoints", "ls", NAME)
    lines = out.splitlines()
    assert lines[1].startswith(ids([3], 2)[0])
    assert "newest" in lines[1]
    assert "resume point" in lines[1]
    assert "not finite" in out


def test_a_checkpoint_that_two_starts_failed_from_is_set_aside(
    saves: Saves, outlast: Outlast
) -> None:
    saves.save(1, 2)
    for attempt in (2, 3):
        claim = Claim(
            job=NAME, attempt=attempt, launch=attempt, machine="m", boot_id="b", nonce=str(attempt)
        )
        end = AttemptEnd(
            attempt=attempt,
            outcome="failed",
            by="daemon",
            step=2,
            started_from=ids([2])[0],
            durable_step=2,
        )
        saves.store.create(layout.claim(NAME, attempt), dump(claim))
        saves.store.create(layout.attempt_end(NAME, attempt), dump(end))
    newest, before = listed(outlast)
    assert (newest["newest"], newest["set_aside"], newest["resume"]) == (True, True, False)
    assert (before["newest"], before["set_aside"], before["resume"]) == (False, False, True)
    assert "set aside" in outlast("checkpoints", "ls", NAME)[0]


def test_of_many_the_newest_are_read_and_no_more(
    saves: Saves, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_commands, "SHOWN", 3)
    saves.save(1, 2, 3, 4, 5, arrays={"w": np.zeros(3)})
    (saves.root / f"checkpoints/{ids([1])[0]}.json").write_bytes(b"not read")
    assert [line["id"] for line in listed(outlast)] == ids([5, 4, 3])
    out, err = outlast("checkpoints", "ls", NAME)
    assert [line[:19] for line in out.splitlines() if line[0] == "0"] == ids([5, 4, 3])
    assert "The newest 3 of 5; all of them: --all" in err
    everything = listed(outlast, "--all")
    assert [line["id"] for line in everything] == ids([5, 4, 3, 2, 1])
    assert "is damaged" in str(everything[-1]["trouble"])


def test_each_says_why_it_is_kept(
    tmp_path: Path, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_commands, "SHOWN", 4)
    keep = {"newest": 2, "every": 10, "best": {"metric": "loss", "mode": "min"}}
    saves = Saves(tmp_path, checkpoint={"keep": keep})
    monkeypatch.setenv("OUTLAST_STORE", saves.url)
    saves.save(6, metrics={"loss": 0.01}, arrays={})
    saves.save(9, kind="fit", arrays={})
    saves.save(11, 12, 13, 14, arrays={})
    assert [(line["id"], line["kept"]) for line in listed(outlast, "--all")] == [
        (ids([14])[0], ["newest"]),
        (ids([13])[0], ["newest"]),
        (ids([12])[0], []),
        (ids([11])[0], ["step 10"]),
        (ids([9])[0], ["end of fit"]),
        (ids([6])[0], ["best loss"]),
    ]
    assert len(listed(outlast)) == 4
    out, _ = outlast("checkpoints", "ls", NAME)
    assert out.count("kept: newest") == 2
    assert "kept: step 10" in out
    assert "not kept" in out


def test_without_any(saves: Saves, outlast: Outlast) -> None:
    assert listed(outlast) == []
    assert "has no checkpoint yet" in outlast("checkpoints", "ls", NAME)[1]
    for command in ("show", "verify"):
        _, err = outlast("checkpoints", command, NAME, code=2)
        assert err == f"outlast: job {NAME} has no checkpoint yet: see `outlast status {NAME}`\n"


@pytest.mark.parametrize("command", ["ls", "show", "verify", "export"])
def test_a_job_that_is_not_there(saves: Saves, outlast: Outlast, command: str) -> None:
    _, err = outlast("checkpoints", command, "nobody", code=2)
    assert err.startswith("outlast: no job nobody in file://")
    assert len(err.splitlines()) == 1


def test_a_checkpoint_that_is_not_there(saves: Saves, outlast: Outlast) -> None:
    saves.save(1)
    for name in ("5", "../../job", ids([7])[0]):
        _, err = outlast("checkpoints", "show", NAME, name, code=2)
        assert err.endswith(f"newest: {ids([1])[0]}\n")


def test_show_says_what_it_consists_of(saves: Saves, outlast: Outlast) -> None:
    saves.save(1, 2, files={"log.csv": b"a,b\n"})
    out, _ = outlast("checkpoints", "show", NAME, ids([1])[0])
    for said in (
        ids([1])[0],
        "frozen",
        "float32",
        "300000",
        "1.2 MB",
        "log.csv",
        "x86",
        "objects/",
    ):
        assert said in out
    value = json.loads(outlast("checkpoints", "show", NAME, "--json")[0])
    assert value["id"] == ids([2])[0]
    assert value["bytes"] == saves.manifest(value["id"]).size
    assert [array["name"] for array in value["parts"][0]["arrays"]] == ["w", "frozen"]
    assert value["outputs"][0]["path"] == "log.csv"


def test_nothing_in_a_manifest_steers_the_terminal(saves: Saves, outlast: Outlast) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J[red]x[/red]\r\n"
    saves.save(1, arrays={hostile: np.zeros(3)}, metrics={hostile: 1.0})
    old = saves.manifest(ids([1])[0])
    saves.forge(replace(old, kind=hostile, written=hostile, fingerprint={hostile: hostile}))
    for command in ("ls", "show", "verify"):
        out, err = outlast("checkpoints", command, NAME)
        assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in out + err)
    assert "\\x1b]0;owned\\x07" in outlast("checkpoints", "show", NAME)[0]


def test_verify_reads_every_byte(saves: Saves, outlast: Outlast) -> None:
    saves.save(1, 2)
    _, err = outlast("checkpoints", "verify", NAME)
    assert err == f"{ids([2])[0]} is whole: 4.8 MB\n"
    first, second = saves.objects()
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.chmod(0o644)
    second.write_bytes(data)
    _, err = outlast("checkpoints", "verify", NAME, code=3)
    key = f"jobs/{NAME}/{second.relative_to(saves.root)}"
    told = "has other bytes than were written: its hash is another"
    assert err == f"{ids([2])[0]} is not whole: {key} {told}\n"
    outlast("checkpoints", "verify", NAME, ids([1])[0])  # it does not name that object
    first.unlink()
    second.write_bytes(data[:-1])
    out, err = outlast("checkpoints", "verify", NAME, "--all", "--json", code=3)
    two, one = json.loads(out)
    assert [two["whole"], one["whole"]] == [False, False]
    assert len(two["faults"]) == 2
    assert any("bytes, and should have" in fault for fault in two["faults"])
    assert one["faults"] == [f"jobs/{NAME}/{first.relative_to(saves.root)} is not there"]


def test_verify_all_reads_what_several_share_once(
    saves: Saves, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outlast_agent.stores.file import FileStore

    read: list[str] = []
    inner = FileStore.read

    def counted(self: FileStore, key: str, *, limit: int = 64 << 20) -> bytes:
        read.append(key)
        return inner(self, key, limit=limit)

    saves.save(1, 2, 3)
    monkeypatch.setattr(FileStore, "read", counted)  # to count, there is no other place
    _, err = outlast("checkpoints", "verify", NAME, "--all")
    assert err.count("is whole") == 3
    objects = [key for key in read if "/objects/" in key]
    assert len(objects) == len(set(objects)) == len(saves.objects())


def test_arrays_that_lie_about_their_shape_are_no_whole_checkpoint(
    saves: Saves, outlast: Outlast
) -> None:
    saves.save(1)
    old = saves.manifest(ids([1])[0])
    lies = Array("lie", "float32", (2,), (Piece(0, 0, 4),))
    saves.forge(replace(old, parts=(replace(old.parts[0], arrays=(lies,)),)))
    _, err = outlast("checkpoints", "verify", NAME, code=3)
    assert "array 'lie' has 4 bytes and should have 8" in err


@pytest.mark.parametrize("command", ["show", "verify", "export"])
def test_a_damaged_manifest(saves: Saves, outlast: Outlast, command: str) -> None:
    saves.save(1)
    path = saves.root / f"checkpoints/{ids([1])[0]}.json"
    path.write_bytes(path.read_bytes().replace(b"cadence", b"cadenze"))
    more = ["--to", saves.folder / "x.safetensors"] if command == "export" else []
    _, err = outlast("checkpoints", command, NAME, *more, code=3)
    assert len(err.splitlines()) == 1
    assert ("is not whole" if command == "verify" else "is damaged") in err
    assert "was altered: its hash is another" in err
    (line,) = listed(outlast)
    assert (line["newest"], line["resume"]) == (False, False)
    assert "cannot be read" in outlast("checkpoints", "ls", NAME)[0]


@pytest.mark.parametrize("command", ["show", "verify", "export"])
def test_a_manifest_of_a_newer_outlast(saves: Saves, outlast: Outlast, command: str) -> None:
    saves.save(1)
    saves.forge(replace(saves.manifest(ids([1])[0]), version=99))
    more = ["--to", saves.folder / "x.safetensors"] if command == "export" else []
    _, err = outlast("checkpoints", command, NAME, *more, code=2)
    assert err.startswith("outlast: manifest ")
    assert err.endswith("has format version 99, this Outlast reads up to 1: update outlast\n")
    assert "update outlast" in str(listed(outlast)[0]["trouble"])


def test_a_manifest_of_another_job_is_none_of_this(saves: Saves, outlast: Outlast) -> None:
    saves.save(1)
    saves.forge(replace(saves.manifest(ids([1])[0]), job="other"))
    _, err = outlast("checkpoints", "verify", NAME, code=3)
    assert "is of job 'other'" in err
