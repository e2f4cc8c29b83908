"""From the call that snapshots to the store's answer to the manifest, against the bare upload.

Three processes, as in life: the program with the library (this one), the daemon's uploader
(``flush_daemon.py``), and the store (``flush_sink.py``). The bare upload sends as many bytes from
memory to the same sink over one connection of ``http.client``, in requests of 64 MiB.

``flush_ratio``            ours / the bare upload, over plain HTTP. Requests are not signed there:
                           over TLS the content is not hashed for a signature either.
``flush_tls_ratio``        the same over TLS
``flush_slow_disk_ratio``  link 500 MB/s, disk 100 MB/s (``flush_disk.py``) / the link alone
``flush_cpu_seconds_per_gb``, ``flush_tls_cpu_seconds_per_gb``
                           processor time of library and daemon in a flush, the last one of those
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import flush_disk
import flush_sink
import models
import numpy as np

OBJECT_BYTES = 64 << 20
LINK = 500e6
DISK = 100e6


def measure(size: str, folder: Path, *, times: int = 5) -> dict[str, Any]:
    """All rows for one size; medians of interleaved turns."""
    made = models.model(size)
    found: dict[str, Any] = {}
    for name, tls, slow in (("", False, False), ("_tls", True, False), ("_slow_disk", False, True)):
        row = Row(made, folder / f"row{name}", tls=tls, slow=slow).measure(times)
        found |= {f"flush{name}_{key}": value for key, value in row.items()}
    return found


class Row:
    """One way of flushing ``made``."""

    def __init__(self, made: Any, folder: Path, *, tls: bool, slow: bool) -> None:
        folder.mkdir()
        self._made, self._folder, self._tls, self._slow = made, folder, tls, slow
        self._state = models.state_bytes(made)
        self._content = np.random.default_rng(1).bytes(min(self._state, OBJECT_BYTES))

    def measure(self, times: int) -> dict[str, Any]:
        ours, bare, processor = [], [], []
        with flush_sink.running(
            self._folder, tls=self._tls, rate=LINK if self._slow else None
        ) as port, self._scratch() as here:  # fmt: skip
            environ = flush_sink.environment(port, self._folder, tls=self._tls)
            with memory() as shared, Daemon(here, shared, environ) as daemon:
                program = Program(self._made, here, shared)
                for turn in range(times + 1):
                    # A save on cadence goes before, as in life: its files can be written over.
                    daemon.wait(program.save("cadence"))
                    bare.append(self._bare(port, turn))
                    daemon.rush()
                    models.change(self._made)
                    used = daemon.cpu + _processor_seconds()
                    began = time.monotonic()
                    said = daemon.wait(program.save("notice"))
                    ours.append(said["at"] - began)
                    processor.append(daemon.cpu + _processor_seconds() - used)
                program.close()
        del ours[0], bare[0], processor[0]  # the first touch of memory and of connections
        return {
            "ratio": statistics.median(ours) / statistics.median(bare),
            "seconds": [round(each, 3) for each in ours],
            "bare_seconds": [round(each, 3) for each in bare],
            "cpu_seconds_per_gb": statistics.median(processor) / self._state * 1e9,
        }

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        if self._slow:
            room = 4 * self._state + (256 << 20)
            with flush_disk.slow_disk(self._folder, room, DISK) as here:
                yield here
        else:
            yield self._folder / "scratch"

    def _bare(self, port: int, turn: int) -> float:
        if self._tls:
            context = ssl.create_default_context(cafile=str(self._folder / "cert.pem"))
            link: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", port, context=context
            )
        else:
            link = http.client.HTTPConnection("127.0.0.1", port)
        link.connect()
        left, number = self._state, 0
        began = time.perf_counter()
        while left > 0:
            content = memoryview(self._content)[: min(left, OBJECT_BYTES)]
            link.request("PUT", f"/bench/bare/{turn}/{number}", body=content)
            link.getresponse().read()
            left, number = left - len(content), number + 1
        took = time.perf_counter() - began
        link.close()
        return took


@contextmanager
def memory() -> Iterator[Path]:
    """A folder on a file system in memory, as the daemon gives one to the program."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="checkpoint-") as found:
        yield Path(found)


class Program:
    """The library's half."""

    def __init__(self, made: Any, scratch: Path, shared: Path) -> None:
        from outlast.environment import Environment
        from outlast.keras_fit import capture
        from outlast.saving import Saving

        here = Environment(
            scratch, None, scratch, "bench", attempt=1, rank=0, world_size=1, memory=shared
        )
        self._made, self._step = made, 0
        self._saving = Saving(here, on_note=print, monotonic=time.monotonic)
        self._saving.prepare(capture.read(capture.variables_of(made), "now/"))

    def save(self, kind: Literal["cadence", "notice"]) -> int:
        """Snapshot and write; its step."""
        from outlast.keras_fit import capture
        from outlast.snapshot import Snapshot

        self._step += 1
        arrays = capture.read(capture.variables_of(self._made), "now/")
        self._saving.save(Snapshot(self._step, {}, arrays), kind)
        if not self._saving.flush(300):
            raise RuntimeError("not saved")
        return self._step

    def close(self) -> None:
        """Let go of the folders."""
        self._saving.close()


class Daemon:
    """The other half."""

    def __init__(self, scratch: Path, shared: Path, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("flush_daemon.py")), str(scratch),
             str(shared), f"s3://{flush_sink.BUCKET}/jobs"],
            env={**os.environ, **environ}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.cpu = 0.0
        """Seconds of processor time, as it said last."""
        self._hear("ready")

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def rush(self) -> None:
        """Tell it of a notice."""
        assert self._process.stdin is not None
        self._process.stdin.write("notice\n")
        self._process.stdin.flush()
        self._hear("rushing")

    def wait(self, step: int) -> dict[str, Any]:
        """What it says when ``step`` is durable."""
        while (said := self._hear("step"))["step"] != step:
            pass
        self.cpu = said["cpu"]
        return said

    def _hear(self, what: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            said: dict[str, Any] = json.loads(line)
            if what in said:
                return said
            if "rushing" not in said:
                raise RuntimeError(f"the daemon said {line}")
        raise RuntimeError("the daemon has ended")


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
