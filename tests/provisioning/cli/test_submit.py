"""``submit`` and ``validate``: what they say, on which stream, with which exit code."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from outlast_agent import layout
from outlast_agent.stores.base import NoLoginError, Store, UnavailableError
from outlast_agent.stores.file import FileStore
from outlast_provisioning.cli import submitting
from outlast_provisioning.reading import Status
from provisioning.cli.commands import Outlast, write


def test_submitted_twice(folder: Path, outlast: Outlast) -> None:
    _, err = outlast("submit", folder / "job.yaml")
    assert f"Job digits is submitted to file://{folder}/store, code packed (1 files)." in err
    assert f"Start one: outlast controller --store file://{folder}/store" in err
    _, err = outlast("submit", folder / "job.yaml")
    assert "was submitted before, with the same content: nothing changed" in err
    (folder / "train.py").write_text("print(2)\n")
    _, err = outlast("submit", folder / "job.yaml", code=2)
    assert "and differs in the code: choose another name" in err


def test_how_often_it_saves_and_what_that_costs_is_told(folder: Path, outlast: Outlast) -> None:
    _, err = outlast("submit", folder / "job.yaml")
    (small, large) = [line for line in err.splitlines() if line.startswith("Saves, for ")]
    assert small.startswith("Saves, for 100 MB of state: about every 15 s on the machine")
    assert large == (
        "Saves, for 1 GB of state: about every 46 s on the machine, durable about every "
        "1 min 43 s; 3 GB kept, which costs nothing in this store."
    )
    assert "at most 1% of the training time (checkpoint.max_overhead)" in err
    assert "each 1 h 30 min; `outlast status digits` shows" in err
    fixed = write(folder, name="fixed", checkpoint="{every: 30s, durable_every: 2m, keep: 5}")
    out, err = outlast("submit", "--json", fixed)
    assert "100 MB of state: every 30 s on the machine, durable every 2 min; 500 MB kept" in err
    assert "training time" not in err
    found = json.loads(out)
    assert (found["job"], found["outcome"], found["controller"]) == ("fixed", "created", False)
    assert (found["saves"]["every"], found["saves"]["durable_every"]) == (30, 120)
    assert [one["durable_every"] for one in found["saves"]["estimates"]] == [120, 120]
    _, err = outlast("submit", "--json", "--wait", fixed, code=2)
    assert "--wait or --json, not both" in err


def test_another_submit_with_other_fields(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    write(folder, max_lifetime="1d", retries="{failures: 1}")
    _, err = outlast("submit", folder / "job.yaml", code=2)
    assert "and differs in retries, max_lifetime: choose another name" in err


def test_what_is_wrong_starts_nothing(folder: Path, outlast: Outlast) -> None:
    write(folder, comand="[python]", command="[nonsuch]")
    out, err = outlast("submit", folder / "job.yaml", code=2)
    assert out == ""
    assert err.splitlines() == [
        f"{folder}/job.yaml:7: comand: unknown field; did you mean command?"
    ]
    write(folder, command="[nonsuch]")
    _, err = outlast("submit", folder / "job.yaml", code=2)
    assert "job.yaml:4: command[0]: nonsuch is not a command of this machine" in err
    assert not (folder / "store").exists()
    assert not (folder.parent / "home").exists()


def test_a_store_that_cannot_be_written(folder: Path, outlast: Outlast) -> None:
    (folder / "file").write_text("")
    write(folder, store=f"file://{folder}/file/store")
    _, err = outlast("submit", folder / "job.yaml", code=2)
    (line,) = err.splitlines()
    assert line.startswith("outlast: ")
    assert f"{folder}/file/store" in line


def test_validate(folder: Path, outlast: Outlast) -> None:
    out, err = outlast("validate", folder / "job.yaml")
    assert "job.yaml: fine" in err
    out, _ = outlast("validate", "--json", folder / "job.yaml")
    found = json.loads(out)
    assert (found["valid"], found["errors"], found["warnings"]) == (True, [], [])
    assert len(found["saves"]["estimates"]) == 2
    write(folder, nme="x")
    out, _ = outlast("validate", "--json", folder / "job.yaml", code=2)
    assert json.loads(out)["errors"] == [
        f"{folder}/job.yaml:7: nme: unknown field; did you mean name?"
    ]
    assert not (folder / "store").exists()


def test_validate_asks_the_store_and_leaves_nothing_there(folder: Path, outlast: Outlast) -> None:
    outlast("validate", write(folder, store="file://./some/where"))
    assert not (folder / "some").exists()
    (folder / "file").write_text("")
    refused = write(folder, store=f"file://{folder}/file/store")
    _, err = outlast("validate", refused, code=2)
    assert f"{folder}/file/store" in err
    found = json.loads(outlast("validate", "--json", refused, code=2)[0])
    assert (found["valid"], len(found["errors"])) == (False, 1)


def test_validate_says_what_it_could_not_check(
    folder: Path, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(url: str) -> Store:
        raise UnavailableError(f"{url}: no route")

    monkeypatch.setattr(submitting, "try_store", away)  # a real one is asked for half a minute
    _, err = outlast("validate", folder / "job.yaml")
    assert "Note: the store was not checked: file://" in err
    assert "job.yaml: fine" in err

    def no_login(url: str) -> Store:
        raise NoLoginError("no credentials: set AWS_ACCESS_KEY_ID")

    monkeypatch.setattr(submitting, "try_store", no_login)
    _, err = outlast("validate", folder / "job.yaml", code=2)
    assert "set AWS_ACCESS_KEY_ID" in err


def test_without_an_engine_an_image_job_is_refused_at_once(
    folder: Path, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, image="repo/x:1")
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(f"{folder}/dead.sock")  # as an engine leaves it that was killed
    for name in ("none.sock", "dead.sock"):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/{name}")
        for verb in ("validate", "submit"):
            _, err = outlast(verb, path, code=2)
            (line,) = err.splitlines()
            assert line.startswith(f"{path}:7: image: no container engine answers at unix://")
            assert "install or start Docker, or leave out `image`" in line
    assert not (folder / "store").exists()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (None, "stays submitted. It gets a machine from a controller: outlast controller"),
        (Status("j", "s", "waiting"), "stays submitted. It gets a machine from a controller"),
        (Status("j", "s", "training", machine="m-1"), "it would begin anew, nothing is saved yet"),
        (
            Status("j", "s", "training", machine="m-1", durable_step=8),
            "it would go on from step 8, or what is saved by then",
        ),
    ],
)
def test_what_is_said_at_ctrl_c(status: Status | None, told: str) -> None:
    lines = submitting.after_interrupt("j", "file:///s", status)
    assert told in "\n".join(lines)
    assert lines[-2:] == [
        "Follow it: outlast status j, outlast logs -f j",
        "End it: outlast cancel j",
    ]


def test_a_home_that_cannot_be_written_costs_only_convenience(
    folder: Path, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / "file").write_text("")
    monkeypatch.setenv("OUTLAST_HOME", str(folder.parent / "file"))
    _, err = outlast("submit", folder / "job.yaml")
    assert f"give --store file://{folder}/store to every command" in err


BAD_URLS = [
    ("http://[::1", "'http://[::1' is not the URL of a store"),
    ("file://[x", "'file://[x' is not the URL of a store"),
    ("file://~nouser/x", "'file://~nouser/x' names the home of nobody"),
    ("file:///tmp/%00x", "holds a NUL character"),
    ("s3://bucket/prefix?x=1", "s3://bucket/prefix must hold no credentials, query or fragment"),
    ("file:///tmp/a#b", "file:///tmp/a must end before ? or #"),
    ("file:///" + "a" * 5000, "File name too long"),
]


@pytest.mark.parametrize(("url", "told"), BAD_URLS)
def test_a_url_that_is_none_is_told_in_one_line(
    url: str, told: str, folder: Path, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*arguments: object) -> None:
        _, err = outlast(*arguments, code=2)
        (line,) = err.splitlines()
        assert told in line

    check("ls", "--store", url)
    check("submit", folder / "job.yaml", "--store", url)
    monkeypatch.setenv("OUTLAST_STORE", url)
    check("status", "digits")
    monkeypatch.delenv("OUTLAST_STORE")
    out, _ = outlast("validate", "--json", write(folder, store=f'"{url}"'), code=2)
    (error,) = json.loads(out)["errors"]
    assert told in error


def test_an_input_whose_url_is_none_is_a_complaint(folder: Path, outlast: Outlast) -> None:
    inputs = '[{from: "http://[::1", to: /data}]'
    _, err = outlast("validate", write(folder, inputs=inputs), code=2)
    assert "inputs[0]: from: 'http://[::1' is not a URL" in err


def test_a_job_file_that_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    is_pipe = f"{tmp_path}/pipe: is a pipe: give `-` as the file, and the pipe as stdin\n"
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        command = [sys.executable, "-m", "outlast_provisioning", "validate", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 2
        told = f"{path}: cannot be read: not a regular file\n"
        assert done.stderr == (is_pipe if path.name == "pipe" else told)


def test_a_job_file_that_is_piped_in(
    folder: Path, outlast: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def piped(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    monkeypatch.chdir(folder)
    good = (folder / "job.yaml").read_bytes()
    piped(good)
    outlast("submit", "-")
    assert FileStore(folder / "store").read(layout.job_file("digits"))
    piped(good.replace(b"name: digits", b"name: Digits"))
    assert "stdin:2: name: must be lower-case" in outlast("validate", "-", code=2)[1]
    piped(b"#" * (2 << 20))
    assert "longer than 1 MiB" in outlast("validate", "-", code=2)[1]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)  # a test has no terminal
    assert "stdin: nothing is piped in" in outlast("validate", "-", code=2)[1]
