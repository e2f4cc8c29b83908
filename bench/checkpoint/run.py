"""Checkpoints against the disk, the memory and other libraries; writes ``checkpoint.json``.

``{"big": {...}, "small": {...}, "pipeline": {...}, "listing": {...}}``, the first two with the
fields of the parts below, every part in a process of its own. Figures are ratios to a limit or a
peer that was measured in the same run:

``write_ratio``          a durable save / a fresh O_DIRECT write of as many bytes, one thread;
                         ``write_new_ratio`` that of the first four, which make new files
``peer_write_ratios``    the same for Keras, TensorFlow and safetensors, made durable too
``write_cpu_seconds_per_gb``   processor time of the save, library only
``frozen_ratio``         bytes written after a twentieth of the state changed / the whole
``restore_ratio``        first read -> all variables of a built model / a plain read, nothing cached
``peer_restore_ratios``  the same for Keras and TensorFlow, each of its own files
``stall_ms``             excess of the snapshot's step and the next three (and ``warm_copy_ms``)
``overhead_percent``     what training takes longer with a save every 10 s (small) or 60 s (big),
                         ``overhead_interval_95``; big also ``overhead_every_10_s_percent``
``notice_to_durable_s``  from the publication of an eviction notice to the manifest in the store
``extra_memory_ratio``   (peak - before) / state over ``memory_saves`` saves
``flush_ratio``          from snapshot to the store's answer to the manifest / a bare upload; also
                         ``flush_tls_ratio`` and ``flush_slow_disk_ratio`` (see ``flush.py``)
``list_ms``, ``list_requests``   the newest of 1,000 manifests beside 20,000 objects, from a server

``pipeline`` has ``stall_ms`` and what belongs to it for a small model whose data come from
``cache().shuffle(10_000)`` of 4 KB images.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[1] / "out"
PARTS = ("writing", "restoring", "stall", "memory", "flush", "notice", "overhead", "overhead_often")
ALONE = ("pipeline", "listing")
"""Parts of one size."""
SIZES = ("small", "big", *ALONE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--one", nargs=2, metavar=("PART", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if options.one:
        print(json.dumps(one(*options.one)))
        return 0
    path = OUT / "checkpoint.json"
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for size in options.sizes:
        for part in options.parts if size not in ALONE else (size,):
            if (part, size) == ("overhead_often", "small"):
                continue  # it is the cadence of ``overhead``
            figures.setdefault(size, {}).update(in_a_process(part, size))
            path.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    return 0


def one(part: str, size: str) -> dict[str, Any]:
    """The figures of one part, measured here."""
    with tempfile.TemporaryDirectory(
        prefix="checkpoint-", dir=OUT, ignore_cleanup_errors=True
    ) as folder:
        found: dict[str, Any] = importlib.import_module(part).measure(size, Path(folder))
    return found


def in_a_process(part: str, size: str) -> dict[str, Any]:
    """The figures of one part, from a process of its own."""
    environ = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    done = subprocess.run(
        [sys.executable, __file__, "--one", part, size],
        env=environ, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
