"""Reads what is in a store as the next attempt would, in a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from outlast_agent.board import Board
from outlast_agent.journal import open_journal
from outlast_agent.stores.open import open_store
from outlast_agent.surely import Surely
from outlast_agent.sync.restore import Downloader
from torture import program
from torture.children import saying
from torture.daemon import JOB

if TYPE_CHECKING:
    from torture.machine import Machine

FAR = 10**6
"""Below this attempt: all of them."""


def read(machine: Machine, channel: socket.socket, *, most: int) -> None:
    """Says the newest ``most`` checkpoints in the store, and what is wrong with them."""
    say = saying(channel)
    os.environ.update(machine.environ_read)
    patient = Surely(Board(), open_journal(), "reader", threading.Event())
    store = open_store(machine.url)
    ids: list[str] = []
    faults: list[tuple[str, str]] = []
    folder = Path(tempfile.mkdtemp(prefix="read-", dir=machine.root))
    downloader = Downloader(store, JOB, lambda _: folder, patient)
    while len(ids) < most:
        found = downloader.newest(below=FAR, set_aside=ids)
        for id_, why in found.damaged.items():
            ids.append(str(id_))
            faults.append(("torn", f"{id_} in the store: {why}"))
        if found.manifest is None:
            break
        ids.append(str(found.manifest.id))
        wrong = program.check(folder, found.manifest.id)
        if wrong is not None:
            faults.append(("wrong", f"{found.manifest.id} in the store: {wrong}"))
    shutil.rmtree(folder)
    say(read=ids, faults=faults)
