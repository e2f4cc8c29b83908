"""A container's output, appended to a file while it runs: every byte once.

The engine keeps the whole output and gives it in the same order each time, so a follower that
starts again passes over as many bytes as were written already. How long the file was before the
container's first byte is remembered beside it.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from outlast.durable import read_json, replace_json
from outlast_agent.runtimes.docker_errors import one_line

_PAUSE_SECONDS = 1.0


class LogFollower:
    """Follows one container in a thread of its own."""

    def __init__(self, container: Container, log: Path, state: Path) -> None:
        """``state`` is a folder; what is remembered lies there."""
        self._container = container
        self._log = log
        self._start_file = state / "docker-log.json"
        self._done = threading.Event()
        self.fault = "the engine still holds it"
        """Why the output is not whole, while it is not."""

    def begin(self) -> None:
        """Remember where this container's output begins. Before it is started. Raises OSError."""
        with self._log.open("ab") as file:
            begun = {"container": self._container.id, "size": file.tell()}
        replace_json(self._start_file, begun)

    def start(self) -> None:
        """Follow until the output ends."""
        thread = threading.Thread(target=self._run, name="container-log", daemon=True)
        thread.start()

    def finish(self, timeout: float) -> bool:
        """Wait until all is written; False if it is not after ``timeout`` seconds."""
        return self._done.wait(timeout)

    def _run(self) -> None:
        try:
            while not self._follow():
                # The engine broke off: it restarts, perhaps. What it keeps is asked for again.
                time.sleep(_PAUSE_SECONDS)
        finally:
            self._done.set()

    def _follow(self) -> bool:
        """Whether the output came to its end."""
        try:
            with self._log.open("ab", buffering=0) as file:
                skip = max(0, os.fstat(file.fileno()).st_size - self._begin())
                for chunk in self._chunks():
                    fresh = chunk[skip:]
                    skip = max(0, skip - len(chunk))
                    if fresh:
                        file.write(fresh)
            self._container.reload()
        except NotFound:
            return True
        except (DockerException, requests.exceptions.RequestException, OSError) as error:
            self.fault = one_line(error)
            return False
        return self._container.status in {"exited", "dead"}

    def _chunks(self) -> Any:
        return self._container.logs(stdout=True, stderr=True, stream=True, follow=True)

    def _begin(self) -> int:
        try:
            begun = read_json(self._start_file)
        except (OSError, ValueError):
            return 0
        return int(begun["size"]) if begun["container"] == self._container.id else 0
