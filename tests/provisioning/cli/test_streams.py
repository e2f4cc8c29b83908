"""The command where its output cannot be written as it would like."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outlast_agent import layout
from outlast_agent.records import Result, dump
from outlast_agent.stores.file import FileStore
from outlast_provisioning import exits
from outlast_provisioning.cli.streams import write_bytes
from outlast_provisioning.cli.terminal import complain, say
from outlast_provisioning.cli.visible import visible
from provisioning.simulated import NAME, job


@pytest.fixture
def store(tmp_path: Path) -> str:
    made = FileStore(tmp_path / "store")
    made.create(layout.job_file(NAME), dump(job()))
    made.create(layout.log(NAME, 1, 0), b"epoch\n" * 100_000)  # more than a pipe holds
    made.create(layout.result(NAME), dump(Result(outcome="failed", message="d\xe9faut \u2026")))
    return f"file://{tmp_path}/store"


def outlast(
    *arguments: str, stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-m", "outlast_provisioning", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("verb", ["logs", "status"])
def test_a_pipe_that_nobody_reads_ends_it_without_a_word(store: str, verb: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = outlast(verb, NAME, "--store", store, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (exits.NOBODY_READS, "")


@pytest.mark.parametrize("verb", ["logs", "status"])
def test_a_full_disk_is_told_in_one_line(store: str, verb: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = outlast(verb, NAME, "--store", store, stdout=full.fileno())
    assert done.returncode == exits.UNAVAILABLE
    assert done.stderr == "outlast: the output cannot be written: No space left on device\n"


def test_a_log_that_cannot_be_written_ends_no_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(OSError, match="No space left"):
            complain("a fault of what was typed")
        say("a machine was deleted", machine="m")
        with contextlib.suppress(OSError):
            full.close()


class Short(io.RawIOBase):
    """Takes a little at a time, as an unbuffered stdout may."""

    def __init__(self) -> None:
        self.got = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.got += bytes(data[:3])
        return len(data[:3])


def test_a_log_is_written_whole_by_writes_that_take_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Short()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=True))  # type: ignore[type-var]
    write_bytes(b"one\nand two\n")
    assert raw.got == b"one\nand two\n"


def test_a_terminal_without_the_letters_shows_what_they_are(store: str) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = outlast("status", NAME, "--store", store, **ascii_only)
    assert done.returncode == 0, done.stderr
    assert r"d\xe9faut \u2026" in done.stdout


def test_an_output_that_is_closed_is_no_fault(store: str) -> None:
    command = f'"{sys.executable}" -m outlast_provisioning ls --store "{store}" >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], check=False, timeout=60).returncode == 0


def test_a_name_that_is_no_text_is_shown_by_its_bytes() -> None:
    assert visible(os.fsdecode(b"caf\xe9.yaml")) == r"caf\xe9.yaml"
