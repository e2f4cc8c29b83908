"""A disk that takes 100 MB/s: a file system of its own, on a loop device that the kernel throttles.

The device lies in memory, and cgroup v1's ``blkio.throttle`` bounds it for all processes, also for
what the kernel writes back later (measured: 107 MB/s direct, less with fsync).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

THROTTLE = Path("/sys/fs/cgroup/blkio")


@contextmanager
def slow_disk(folder: Path, size: int, rate: float) -> Iterator[Path]:
    """A folder on such a disk of ``size`` bytes. Raises OSError where that is not permitted."""
    image, here = Path("/dev/shm") / f"{folder.parent.name}-slow.img", folder / "slow"
    here.mkdir()
    with ExitStack() as undo:
        with image.open("wb") as file:
            undo.callback(image.unlink)
            file.truncate(size)
        device = _run("losetup", "--find", "--show", str(image))
        undo.callback(_run, "losetup", "--detach", device)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
        _run("mount", device, str(here))
        undo.callback(_run, "umount", str(here))
        number = _run("lsblk", "--noheadings", "--nodeps", "--output", "MAJ:MIN", device)
        for way in ("write", "read"):
            throttle = THROTTLE / f"blkio.throttle.{way}_bps_device"
            throttle.write_text(f"{number} {int(rate)}\n")
            undo.callback(throttle.write_text, f"{number} 0\n")
        yield here


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f"{' '.join(command)}: {error.stderr.strip()}") from error
    return done.stdout.strip()
