"""The command itself: what it says, on which stream, with which exit code."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast import __version__
from outlast_agent import layout
from outlast_agent.records import Controller, Event, Result, dump
from outlast_agent.stores.base import NoLoginError, Store, UnavailableError
from outlast_agent.stores.file import FileStore
from outlast_provisioning import exits
from outlast_provisioning.cli import submitting
from outlast_provisioning.cli.app import run
from outlast_provisioning.clock import stamp
from outlast_provisioning.reading import Status

Outlast = Callable[..., tuple[str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUTLAST_HOME", str(tmp_path / "home"))
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n")
    write(folder)
    return folder


def write(folder: Path, **fields: str) -> Path:
    base = {
        "version": "1",
        "name": "digits",
        "code": ".",
        "command": "[python, train.py]",
        "store": "file://./store",
        "pools": "[{provider: local}]",
        **fields,
    }
    path = folder / "job.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in base.items()))
    return path


@pytest.fixture
def outlast(capsys: pytest.CaptureFixture[str]) -> Outlast:
    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        found = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert found == code, (out, err)
        return out, err

    return call


def test_submitted_twice(folder: Path, outlast: Outlast) -> None:
    _, err = outlast("submit", folder / "job.yaml")
    assert f"Job digits is submitted to file://{folder}/store, code packed (1 files)." in err
    assert f"Start one: outlast controller --store file://{folder}/store" in err
    _, err = outlast("submit", folder / "job.yaml")
    assert "was submitted before, with the same content: nothing changed" in err
    (folder / "train.py").write_text("print(2)\n")
    _, err = outlast("submit", folder / "job.yaml", code=2)
    assert "and differs in the code: choose another name" in err


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
    assert json.loads(out) == {"valid": True, "errors": [], "warnings": []}
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


def test_which_version(outlast: Outlast) -> None:
    assert outlast("--version")[0] == f"outlast {__version__}\n"


def test_reading_verbs_have_json(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    store = FileStore(folder / "store")
    happened = Event(source="daemon", kind="claimed", text="attempt 1 is claimed", attempt=1)
    store.create(layout.event("digits", 1, "n"), dump(happened))
    store.create(layout.log("digits", 1, 0), b"epoch 1\n")
    status = json.loads(outlast("status", "digits", "--json")[0])
    assert (status["job"], status["state"], status["durable_step"]) == ("digits", "waiting", None)
    assert status["events"][0]["text"] == "attempt 1 is claimed"
    (line,) = json.loads(outlast("ls", "--json")[0])
    assert (line["job"], line["state"]) == ("digits", "waiting")
    (event,) = json.loads(outlast("events", "digits", "--json")[0])
    assert event["kind"] == "claimed"
    assert outlast("logs", "digits")[0] == "epoch 1\n"
    chunk = json.loads(outlast("logs", "digits", "--json")[0])
    assert chunk == {"attempt": 1, "text": "epoch 1\n"}


def test_tables_for_people(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    assert "digits" in outlast("ls")[0]
    out, err = outlast("status", "digits")
    assert "waiting" in out
    assert "No controller watches this store" in err


def test_logs_followed_until_the_end(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    store = FileStore(folder / "store")
    store.create(layout.log("digits", 1, 0), b"the end\n")
    store.create(layout.result("digits"), dump(Result(outcome="finished")))
    assert outlast("logs", "-f", "digits")[0] == "the end\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["status", "nobody"], "job nobody was not submitted from here: give --store URL"),
        (["status", "No Name"], "is not the name of a job"),
        (["status", os.fsdecode(b"\xff")], "outlast: '\\xff' is not the name of a job"),
        (["ls", "--store", os.fsdecode(b"file:///\xff")], "file:///\\xff is no text"),
        (["ls"], "no job was submitted from here: give --store URL"),
        (["controller"], "no job was submitted from here: give --store URL"),
        (["ls", "--store", "ftp://x"], "is not the URL of a store"),
    ],
)
def test_names_that_mean_nothing(
    folder: Path, outlast: Outlast, arguments: list[str], told: str
) -> None:
    _, err = outlast(*arguments, code=2)
    (line,) = err.splitlines()
    assert told in line


def test_a_job_that_is_not_in_the_store(folder: Path, outlast: Outlast) -> None:
    url = f"file://{folder}/store"
    FileStore(folder / "store")
    for verb in ("status", "events", "logs", "cancel", "evict"):
        _, err = outlast(verb, "nobody", "--store", url, code=2)
        assert f"no job nobody in {url}" in err, verb


def test_nothing_to_evict_or_resume(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    _, err = outlast("evict", "digits", code=2)
    assert "has no machine now (waiting): nothing to evict" in err
    _, err = outlast("resume", "digits", "--from", "x", code=2)
    assert "is not held: there is nothing to decide" in err


def test_cancelled_before_it_began(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    _, err = outlast("cancel", "digits")
    assert "is told to save, if it saves, and stop" in err
    assert "No controller watches this store" in err
    outlast("controller", "--once")
    status = json.loads(outlast("status", "digits", "--json")[0])
    assert status["state"] == "cancelled"
    assert not list(FileStore(folder / "store").list("signals/"))
    assert not list(FileStore(folder / "store").list("controllers/"))


def test_a_store_that_is_not_there_is_not_made(folder: Path, outlast: Outlast) -> None:
    url = f"file://{folder}/typo"
    for arguments in (["ls"], ["status", "digits"], ["cancel", "digits"]):
        out, err = outlast(*arguments, "--store", url, code=2)
        assert out == ""
        assert err == (f"outlast: there is no folder {folder}/typo: correct the URL of the store\n")
    assert not (folder / "typo").exists()


def test_an_empty_store_says_so(folder: Path, outlast: Outlast) -> None:
    FileStore(folder / "store")
    url = f"file://{folder}/store"
    out, err = outlast("ls", "--store", url)
    assert (out, err) == ("", f"No jobs in {url}. Submit one: outlast submit job.yaml\n")
    assert outlast("ls", "--json", "--store", url)[0] == "[]\n"


def test_a_store_that_was_removed_does_not_hide_the_others(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    outlast("submit", write(folder, name="other", store="file://./second"))
    shutil.rmtree(folder / "second")
    out, err = outlast("ls")
    assert "digits" in out
    assert err == f"Note: there is no folder {folder}/second: correct the URL of the store\n"
    outlast("submit", write(folder, name="last", store="file://./a-first"))
    shutil.rmtree(folder / "a-first")
    (folder / "a-first").write_text("")  # it is there, but of no use: the list is not whole
    out, err = outlast("ls", code=exits.UNAVAILABLE)
    assert "digits" in out
    assert f"{folder}/a-first" in err


def test_one_look_tells_of_another_controller_and_what_it_saw(
    folder: Path, outlast: Outlast
) -> None:
    store = FileStore(folder / "store")
    url = f"file://{folder}/store"
    word = Controller(id="c1", host="h", pid=7, sequence=1, at=stamp())
    store.put(layout.controller("c1"), dump(word))
    old = word.model_copy(update={"id": "c2", "at": "2020-01-01T00:00:00Z"})
    store.put(layout.controller("c2"), dump(old))
    _, err = outlast("controller", "--once", "--store", url)
    first, last = err.splitlines()
    assert "another controller watches this store too: that is safe" in first
    assert "controller=c1" in first
    assert f"looked once  store={url} jobs=0" in last


def test_one_look_at_a_store_that_fails_is_not_called_done(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    FileStore(folder / "store").put(layout.claim("digits", 1), b"{damaged")
    _, err = outlast("controller", "--once", code=exits.UNAVAILABLE)
    assert (
        "jobs/digits/attempts/000001.json is damaged: it is not a whole JSON object: put a whole "
        "copy of it back, or submit the job under another name\n"
    ) in err


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


def test_several_stores_are_told_apart(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    write(folder, name="other", store="file://./second")
    outlast("submit", folder / "job.yaml")
    lines = json.loads(outlast("ls", "--json")[0])
    assert {line["job"] for line in lines} == {"digits", "other"}
    _, err = outlast("controller", "--once", code=2)
    assert "give --store URL; known here: " in err


def test_usage_faults_are_bad_input(folder: Path, outlast: Outlast) -> None:
    outlast("submit", code=2)
    outlast("frobnicate", code=2)
    outlast("status", "digits", "--nonsense", code=2)
    out, _ = outlast("--help")
    assert "130 interrupted" in " ".join(out.split())


def test_a_newer_record_is_refused_in_one_line(folder: Path, outlast: Outlast) -> None:
    outlast("submit", folder / "job.yaml")
    store = FileStore(folder / "store")
    store.create(layout.result("digits"), dump(Result(outcome="finished", version=9)))
    _, err = outlast("status", "digits", code=exits.UNAVAILABLE)
    (line,) = err.splitlines()
    assert "has version 9, this Outlast reads up to 1: update outlast here" in line


def test_without_its_extra_it_names_the_one_command() -> None:
    script = (
        "import sys\n"
        "sys.modules['typer'] = None\n"
        "from outlast_provisioning.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "outlast: the command line needs typer: pip install 'outlast[cli]'\n"


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


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m[red]x[/red]\r\x08"


def hostile_job(folder: Path) -> None:
    assert run(["submit", str(folder / "job.yaml")]) == 0
    store = FileStore(folder / "store")
    store.create(layout.log("digits", 1, 0), f"\x1b[31m{HOSTILE}\xff\n".encode("latin-1"))
    event = Event(source="daemon", kind="started", text=HOSTILE, at=HOSTILE)
    store.create(layout.event("digits", 1, "0"), dump(event))
    result = Result(outcome="failed", message=HOSTILE, log_tail=(HOSTILE,))
    store.create(layout.result("digits"), dump(result))


def steers(text: str) -> bool:
    return any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in text)


@pytest.mark.parametrize("command", [("status", "digits"), ("events", "digits"), ("ls",)])
def test_what_a_job_says_does_not_steer_the_terminal(
    command: tuple[str, ...], folder: Path, outlast: Outlast
) -> None:
    hostile_job(folder)
    out, err = outlast(*command, "--store", f"file://{folder}/store")
    assert "\\x1b]0;owned\\x07\\x1b[2" in out
    assert command == ("ls",) or "\\x9b31m[red]x[/red]" in out
    assert not steers(out + err)


def test_a_log_is_harmless_on_a_terminal_and_whole_in_a_file(
    folder: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_job(folder)
    capfdbinary.readouterr()
    run(["logs", "digits"])
    assert capfdbinary.readouterr().out == f"\x1b[31m{HOSTILE}\xff\n".encode("latin-1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)  # a test has no terminal
    run(["logs", "digits"])
    shown = capfdbinary.readouterr().out.decode()
    assert shown.startswith("\\x1b]0;owned\\x07")
    assert not steers(shown)


def test_a_key_of_a_job_file_does_not_steer_the_terminal(folder: Path, outlast: Outlast) -> None:
    path = write(folder, **{r'"\e[2J\r"': "1"})
    for command in ("validate", "submit"):
        _, err = outlast(command, path, code=2)
        assert "\\x1b[2J\\x0d: unknown field" in err
        assert not steers(err)


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
