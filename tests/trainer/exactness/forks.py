"""A process that has imported Keras and what it runs on once, and forks for every run.

Importing TensorFlow takes seconds; forking after the import, before any operation has started a
thread, gives each run a fresh process without it. The server reads one JSON request a line and
answers with one line when that run is over::

    done = shared().run("trainer.exactness.child:main", {...}, folder=..., environ=..., log=...)
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[2]
STARTING_SECONDS = 120.0
IMPORTED = (
    "tensorflow",
    "outlast.keras_fit.loop",
    "outlast.keras_fit.resume",
    "tensorboard.summary",
    "tensorflow.python.data.ops.concatenate_op",
    "tensorflow.python.data.ops.flat_map_op",
    "tensorflow.python.data.ops.from_tensors_op",
    "tensorflow.python.data.ops.range_op",
    "tensorflow.python.data.ops.zip_op",
    "trainer.exactness.child",
)
"""What nearly every run on TensorFlow would import by itself."""


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    code: int
    """Exit code; negative: ended by that signal."""
    seconds: float
    log: str
    """Everything it printed."""


class Forks:
    """The server, from the side of the tests."""

    def __init__(self, backend: str = "tensorflow") -> None:
        """``backend`` is what Keras runs on."""
        self._backend = backend
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        target: str,
        arguments: Mapping[str, Any],
        *,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        timeout: float = 120.0,
    ) -> Done:
        """Call ``module:function`` with ``arguments`` as a fresh program started in ``folder``.

        It is killed with its group after ``timeout`` seconds. Raises RuntimeError if the server
        itself is gone.
        """
        request = {
            "target": target,
            "arguments": dict(arguments),
            "folder": str(folder),
            "log": str(log),
            "environ": dict(environ or {}),
            "timeout": timeout,
        }
        answer = self._ask(json.dumps(request), timeout + STARTING_SECONDS)
        return Done(answer["code"], answer["seconds"], log.read_text(errors="replace"))

    def _ask(self, line: str, timeout: float) -> Any:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                process.kill()
                raise RuntimeError(f"the fork server did not answer within {timeout:.0f} s")
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the fork server ended with {process.wait(10)}")
        return json.loads(answer)

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "trainer.exactness.forks"],
            cwd=TESTS,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("OUTLAST_")},
                "KERAS_BACKEND": self._backend,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "",
                "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
                "PYTHONWARNINGS": "ignore",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )


@functools.cache
def shared() -> Forks:
    """One server for all the tests of this process; it ends when this process does."""
    return Forks()


def serve() -> dict[str, Any] | None:
    """Answer requests; returns the request in the child that shall run it, None at the end."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TensorFlow prints is not an answer
    import keras

    if keras.backend.backend() == "tensorflow":
        for name in IMPORTED:
            importlib.import_module(name)

    # Frozen objects are not walked by the child's collector, which would copy their pages.
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        request = json.loads(line)
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            answers.close()
            return dict(request)
        code = _wait(pid, started + request["timeout"])
        answer = {"code": code, "seconds": time.monotonic() - started}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return None


def _wait(pid: int, deadline: float) -> int:
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.005)


def perform(request: dict[str, Any]) -> None:
    """In the child: become a program of its own, then call the target."""
    os.setpgid(0, 0)
    os.chdir(request["folder"])
    os.environ.update(request["environ"])
    script = str(Path(request["folder"]) / "train.py")
    sys.argv = [script]
    sys.modules["__main__"].__file__ = script
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    module, _, function = request["target"].partition(":")
    getattr(importlib.import_module(module), function)(**request["arguments"])


if __name__ == "__main__":
    # The child leaves the loop and ends as any program does: exit functions, excepthook, code.
    if (work := serve()) is not None:
        perform(work)
