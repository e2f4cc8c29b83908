"""Every other command: what it says, on which stream, with which exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlast import __version__
from outlast_agent import layout
from outlast_agent.records import Controller, Event, Result, dump
from outlast_agent.stores.file import FileStore
from outlast_provisioning import exits
from outlast_provisioning.clock import stamp
from provisioning.cli.commands import Outlast, write


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
