"""The physical limits that figures are told against, measured in the same run."""

from __future__ import annotations

import mmap
import os
import subprocess
import time
from pathlib import Path

import numpy as np

BLOCK = 8 << 20


def direct_write(path: Path, size: int) -> float:
    """Seconds to write ``size`` bytes into a new file past the page cache, durable at the end."""
    block = mmap.mmap(-1, BLOCK)
    block.write(np.random.default_rng(1).bytes(BLOCK))
    began = time.perf_counter()
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_DIRECT)
    for at in range(0, size, BLOCK):
        left = min(BLOCK, size - at)
        os.pwrite(file, memoryview(block)[: -(-left // 4096) * 4096], at)
    os.fsync(file)
    os.close(file)
    took = time.perf_counter() - began
    path.unlink()
    return took


def raw_read(paths: list[Path]) -> float:
    """Seconds to read the files at ``paths`` through the page cache, one after the other."""
    block = mmap.mmap(-1, BLOCK)  # aligned: where it is not, copying takes four times as long
    began = time.perf_counter()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass
    return time.perf_counter() - began


def drop_page_cache() -> bool:
    """Forget what was read and written; whether this process may."""
    os.sync()
    done = subprocess.run(["sysctl", "-q", "vm.drop_caches=1"], check=False, capture_output=True)
    return done.returncode == 0


def warm_copy(size: int, times: int = 5) -> float:
    """Seconds of one copy of ``size`` bytes between memory that was touched before."""
    source, there = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        np.copyto(there, source)
        took.append(time.perf_counter() - began)
    return sorted(took)[len(took) // 2]
