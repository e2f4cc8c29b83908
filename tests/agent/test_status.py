"""What ``outlast-agent status`` says, always within its limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from outlast_agent import records
from outlast_agent.status import MAX_BYTES, status_lines

JOB = "digits"


def beat(**more):
    value = {
        "job": JOB, "attempt": 3, "launch": 4, "machine": "m", "boot_id": "b", "sequence": 1,
        "phase": "training", "step": 512, "step_seconds": 0.21, "epoch": 3, "epochs": 70,
        "durable_step": 500, "durable_age": 4.0, "flush_seconds": 1.5,
        "metrics": {"loss": 0.25}, **more,
    }  # fmt: skip
    return records.Beat(**value)


def test_status_says_it_in_words(tmp_path):
    (tmp_path / "status.json").write_bytes(records.dump(beat(notice_seconds_left=12.0)))
    text, found = status_lines(tmp_path, as_json=False)
    assert found
    for part in ("training, attempt 3", "step 512", "epoch 3 of 70", "durable: step 500, 4 s ago",
                 "1.5 s", "notice: 12 s left", "loss 0.25"):  # fmt: skip
        assert part in text
    assert "not running" not in text
    os.utime(tmp_path / "status.json", (time.time() - 100,) * 2)
    assert "the daemon is not running" in status_lines(tmp_path, as_json=False)[0]


def test_before_anything_is_durable_it_says_so(tmp_path):
    new = beat(durable_step=None, durable_age=None, flush_seconds=None, concerns=("too slow",))
    (tmp_path / "status.json").write_bytes(records.dump(new))
    text, _ = status_lines(tmp_path, as_json=False)
    assert text.splitlines()[2:5] == [
        "durable: nothing yet",
        "to make everything durable now: not known before the first save",
        "mind: too slow",
    ]


def test_status_always_fits(tmp_path):
    huge = beat(
        detail="é" * 5000,
        concerns=("é" * 5000,),
        metrics={f"metric {n} é" * 5: 1.0 for n in range(60)},
    )
    (tmp_path / "status.json").write_bytes(records.dump(huge))
    for as_json in (True, False):
        text, _ = status_lines(tmp_path, as_json=as_json)
        assert len(text.encode()) <= MAX_BYTES
        if as_json:
            assert json.loads(text)["step"] == 512


def test_status_of_nonsense(tmp_path):
    (tmp_path / "status.json").write_text("nonsense")
    text, found = status_lines(tmp_path, as_json=False)
    assert not found
    assert "is damaged" in text


def test_it_is_told_where_the_output_cannot_take_it(tmp_path):
    (tmp_path / "status.json").write_bytes(records.dump(beat(detail="d\xe9tail \u2026")))
    command = [sys.executable, "-m", "outlast_agent", "status", "--root", str(tmp_path)]
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, **ascii_only}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"d?tail ?" in done.stdout
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        b"outlast-agent: the status cannot be written: No space left on device\n"
    )
    read, pipe = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (141, b"")
