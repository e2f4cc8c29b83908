"""What jobs, stores and files say, on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from outlast_agent import layout
from outlast_agent.records import Event, Result, dump
from outlast_agent.stores.file import FileStore
from outlast_provisioning.cli.app import run
from provisioning.cli.commands import Outlast, write

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
