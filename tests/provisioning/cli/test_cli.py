"""The command itself: what it says, on which stream, with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast_agent import layout
from outlast_agent.records import Event, Result, dump
from outlast_agent.stores.file import FileStore
from outlast_provisioning import exits
from outlast_provisioning.cli.app import run

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
    assert (line["job"], line["state"]) == ("digits", "submitted")
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
    assert "will save, stop, and end" in err
    outlast("controller", "--once")
    status = json.loads(outlast("status", "digits", "--json")[0])
    assert status["state"] == "cancelled"
    assert not list(FileStore(folder / "store").list("signals/"))
    assert not list(FileStore(folder / "store").list("controllers/"))


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
