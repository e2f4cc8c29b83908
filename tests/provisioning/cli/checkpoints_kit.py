"""A job's store with checkpoints that the library wrote and the daemon uploaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.scratch_kit import Uploading
from outlast.manifest import Manifest, dump_manifest, parse_manifest
from outlast.outputs import Outputs
from outlast.plain import encode
from outlast.writer import Save, Writer
from outlast_agent import layout
from outlast_agent.records import dump
from outlast_agent.stores.file import FileStore
from provisioning.simulated import NAME, job

FROZEN = np.arange(600_000, dtype=np.float32)


class Saves:
    """Saves of one attempt after the other, each made durable before the next."""

    def __init__(self, folder: Path, **more: Any) -> None:
        """``more``: of the job file."""
        self.folder = folder
        self.store = FileStore(folder / "store")
        self.store.create(layout.job_file(NAME), dump(job(**more)))

    @property
    def url(self) -> str:
        return self.store.url

    @property
    def root(self) -> Path:
        """Of what the store has of the job."""
        return self.folder / "store" / "jobs" / NAME

    def save(
        self,
        *steps: int,
        attempt: int = 1,
        arrays: Mapping[str, Any] | None = None,
        state: Any = None,
        files: Mapping[str, bytes] | None = None,
        **more: Any,
    ) -> None:
        scratch = self.folder / f"scratch-{attempt}"
        writer = Writer(scratch, job=NAME, attempt=attempt, fingerprint=lambda: {"cpu": "x86"})
        told, found = encode(state)
        outputs = self.folder / f"outputs-{attempt}"
        for name, data in (files or {}).items():
            (outputs / name).parent.mkdir(parents=True, exist_ok=True)
            (outputs / name).write_bytes(data)
        outputs.mkdir(exist_ok=True)
        with Uploading(self.store, scratch, attempt=attempt, keep=100) as up:
            for step in steps:
                default = {"w": np.full(300_000, step, np.float32), "frozen": FROZEN}
                capture = Outputs(outputs, spool=scratch).capture(still=True)
                writer.submit(
                    Save(
                        step,
                        more.get("kind", "cadence"),
                        told,
                        {**(default if arrays is None else arrays), **found},
                        metrics=more.get("metrics", {"loss": 1 / step}),
                        finite=more.get("finite", True),
                        files=capture.files,
                        release=capture.release,
                    )
                )
                assert writer.flush(10)
                up.flush()

    def objects(self) -> list[Path]:
        return sorted(self.root.glob("objects/*/*"), key=lambda path: path.stat().st_mtime_ns)

    def manifest(self, id_: str) -> Manifest:
        return parse_manifest((self.root / f"checkpoints/{id_}.json").read_bytes(), name=id_)

    def forge(self, manifest: Manifest) -> None:
        """Put a manifest into the store that no daemon would have put there."""
        path = self.root / manifest.id.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dump_manifest(manifest))


def ids(steps: Sequence[int], attempt: int = 1) -> list[str]:
    return [f"{attempt:06d}-{step:012d}" for step in steps]
