"""From the publication of an eviction notice to the step that is durable, with a real daemon.

The daemon (``outlast-agent run``) asks a metadata server in the shape of Azure's each second, as on
a machine; the program trains the model; the store is a folder on the same disk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outlast.manifest import newest_first
from outlast_agent import layout, records
from outlast_agent.folders import remove_root
from outlast_agent.stores.file import FileStore
from outlast_provisioning.providers.local_metadata import Metadata

JOB = "bench"
SECONDS = 30.0
PATIENCE = 300.0


def measure(size: str, folder: Path, *, times: int = 5) -> dict[str, Any]:
    """``notice_to_durable_s``, the median of evictions of one machine after the other."""
    store = FileStore(folder / "store")
    took, steps = [], []
    for number in range(1, times + 1):
        seconds, step = _eviction(store, folder, number, size)
        took.append(seconds)
        steps.append(step)
    return {
        "notice_to_durable_s": statistics.median(took),
        "notice_each_s": [round(each, 2) for each in took],
        "notice_steps": steps,
    }


def _eviction(store: FileStore, folder: Path, number: int, size: str) -> tuple[float, int]:
    """Seconds from a notice to the durable step, and that step, of attempt ``number``."""
    machine, root = f"{JOB}-{number}", folder / f"machine-{number}"
    root.mkdir()
    metadata = Metadata(machine)
    launch = records.Launch(
        job=JOB, number=number, provider="local", pool={}, machine=machine, nonce=str(number),
        reason="first",
    )  # fmt: skip
    store.create(layout.launch(JOB, number), records.dump(launch))
    (root / "spec.json").write_text(
        json.dumps(
            {
                "job": JOB, "launch": number, "machine": machine, "store": store.url,
                "runtime": "process",
                "command": [sys.executable, str(Path(__file__).with_name("notice_train.py")), size],
                "env": {"TF_CPP_MIN_LOG_LEVEL": "3"},
                "watcher": {"kind": "azure", "endpoint": metadata.endpoint, "resource": machine},
            }
        )
    )  # fmt: skip
    with (root / "journal").open("wb") as journal:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "outlast_agent", "run", "--spec", str(root / "spec.json"),
             "--root", str(root)],
            env={**os.environ, "OUTLAST_BOOT_ID": machine}, stdout=journal, stderr=journal,
        )  # fmt: skip
    try:
        # Two saves of its own are durable: it trains, and its memory and files are warm.
        _until(lambda: len(_steps(store, number)) >= 2, daemon)
        before = max(_steps(store, number))
        time.sleep(1.0 + number / 10)  # anywhere within a step
        began = time.time()
        metadata.publish("Preempt", SECONDS)
        _until(lambda: store.root.joinpath(layout.attempt_end(JOB, number)).exists(), daemon)
        step = max(_steps(store, number))
        if step <= before:
            raise RuntimeError(f"nothing was saved after the notice: see {root / 'journal'}")
        key = layout.job_root(JOB) + newest_first(_keys(store, number))[0].key
        return store.root.joinpath(key).stat().st_ctime - began, step
    finally:
        daemon.terminate()
        daemon.wait()
        remove_root(root)


def _keys(store: FileStore, attempt: int) -> list[str]:
    prefix = f"{layout.checkpoints(JOB)}{attempt:06d}-"
    return [entry.key for entry in store.list(prefix)]


def _steps(store: FileStore, attempt: int) -> list[int]:
    return [id_.step for id_ in newest_first(_keys(store, attempt))]


def _until(so: Callable[[], bool], daemon: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not so():
        if time.monotonic() > end or daemon.poll() not in (None, 0):
            raise RuntimeError("the daemon or its program does not go on")
        time.sleep(0.01)
