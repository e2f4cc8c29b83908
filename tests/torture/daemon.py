"""The daemon under torture: its restore and its uploads, without what decides about them."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from outlast.durable import replace_file
from outlast.manifest import CheckpointId, Manifest, dump_manifest, parse_manifest
from outlast.outputs import restore_outputs
from outlast_agent import layout, surely
from outlast_agent.board import Board
from outlast_agent.journal import open_journal
from outlast_agent.stores import patience, retrying
from outlast_agent.stores.base import Store
from outlast_agent.stores.open import open_store
from outlast_agent.sync import carriers, upload
from outlast_agent.sync.cadence import Cadence
from outlast_agent.sync.collect import Rule
from outlast_agent.sync.restore import Downloader
from outlast_agent.sync.sweep import Sweeper
from outlast_agent.sync.whole import Lineage
from torture.children import saying
from torture.failing import Failing

if TYPE_CHECKING:
    from torture.machine import Machine

JOB = "torture"


def serve(machine: Machine, channel: socket.socket, *, adopts: bool) -> None:
    """As ``Attempt`` does it: restore into fresh folders, then upload what the program saves."""
    say = saying(channel)
    upload.SWEEP_SECONDS = 0.0  # after every upload: minutes of training are not waited for
    upload.LOOK_SECONDS = 0.005  # for the watch on the folder
    carriers.COUNT = random.Random(os.getpid()).choice((1, 4))  # with one, much waits to be read
    os.environ.update(machine.environ)
    store: Store = open_store(machine.url)
    if machine.failing is not None:
        store = Failing(store, random.Random(machine.failing + os.getpid()))
    if machine.failing is not None or machine.faulty:
        _hurry()
    stop = threading.Event()
    patient = surely.Surely(Board(), open_journal(), "restore", stop)
    patient.create(store, layout.claim(JOB, machine.attempt), b"{}")
    parent: Manifest | None = None
    if adopts:
        if machine.parent.exists():
            name, _, data = machine.parent.read_bytes().partition(b"\n")
            parent = parse_manifest(data, name=name.decode())
    else:
        downloader = Downloader(store, JOB, lambda _: machine.downloads, patient)
        found = downloader.newest(below=machine.attempt, set_aside=())
        parent = found.manifest
        if parent is not None:
            downloader.move(parent, machine.scratch)
            restore_outputs(machine.scratch, parent, machine.outputs)
            data = f"{parent.id}\n".encode() + dump_manifest(parent)
            replace_file(machine.parent, data)
        damaged = {str(id_): why for id_, why in found.damaged.items()}
        say(restored=None if parent is None else str(parent.id), damaged=damaged)
    lineage = Lineage(JOB, machine.attempt, parent)
    uploader = upload.Uploader(
        store, [each for each in (machine.scratch, machine.memory) if each.is_dir()], lineage,
        lambda stop: surely.Surely(Board(), open_journal(), "upload", stop),
        cadence=Cadence(0.0), sweeper=Sweeper(store, lineage, Rule(newest=2), lambda _told: None),
        on_durable=lambda durable: say(durable=str(durable.id)),
        on_refused=lambda why: say(refused=why),
        on_crash=lambda error: say(crashed=repr(error)),
    )  # fmt: skip
    (machine.scratch / "checkpoints").mkdir(exist_ok=True)
    uploader.start()
    say(uploading=True)
    while word := channel.recv(100):
        match word:
            case b"flush":
                uploader.flush(time.monotonic() + 20, lambda: say(flushed=True))
            case b"rush":
                uploader.rush(time.monotonic() + 30)


def _hurry() -> None:
    """Tries again at once, and finds within a second that nothing answers."""
    surely.FIRST_DELAY, surely.LAST_DELAY = 0.005, 0.02
    retrying.FIRST_PAUSE, retrying.LONGEST_PAUSE = 0.002, 0.02
    patience.LEAST_SECONDS, patience.FIRST_RATE = 1.0, float(1 << 28)


def durable_in(said: list[dict[str, Any]]) -> list[CheckpointId]:
    """What a daemon said to be durable."""
    return [CheckpointId.parse(each["durable"]) for each in said if "durable" in each]
